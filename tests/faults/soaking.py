"""Kills at random moments, and what must hold after each: the target is as before or complete, and the next try ends.

A trial runs a command as a process of its own, kills it or its server, looks, and runs the same command again. All that
is random comes from the trial's seed, but for the machine's own pace. `scripts/soak` runs hundreds, the tests a dozen.
"""

from __future__ import annotations

import abc
import contextlib
import gzip
import hashlib
import os
import random
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from evtool import files, manifest
from evtool.exporting import export_file
from evtool.model import Selection
from evtool.testing.contract.helping import file_of
from tests.cli.running import Cli
from tests.faults.rig import SECONDS, Kind, Rig

Operation = Literal["import", "resume", "export", "copy"]
Victim = Literal["client", "backend", "postmaster"]

OPERATIONS: tuple[Operation, ...] = ("import", "resume", "export", "copy")
VICTIMS: dict[Kind, tuple[Victim, ...]] = {
    "postgres": ("client", "backend", "postmaster"),
    "sqlite": ("client",),
    "lmdb": ("client",),
}
BATCH = 1000
# Parts of an undisturbed run: behind most of the program's own start, and beyond the end, so that the last steps are hit.
_EARLIEST = 0.4
_LATEST = 1.15
# The last position in the file that an export replaces.
_OLDER = 500
_RETRIES = "20"
# The client's exit code after a kill of the server: unreachable, or done.
_UNREACHABLE = 3


@dataclass(frozen=True)
class Case:
    """What is killed while what is done, on which store."""

    kind: Kind
    operation: Operation
    victim: Victim

    def __str__(self) -> str:
        return f"{self.kind} {self.operation}, {self.victim} killed"


CASES = tuple(
    Case(kind, operation, victim) for kind, victims in VICTIMS.items() for operation in OPERATIONS for victim in victims
)


class BrokenPromiseError(AssertionError):
    """What must hold after a kill does not."""


def trial(rig: Rig, case: Case, seed: int) -> str:
    """Kills once, and checks what must hold.

    Args:
        rig: what to do it on.
        case: what to kill, and while what is done.
        seed: for all that is random.

    Returns:
        What became of it: "finished first", "undone", "whole", "stopped between batches" or "went on".

    Raises:
        BrokenPromiseError: something does not hold.
    """
    chance = random.Random(f"{case} {seed}")
    run = _Export(rig, case, chance) if case.operation == "export" else _Import(rig, case, chance)
    try:
        run.disturb(chance)
        return run.judge()
    finally:
        run.remove()


