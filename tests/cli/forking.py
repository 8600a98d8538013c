"""Commands that need no start of Python: forks of a process that has imported evtool already.

A command of the tests is a process of its own, with its own environment, folder and standard streams. Most of what it
does until it is done is to import the driver, again and again. Each process of a run keeps one that has done that, and
waits for commands to be sent: `Forking` sends them. What a fork may not do for a new process is decided by `Cli`.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import io
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

_CHUNK = 1 << 16
_MOST = 1 << 20
"""Of a message: arguments and environment."""


class Forking:
    """The process that waits, as the tests have it. It ends when they do."""

    def __init__(self) -> None:
        """Starts it."""
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._free = threading.Lock()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.cli.forking", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                cwd=Path(__file__).parents[2],
            )
        atexit.register(self._end)

    def run(
        self, arguments: Sequence[str], stdin: bytes, environment: dict[str, str], seconds: float
    ) -> tuple[int, bytes, bytes] | None:
        """Runs a command of evtool to its end; None where it is busy with another.

        Returns:
            Its exit code, and what it has printed on stdout and stderr.

        Raises:
            subprocess.TimeoutExpired: it took longer; it was killed.
        """
        if not self._free.acquire(blocking=False):
            return None
        try:
            return self._run([list(arguments), environment, os.getcwd()], stdin, time.monotonic() + seconds)
        except TimeoutError as error:
            raise subprocess.TimeoutExpired(["evtool", *arguments], seconds) from error
        finally:
            self._free.release()

    def _end(self) -> None:
        self._ours.close()
        self._process.wait()

    def _run(self, command: list[object], stdin: bytes, end: float) -> tuple[int, bytes, bytes]:
        theirs: list[int] = []
        with contextlib.ExitStack() as stack:
            pipes = []
            for mode in ("wb", "rb", "rb"):
                ends = os.pipe()
                pipes.append(stack.enter_context(open(ends[mode == "wb"], mode, 0)))
                theirs.append(ends[mode != "wb"])
            socket.send_fds(self._ours, [json.dumps(command).encode()], theirs)
            for one in theirs:
                os.close(one)
            pid = int(self._ours.recv(_MOST))
            try:
                printed = _communicate(*pipes, stdin, end)
                self._ours.settimeout(max(end - time.monotonic(), 0.1))
                code = int(self._ours.recv(_MOST))
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                self._ours.settimeout(None)
                self._ours.recv(_MOST)
                raise
            finally:
                self._ours.settimeout(None)
        return code, *printed


def _communicate(source: io.FileIO, out: io.FileIO, error: io.FileIO, stdin: bytes, end: float) -> tuple[bytes, bytes]:
    """Writes what the command reads, and reads what it writes, until it has closed both."""
    printed: dict[object, list[bytes]] = {out: [], error: []}
    os.set_blocking(source.fileno(), False)
    left = memoryview(stdin)
    with selectors.DefaultSelector() as selector:
        for pipe in printed:
            selector.register(pipe, selectors.EVENT_READ)
        if stdin:
            selector.register(source, selectors.EVENT_WRITE)
        else:
            source.close()
        while selector.get_map():
            ready = selector.select(max(end - time.monotonic(), 0))
            if not ready:
                raise TimeoutError
            for key, _ in ready:
                if key.fileobj is source:
                    try:
                        left = left[os.write(source.fileno(), left[:_CHUNK]) :]
                    except BrokenPipeError:
                        left = left[:0]
                    if not left:
                        selector.unregister(source)
                        source.close()
                elif part := os.read(key.fd, _CHUNK):
                    printed[key.fileobj].append(part)
                else:
                    selector.unregister(key.fileobj)
    return b"".join(printed[out]), b"".join(printed[error])


def _serve(requests: socket.socket) -> None:
    """Forks itself for each command that comes; a fork returns what it is to do by running it."""
    for module in ("psycopg", "psycopg_pool", *_modules()):
        importlib.import_module(module)
    gc.freeze()
    while True:
        message, streams, _, _ = socket.recv_fds(requests, _MOST, 3)
        if not message:
            return
        arguments, environment, folder = json.loads(message)
        pid = os.fork()
        if not pid:
            requests.close()
            _become(arguments, environment, folder, streams)
            # ends as a process does that has begun with this: the exit code is SystemExit's
            runpy.run_module("evtool", run_name="__main__", alter_sys=True)
            return
        for one in streams:
            os.close(one)
        requests.send(b"%d" % pid)
        _, status = os.waitpid(pid, 0)
        requests.send(b"%d" % os.waitstatus_to_exitcode(status))


def _modules() -> Iterator[str]:
    """The modules of all commands, with what they import when they are run."""
    from evtool.cli import main

    for place in main._COMMANDS.values():
        yield place.partition(":")[0]
    yield from (
        "evtool.connecting",
        "evtool.exporting",
        "evtool.importing",
        "evtool.bulk.exporting",
        "evtool.bulk.importing",
        "evtool.stores.postgres.store",
        "evtool.stores.sqlite.store",
        "evtool.stores.lmdb.store",
    )


def _become(arguments: list[str], environment: dict[str, str], folder: str, streams: list[int]) -> None:
    """Makes the process what a new one would be."""
    for target, one in enumerate(streams):
        os.dup2(one, target)
    for one in streams:
        if one > 2:
            os.close(one)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = ["evtool", *arguments]
    sys.stdin = io.TextIOWrapper(
        io.BufferedReader(io.FileIO(0, "r", closefd=False)), sys.stdin.encoding, sys.stdin.errors
    )
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(io.FileIO(1, "w", closefd=False)), sys.stdout.encoding, sys.stdout.errors
    )
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(io.FileIO(2, "w", closefd=False)),
        sys.stderr.encoding,
        sys.stderr.errors,
        line_buffering=True,
    )


if __name__ == "__main__":
    # each process of a run has its own, and Ctrl-C is for the tests to obey
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _serve(socket.socket(fileno=int(sys.argv[1])))
