"""Stores in LMDB with maps that are full soon, and what looks behind them."""

from __future__ import annotations

import gzip
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from evtool.stores.lmdb import LMDBStore
from tests.lmdb.looking import SMALL_MAP

Start = Callable[..., subprocess.Popen[str]]

# Each program gets the store's folder as `folder` and a store with a small map as `store`.
_BEGIN = f"""
import sys
from pathlib import Path
from evtool import NewMessage, Selection, errors
from evtool.stores.lmdb import LMDBStore
folder = Path(sys.argv[1])
store = LMDBStore(folder, "message_store", map_size={SMALL_MAP})
def say(*what):
    print(*what, flush=True)
def wait():
    assert sys.stdin.readline()
"""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LMDBStore]:
    """A migrated store whose maps are small."""
    with LMDBStore(tmp_path / "store", "message_store", map_size=SMALL_MAP) as made:
        made.migrate()
        yield made


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a process on the same folder; it is killed at the end at the latest."""
    with ExitStack() as stack:

        def begin(program: str) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [sys.executable, "-c", _BEGIN + program, str(tmp_path / "store")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            stack.callback(process.communicate)
            stack.callback(process.kill)
            return process

        yield begin


@pytest.fixture(scope="session")
def real_file() -> bytes:
    """38,817 messages of four public repositories."""
    return gzip.decompress((Path(__file__).parents[1] / "data" / "repository-events.ndjson.gz").read_bytes())
