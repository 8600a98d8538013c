"""The folder in which remote sources wait: whose a file in it is."""

from __future__ import annotations

import fcntl
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from evtool.bulk.jobs.places import Spool
from evtool.bulk.remote import Limits
from tests.bulk.jobs.web import Web

CONTENT = b"x" * 50_000


def _fetched(folder: Path, url: str, token: int = 1) -> AbstractContextManager[Path]:
    return Spool(folder).fetched(url, 1, token, limits=Limits(pause=0.01), allow_private=True, proceed=lambda _: True)


def test_jobs_of_two_databases_share_a_spool_and_no_file(tmp_path: Path) -> None:
    """Two queues have jobs of the same number, token and URL: each has a file of its own, and leaves nothing."""
    folder = tmp_path / "spool"
    with Web(CONTENT) as web, _fetched(folder, web.url()) as one, _fetched(folder, web.url()) as other:
        assert one != other
        assert one.read_bytes() == other.read_bytes() == CONTENT
        assert web.requests == [None, None]
    assert list(folder.iterdir()) == []


def test_a_file_is_taken_over_by_one(tmp_path: Path) -> None:
    """What a killed worker left goes to the first who looks for it, and a file that is locked to nobody."""
    folder = tmp_path / "spool"
    with Web(CONTENT) as web:
        with _fetched(folder, web.url()) as whole:
            left = {path.name: path.read_bytes() for path in folder.iterdir()}
            assert whole.name in left
        for name, content in left.items():
            (folder / name).write_bytes(content[:20_000] if name.endswith(".part") else content)
        web.requests.clear()
        with _fetched(folder, web.url(), 2) as one, _fetched(folder, web.url(), 3) as other:
            assert one.read_bytes() == other.read_bytes() == CONTENT
            assert web.requests == ["bytes=20000-", None]
            with one.open("rb") as file, pytest.raises(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert list(folder.iterdir()) == []
