"""Memory: an import into a store without a server needs the same whatever its size."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.contract.kinds import SHARED, Kind

_LIMIT = 100 << 10  # KiB
_GROWTH = 24 << 10
_SIZES = (60_000, 240_000)

# Prints the most memory that it had, in KiB: of this program alone, and not of what it was forked from.
_IMPORT = """
import random, sys, uuid
import evtool, msgspec
from evtool.imports import ImportPlan
from evtool.ndjson import Record
chance, meta = random.Random(1), msgspec.Raw(b'{"correlationStreamName":"order-1"}')
def records(count):
    for n in range(1, count + 1):
        id_ = str(uuid.UUID(int=chance.getrandbits(128)))
        yield Record(id_, f"thing-{n % 5000}", "Happened", n // 5000, n, msgspec.Raw(b'"%b"' % (b"x" * 300)), meta,
                     "2025-07-15T10:00:00.000000Z")
with evtool.connect(sys.argv[1], "message_store") as store:
    store.migrate()
    store.import_batch(records(int(sys.argv[2])), ImportPlan(replace="replace" in sys.argv))
    assert store.statistics().messages == int(sys.argv[2])
with open("/proc/self/status") as status:
    print(next(line.split()[1] for line in status if line.startswith("VmHWM")))
"""


@pytest.mark.thorough
@pytest.mark.parametrize("kind", [kind for kind in SHARED if kind.local], ids=lambda kind: kind.name)
def test_an_import_takes_the_same_memory_at_any_size(kind: Kind, tmp_path: Path) -> None:
    """Four times the messages take no more memory, and less than 100 MB; the same when they replace others."""
    peaks = []
    for size in _SIZES:
        dsn = kind.make_dsn(str, tmp_path / str(size))
        for mode in ("fresh", "replace"):
            done = subprocess.run(
                [sys.executable, "-c", _IMPORT, dsn, str(size), mode], capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr
            peaks.append(int(done.stdout))
    assert max(peaks) < _LIMIT, peaks
    assert max(peaks[2:]) - min(peaks[:2]) < _GROWTH, peaks


# Prints the most memory of its own, in KiB: pages of the file that LMDB has mapped can be given back at any time.
_SHUFFLED = """
import sys, uuid
import evtool, msgspec
from evtool.ndjson import Record
count, none, most = int(sys.argv[2]), msgspec.Raw(b"null"), 0
def records():
    global most
    for n in range(count):
        gpos = n * 7919 % count + 1
        yield Record(str(uuid.UUID(int=gpos)), f"thing-{gpos % 5000}", "Happened", gpos, gpos,
                     msgspec.Raw(b'"%b"' % (b"x" * 300)), none, "2025-07-15T10:00:00.000000Z")
        if n % 500 == 0:
            with open("/proc/self/status") as status:
                most = max(most, int(next(line.split()[1] for line in status if line.startswith("RssAnon"))))
with evtool.connect(sys.argv[1], "message_store") as store:
    store.migrate()
    assert store.import_batch(records()).imported == count
print(most)
"""


@pytest.mark.thorough
@pytest.mark.parametrize("kind", [kind for kind in SHARED if kind.local], ids=lambda kind: kind.name)
def test_lines_in_any_order_take_no_more(kind: Kind, tmp_path: Path) -> None:
    """Messages out of order change pages all over the file, and still less than 100 MB are held of them."""
    command = [sys.executable, "-c", _SHUFFLED, kind.make_dsn(str, tmp_path), str(_SIZES[-1])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < _LIMIT
