"""Memory: an export and an import need the same whatever the size."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.running import Cli
from tests.transfer.lines import line

_LIMIT = 100 << 10  # KiB, as ru_maxrss counts on Linux
_GROWTH = 8 << 10
_SIZES = (50_000, 200_000)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, Path]]:
    """A file of each size; the messages are half a kilobyte."""
    folder = tmp_path_factory.mktemp("memory")
    template = line(1, id="@ID@", pos=b"@POS@", stream="account-@POS@", data={"text": "x" * 300}).replace(
        b'"gpos":1', b'"gpos":@POS@'
    )
    text = template.replace(b"@ID@", b"%b").replace(b"@POS@", b"%d")
    made = {}
    for size in _SIZES:
        made[size] = folder / f"{size}.ndjson"
        with made[size].open("wb") as file:
            for number in range(1, size + 1):
                file.write(text % (b"%08x-0000-4000-8000-000000000000" % number, number, number, number))
    yield made
    for path in made.values():
        path.unlink()


# A process's peak begins with what its parent had when it was forked, so the parent has to be a small one.
_MEASURE = """
import os, sys
pid = os.fork()
if not pid:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.execv(sys.argv[1], sys.argv[1:])
_, status, usage = os.wait4(pid, 0)
print(usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def _peak(cli: Cli, *arguments: str | Path) -> int:
    """Runs a command and returns the most memory that it had, in KiB."""
    command = [sys.executable, "-S", "-c", _MEASURE, *cli.command(*arguments)]
    done = subprocess.run(command, env=cli.environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def _turn(path: Path, turned: Path, size: int) -> None:
    """Writes the lines of a file in another order: the second half first."""
    with path.open("rb") as file, turned.open("wb") as out:
        for _ in range(size // 2):
            file.readline()
        shutil.copyfileobj(file, out)
        rest = path.stat().st_size - out.tell()
        file.seek(0)
        out.write(file.read(rest))


@pytest.mark.thorough
def test_large_messages_take_no_more(cli: Cli, tmp_path: Path) -> None:
    """150 MB in messages of half a megabyte take less than 100 MB, over one connection or four."""
    text = "x" * (500 << 10)
    path = tmp_path / "large.ndjson"
    with path.open("wb") as file:
        for number in range(1, 301):
            file.write(line(number * 1000, pos=number, data=text))
    assert _peak(cli, "import", "-i", path) < _LIMIT
    for jobs in ("1", "4"):
        assert _peak(cli, "export", "--jobs", jobs) < _LIMIT


@pytest.mark.thorough
def test_memory_stays_constant(cli: Cli, dsn: str, files: dict[int, Path], tmp_path: Path) -> None:
    """200,000 messages take less than 100 MB, and no more than 50,000 do, whichever way they go."""
    names = ("import", "export", "gzip", "zstd", "jobs", "verify", "verify in any order", "copy")
    peaks: dict[str, dict[int, int]] = {name: {} for name in names}
    for size, path in files.items():
        namespace = f"memory_{size}"
        own = Cli(dsn, namespace)
        own("ns", "create", namespace).ok()
        peaks["import"][size] = _peak(own, "import", "-i", path)
        peaks["export"][size] = _peak(own, "export", "-o", tmp_path / "out")
        peaks["gzip"][size] = _peak(own, "export", "--gzip")
        peaks["zstd"][size] = _peak(own, "export", "--zstd")
        peaks["jobs"][size] = _peak(own, "export", "--jobs", "4")
        with (tmp_path / "out").open("rb") as out:
            assert sum(1 for _ in out) == size
        peaks["verify"][size] = _peak(own, "verify", path)
        _turn(path, tmp_path / "turned", size)
        peaks["verify in any order"][size] = _peak(own, "verify", tmp_path / "turned")
        own("ns", "create", "memory_copy").ok()
        peaks["copy"][size] = _peak(own, "copy", "--from-namespace", namespace, "--to-namespace", "memory_copy")
        for name in (namespace, "memory_copy"):
            own("ns", "delete", name, "--yes").ok()
    small, large = _SIZES
    for what, peak in peaks.items():
        assert peak[large] < _LIMIT, (what, peak)
        assert peak[large] - peak[small] < _GROWTH, (what, peak)