class _Run(abc.ABC):
    """A command that is disturbed, and run again."""

    def __init__(self, rig: Rig, case: Case) -> None:
        self.rig = rig
        self.case = case
        self.code = 0
        self.error = b""
        self.killed = False

    @abc.abstractmethod
    def command(self) -> list[str]:
        """The command that is disturbed, and run again."""

    def repeat(self) -> None:
        """The same command, undisturbed."""
        done = Cli()(*self.command())
        self.promise(done.code == 0, f"the next try failed: {done.err}")

    @abc.abstractmethod
    def measured(self) -> float:
        """How long the command takes undisturbed."""

    def disturb(self, chance: random.Random) -> None:
        """Runs the command, kills at a random moment, and waits until both sides have ended or are well again."""
        after_events = chance.random() < 0.5
        events = chance.randrange(1, self.rig.lines // BATCH)
        moment = chance.uniform(_EARLIEST, _LATEST) * self.measured()
        process = Cli().start(*self.command(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        assert process.stderr is not None
        heard = b""
        try:
            if after_events:
                # in the middle, however fast the machine is
                for _ in range(events):
                    heard += process.stderr.readline()
            else:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(moment)
            if process.poll() is None:
                # it would end while the processes of its server are looked for
                process.send_signal(signal.SIGSTOP)
                pid = self._kill(process, chance)
                self.killed = pid is not None
                process.send_signal(signal.SIGCONT)
                if self.case.victim != "client":
                    self.rig.revive(pid)
            _, rest = process.communicate(timeout=SECONDS)
        finally:
            process.kill()
            process.wait()
        self.code, self.error = process.returncode, heard + rest
        self.promise(b"Traceback" not in self.error and b"internal error" not in self.error, "it ended in a traceback")

    def _kill(self, process: subprocess.Popen[bytes], chance: random.Random) -> int | None:
        """Kills the victim, and returns its pid; None if there is none."""
        if self.case.victim == "client":
            pids = [process.pid]
        elif self.case.victim == "backend":
            pids = self.rig.backends()
        else:
            pids = [pid for pid in [self.rig.server.status().pid] if pid is not None]
        if not pids:
            return None
        pid = chance.choice(pids)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            return pid
        return None

    @abc.abstractmethod
    def judge(self) -> str:
        """Checks what must hold, and says what became of it."""

    def remove(self) -> None:  # noqa: B027 - most leave nothing
        """Takes away what the trial has made."""

    def promise(self, holds: bool, text: str) -> None:
        """Fails the trial unless something holds."""
        if not holds:
            raise BrokenPromiseError(f"{self.case}: {text} (exit code {self.code}: {self.error.decode()[-400:]})")

    def check_exit(self) -> None:
        """The exit code is one that the kill explains."""
        expected = {0}
        if self.killed:
            expected = {-signal.SIGKILL, 0} if self.case.victim == "client" else {_UNREACHABLE, 0}
        self.promise(self.code in expected, f"the exit code is none of {sorted(expected)}")


class _Import(_Run):
    """An import, a resumable one, or a copy: into a namespace."""

    def __init__(self, rig: Rig, case: Case, chance: random.Random) -> None:
        super().__init__(rig, case)
        whole = rig.whole(case.kind)
        self.name = rig.namespace(case.kind, filled=chance.random() < 0.5)
        self.before = self.contents()
        self.after = whole + self.before

    def contents(self) -> bytes:
        """What the namespace holds."""
        return file_of(self.rig.store(self.case.kind, self.name))

    def command(self) -> list[str]:
        dsn, progress = self.rig.dsns[self.case.kind], ["--progress", "json"]
        if self.case.operation == "copy":
            names = ["--from-namespace", self.rig.source(self.case.kind), "--to-namespace", self.name]
            return ["copy", "--from", dsn, "--to", dsn, *names, *progress]
        resumable = ["--batch-size", str(BATCH), "--resume"] if self.case.operation == "resume" else []
        return ["import", "--dsn", dsn, "-n", self.name, "-i", str(self.rig.file), *resumable, *progress]

    def measured(self) -> float:
        def measure() -> None:
            other = _Import(self.rig, self.case, random.Random(0))
            other.repeat()
            other.remove()

        return self.rig.duration(self.case.kind, self.case.operation, measure)

    def judge(self) -> str:
        self.check_exit()
        now = self.contents()
        if self.code == 0:
            self.promise(now == self.after, "it succeeded, and not everything is there")
            return "finished first"
        if now == self.after:
            if self.case.operation == "resume":
                # all is there, but that it is all may not be on record
                self.repeat()
                self.promise(self.contents() == self.after, "the next try brought more")
            return "whole"
        if self.case.operation == "resume":
            kept = now.removesuffix(self.before)
            self.promise(self.after.startswith(kept) and now.endswith(self.before), "what is there is no beginning")
            self.promise(kept.count(b"\n") % BATCH == 0, "a batch is neither whole nor absent")
        else:
            self.promise(now == self.before, "something of it is there, and not all")
        self.repeat()
        self.promise(self.contents() == self.after, "the next try did not bring what an undisturbed one does")
        return "undone" if now == self.before else "stopped between batches"

    def remove(self) -> None:
        self.rig.stores[self.case.kind].delete_namespace(self.name)


class _Export(_Run):
    """An export to a file, plain or compressed, that replaces an older one."""

    def __init__(self, rig: Rig, case: Case, chance: random.Random) -> None:
        super().__init__(rig, case)
        rig.whole(case.kind)
        self.folder = Path(tempfile.mkdtemp(dir=rig.folder))
        self.compress = chance.random() < 0.5
        self.target = self.folder / ("out.gz" if self.compress else "out")
        export_file(rig.store(case.kind, rig.source(case.kind)), str(self.target), Selection(to_position=_OLDER))
        self.older = self.contents()

    def contents(self) -> bytes:
        """What the file holds. A manifest beside it is its own, or there is none."""
        content = self.target.read_bytes()
        beside = files.manifest_beside(str(self.target))
        if beside.exists():
            own = manifest.read(str(beside))[0].sha256 == hashlib.sha256(content).hexdigest()
            self.promise(own, "the manifest beside the file is another's")
        return gzip.decompress(content) if self.compress else content

    def command(self) -> list[str]:
        names = ["--dsn", self.rig.dsns[self.case.kind], "-n", self.rig.source(self.case.kind)]
        return ["export", *names, "-o", str(self.target), "--progress", "json", "--retries", _RETRIES]

    def measured(self) -> float:
        def measure() -> None:
            other = _Export(self.rig, self.case, random.Random(0))
            other.repeat()
            other.remove()

        return self.rig.duration(self.case.kind, self.case.operation, measure)

    def judge(self) -> str:
        self.check_exit()
        whole = self.rig.whole(self.case.kind)
        now = self.contents()
        if self.case.victim != "client" and b'"exported"' in self.error:
            # the server came back, and the export went on where it was; one that had not begun says that there is none
            self.promise(self.code == 0, "it gave up")
        if self.code == 0:
            self.promise(now == whole, "it succeeded, and the file is not what an undisturbed export writes")
            self.promise(not list(self.folder.glob(".*.part")), "it left a temporary file")
            return "went on" if self.killed and self.case.victim != "client" else "finished first"
        self.promise(now in {self.older, whole}, "the file is neither the older one nor whole")
        self.repeat()
        self.promise(self.contents() == whole, "the next try did not write what an undisturbed one does")
        self.promise(not list(self.folder.glob(".*.part")), "the next try left what the killed one had written")
        return "undone" if now == self.older else "whole"

    def remove(self) -> None:
        for path in self.folder.iterdir():
            path.unlink()
        self.folder.rmdir()
