"""Memory: an export and an import need the same whatever the size."""

from __future__ import annotations

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


def test_memory_stays_constant(cli: Cli, dsn: str, files: dict[int, Path], tmp_path: Path) -> None:
    """200,000 messages take less than 100 MB, and no more than 50,000 do, on the way in and on the way out."""
    peaks: dict[str, dict[int, int]] = {"import": {}, "export": {}, "gzip": {}}
    for size, path in files.items():
        namespace = f"memory_{size}"
        own = Cli(dsn, namespace)
        own("ns", "create", namespace).ok()
        peaks["import"][size] = _peak(own, "import", "-i", path)
        peaks["export"][size] = _peak(own, "export", "-o", tmp_path / "out")
        peaks["gzip"][size] = _peak(own, "export", "--gzip")
        with (tmp_path / "out").open("rb") as out:
            assert sum(1 for _ in out) == size
        own("ns", "delete", namespace, "--yes").ok()
    small, large = _SIZES
    for what, peak in peaks.items():
        assert peak[large] < _LIMIT, (what, peak)
        assert peak[large] - peak[small] < _GROWTH, (what, peak)
