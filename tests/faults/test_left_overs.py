"""What an export has begun and could not finish: nothing of it stays, or the next one removes it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from evtool import files
from evtool.errors import FileError
from tests.cli.running import SECONDS, Cli
from tests.transfer.lines import lines

_MANY = 30_000


@pytest.fixture
def filled(cli: Cli) -> bytes:
    """The namespace holds so much that no pipe takes it at once; returns its export."""
    cli("import", stdin=lines(range(1, _MANY + 1))).ok()
    return cli("export").ok().stdout


@pytest.fixture
def begun(cli: Cli, filled: bytes, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """An export to the file `out` that is stopped in the middle."""
    process = cli.start("export", "-o", tmp_path / "out", "--progress", "json")
    assert process.stderr is not None
    process.stderr.readline()
    process.send_signal(signal.SIGSTOP)
    yield process
    process.kill()
    process.communicate()


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.thorough(but=["15"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_an_export_that_is_told_to_end_leaves_nothing(
    begun: subprocess.Popen[bytes], tmp_path: Path, number: signal.Signals
) -> None:
    """SIGTERM and SIGHUP end it as Ctrl-C does: the signal's own exit code, one line, no temporary file."""
    assert len(_names(tmp_path)) == 1
    begun.send_signal(number)
    begun.send_signal(signal.SIGCONT)
    _, error = begun.communicate(timeout=SECONDS)
    assert begun.returncode == 128 + number
    assert json.loads(error.splitlines()[-1]) == {
        "error": "INTERRUPTED",
        "message": f"ended by {number.name}; nothing is half done",
    }
    assert _names(tmp_path) == set()


def test_what_is_told_to_ignore_a_hangup_goes_on(cli: Cli, filled: bytes, tmp_path: Path) -> None:
    """As below nohup: the terminal may close."""
    process = cli.start(
        "export",
        "-o",
        tmp_path / "out",
        "--progress",
        "json",
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    assert process.stderr is not None
    process.stderr.readline()
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=SECONDS)
    assert process.returncode == 0
    assert (tmp_path / "out").read_bytes() == filled


def test_the_next_export_removes_what_a_killed_one_left(
    cli: Cli, begun: subprocess.Popen[bytes], tmp_path: Path, filled: bytes
) -> None:
    """Of the same file, that is: other names are none of its business."""
    others = {".out.x.part", ".out2.77.part", "out.1.part", ".out..part", ".out.1.parts"}
    for name in others:
        (tmp_path / name).write_bytes(b"another's")
    begun.kill()
    begun.communicate()
    assert f".out.{begun.pid}.part" in _names(tmp_path)
    cli("export", "-o", tmp_path / "out").ok()
    assert _names(tmp_path) == others | {"out", "out.manifest.json"}
    assert (tmp_path / "out").read_bytes() == filled


def test_an_export_that_still_runs_is_left_alone(
    cli: Cli, begun: subprocess.Popen[bytes], tmp_path: Path, filled: bytes
) -> None:
    """Two exports to one file at the same time both succeed, and the file is whole after each."""
    cli("export", "-o", tmp_path / "out").ok()
    assert f".out.{begun.pid}.part" in _names(tmp_path)
    assert (tmp_path / "out").read_bytes() == filled
    begun.send_signal(signal.SIGCONT)
    _, error = begun.communicate(timeout=SECONDS)
    assert begun.returncode == 0, error
    assert _names(tmp_path) == {"out", "out.manifest.json"}
    assert (tmp_path / "out").read_bytes() == filled
    cli("verify", tmp_path / "out").ok()


@pytest.mark.parametrize("name", ["[a]*?.ndjson", "x" * 230, "-", "ü\n", ".out"])
def test_any_name_of_a_file_has_its_own_left_overs(tmp_path: Path, name: str) -> None:
    """Characters that mean something to a shell are just characters; a long name is cut, but found again."""
    target = tmp_path / name
    left = tmp_path / f".{name[:200]}.99999999.part"
    other = tmp_path / ".aXY.ndjson.99999999.part"
    left.touch()
    other.touch()
    with files.replaced(target) as file:
        file.write(b"new")
    assert target.read_bytes() == b"new"
    assert (left.exists(), other.exists()) == (False, True)


def test_one_process_does_not_write_one_file_twice_at_once(tmp_path: Path) -> None:
    """Two threads would share the temporary file: the second is refused, and the first completes."""
    with files.replaced(tmp_path / "out") as first:
        first.write(b"first")
        with pytest.raises(FileError, match="somebody else"), files.replaced(tmp_path / "out") as second:
            second.write(b"second")
    assert (tmp_path / "out").read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["out"]
