"""The pytest plugin: each test has a namespace of its own on the store that is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.testing.conftest import Run

STORES = ("sqlite", "lmdb", "postgres")

LINE = (
    '{{"id":"00000000-0000-4000-8000-{0:012}","stream":"order-1","type":"Happened","pos":{0},"gpos":{1},'
    '"data":{{"n": {0}}},"meta":null,"time":"2025-07-15T10:00:00.000000Z"}}\n'
)
SLICE = "".join(LINE.format(number, 10 * number + 7) for number in range(3))
MORE = LINE.format(3, 99)

ISOLATED = """
import pytest

@pytest.mark.parametrize("number", range(3))
def test_a_store_is_empty_at_first(evtool_store, number):
    assert evtool_store.stream_version("order-1") is None
    assert evtool_store.write_message(None, "order-1", "OrderPlaced", {"total": 10}) == 0

def test_the_three_fixtures_are_about_the_same_namespace(evtool_store, evtool_dsn, evtool_namespace):
    import evtool
    evtool_store.write_message(None, "order-1", "OrderPlaced", {"total": 10})
    assert evtool_store.namespace == evtool_namespace
    with evtool.connect(evtool_dsn, evtool_namespace) as other:
        assert other.stream_version("order-1") == 0
"""

LOADED = """
import pytest

pytestmark = pytest.mark.evtool_events("slice.ndjson")

@pytest.mark.parametrize("number", range(2))
def test_a_slice_is_there_at_its_positions_and_each_test_has_its_own(evtool_store, number):
    assert [m.global_position for m in evtool_store.get_all_messages()] == [7, 17, 27]
    evtool_store.write_message(None, "order-1", "Happened", {})
    assert evtool_store.last_position() == 28

@pytest.mark.evtool_events("more.ndjson")
def test_a_function_adds_to_its_module(evtool_store):
    assert [m.global_position for m in evtool_store.get_all_messages()] == [7, 17, 27, 99]
"""


@pytest.mark.thorough(but=["postgres"])
@pytest.mark.parametrize("store", STORES)
def test_each_test_has_a_namespace_of_its_own(run: Run, store: str) -> None:
    """What a test writes no other test sees; store, DSN and name lead to the same place; the summary says where."""
    done = run(ISOLATED, f"--evtool-store={store}")
    assert "4 passed" in done.stdout, done.stdout + done.stderr
    assert "evtool: " + ("PostgreSQL" if store == "postgres" else store) in done.stdout


@pytest.mark.thorough(but=["sqlite"])
@pytest.mark.parametrize("store", STORES)
def test_a_marker_loads_files(run: Run, store: str) -> None:
    """A test with the marker begins with the files' messages at their positions; the next has them untouched."""
    done = run(LOADED, f"--evtool-store={store}", **{"slice.ndjson": SLICE, "more.ndjson": MORE})
    assert "3 passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.thorough
def test_processes_of_xdist_do_not_meet(run: Run) -> None:
    """With pytest-xdist each process has a database of its own."""
    done = run(ISOLATED, "-n", "2", "--evtool-store=lmdb")
    assert "4 passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.thorough
def test_the_store_can_be_configured(run: Run) -> None:
    """The setting evtool_store does what the option does, and a wrong one is refused with the right ones."""
    done = run(ISOLATED, "-o", "evtool_store=lmdb")
    assert "4 passed" in done.stdout, done.stdout + done.stderr
    assert "evtool: lmdb" in done.stdout
    wrong = run(ISOLATED, "-o", "evtool_store=oracle")
    assert "evtool_store is one of sqlite, lmdb, postgres, not oracle" in wrong.stdout


def test_a_file_that_is_not_there_is_named(run: Run) -> None:
    """A marker that names no file fails its test, with the places that were looked at."""
    done = run(LOADED)
    assert "no file slice.ndjson" in done.stdout
    assert "passed" not in done.stdout


def test_a_marker_without_a_file_is_refused(run: Run) -> None:
    """A marker that says nothing, or says it by a name of its own, was meant to load something."""
    done = run(
        "import pytest\n"
        "@pytest.mark.evtool_events()\ndef test_one(evtool_store):\n    pass\n"
        "@pytest.mark.evtool_events(file='x')\ndef test_two(evtool_store):\n    pass\n"
    )
    assert done.stdout.count("UsageError: evtool_events names no file") >= 2
    assert "2 errors" in done.stdout


def test_a_file_that_is_no_export_is_refused_with_its_line(run: Run) -> None:
    """A file that can't be imported fails its tests with code and line."""
    done = run(LOADED, **{"slice.ndjson": SLICE + "{}\n", "more.ndjson": MORE})
    assert "INVALID_RECORD in" in done.stdout, done.stdout
    assert "slice.ndjson, line 4" in done.stdout
    assert "passed" not in done.stdout


def test_a_run_without_the_fixtures_has_no_database(run: Run, tmp_path: Path) -> None:
    """A run that uses none of the fixtures makes no database, says nothing and imports no store."""
    done = run(
        "import sys\n"
        "def test_nothing():\n"
        "    assert not {'psycopg', 'lmdb', 'alembic', 'testcontainers'} & set(sys.modules)\n",
        "--evtool-store=postgres",
        f"--basetemp={tmp_path / 'base'}",
    )
    assert "1 passed" in done.stdout, done.stdout + done.stderr
    assert "evtool:" not in done.stdout
