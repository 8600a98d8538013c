"""`evtool demo`, as somebody runs it who has just installed evtool."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.cli.running import Cli


@pytest.mark.parametrize("options", [[], ["--store", "sqlite"], ["--store", "lmdb"]], ids=["default", "sqlite", "lmdb"])
def test_the_demo_shows_the_main_job_and_leaves_nothing(options: list[str], tmp_path: Path) -> None:
    """Each command succeeds; the slice has no difference, the increment has the one message since; the folder is gone."""
    done = Cli()("demo", *options, TMPDIR=str(tmp_path)).ok()
    assert re.search(r"Done\. 3000 events imported", done.err)
    (slice_,) = re.findall(r"Done\. (\d+) events exported in .*, the last at global position 3499", done.err)
    assert 0 < int(slice_) < 1000
    assert f"{slice_} the same, 0 missing, 0 extra, 0 different" in done.err
    assert re.search(r"Done\. 1 event exported", done.err)
    assert "\x1b" not in done.out
    assert os.listdir(tmp_path) == []


def test_without_postgresql_the_demo_runs_on_sqlite_and_says_so(tmp_path: Path) -> None:
    """Where no PostgreSQL is found it says how to have one; where one was asked for, that is an error."""
    done = Cli()("demo", EVTOOL_EMBEDDED_BIN=str(tmp_path)).ok()
    assert "on SQLite, for no PostgreSQL was found" in done.err
    assert "EVTOOL_DSN=sqlite://" in done.out
    assert Cli()("demo", "--store", "postgres", EVTOOL_EMBEDDED_BIN=str(tmp_path)).code == 1
