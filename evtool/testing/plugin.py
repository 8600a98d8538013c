"""Fixtures for pytest: a store in a namespace of the test's own, on whichever of the three stores is asked for.

    def test_an_order_is_placed(evtool_store):
        evtool_store.write_message(None, "order-1", "OrderPlaced", {"total": 10})

    @pytest.mark.evtool_events("tests/slices/refund.ndjson.gz")
    def test_the_refund_that_went_wrong(evtool_dsn, evtool_namespace):
        ...

`--evtool-store=sqlite|lmdb|postgres`, or `evtool_store` in pytest's configuration, says which; the default is sqlite.
PostgreSQL is the first that can be had of EVTOOL_TEST_DSN, Docker, the embedded binaries and an installed server. Each
process of pytest-xdist has a database of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from evtool.store import Store
    from evtool.testing.databases import Databases

STORES = ("sqlite", "lmdb", "postgres")

_MARKER = "evtool_events"
_databases = pytest.StashKey["Databases"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Tells pytest of the option."""
    text = "which store the fixtures of evtool use"
    parser.getgroup("evtool").addoption("--evtool-store", choices=STORES, help=f"{text} [default: sqlite]")
    parser.addini("evtool_store", f"{text}: {', '.join(STORES)}", default="sqlite")


def pytest_configure(config: pytest.Config) -> None:
    """Tells pytest of the marker."""
    config.addinivalue_line(
        "markers",
        f"{_MARKER}(*files): the test's namespace begins with the messages of these export files; a path is relative "
        "to the folder of the test's file, or else to the root folder",
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Says which store the tests ran on, if any did."""
    databases = config.stash.get(_databases, None)
    if databases is not None:
        terminalreporter.write_line(f"evtool: {databases.description}")


@pytest.fixture(scope="session")
def _evtool_databases(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    """Where the namespaces of this run are."""
    from evtool.testing.databases import Databases

    kind = pytestconfig.getoption("--evtool-store") or pytestconfig.getini("evtool_store")
    if kind not in STORES:
        raise pytest.UsageError(f"evtool_store is one of {', '.join(STORES)}, not {kind}")
    with Databases.open(kind, tmp_path_factory.mktemp("evtool")) as databases:
        pytestconfig.stash[_databases] = databases
        yield databases


@pytest.fixture(scope="session")
def evtool_dsn(_evtool_databases: Databases) -> str:
    """The database URL of the store that the tests use. It is migrated, and gone at the end of the run."""
    return _evtool_databases.dsn


@pytest.fixture
def evtool_namespace(_evtool_databases: Databases, request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of a namespace of this test's own, with the messages of the files in its marker `evtool_events`."""
    markers = [*request.node.iter_markers(_MARKER)]
    if any(not marker.args or marker.kwargs for marker in markers):
        raise pytest.UsageError(f'{_MARKER} names no file; write @pytest.mark.{_MARKER}("tests/slice.ndjson")')
    files = [_find(request, name) for marker in markers for name in reversed(marker.args)]
    # the outermost marker first: those of the module or the class are what the function adds to
    with _evtool_databases.namespace(tuple(reversed(files))) as name:
        yield name


@pytest.fixture
def evtool_store(_evtool_databases: Databases, evtool_namespace: str) -> Store:
    """A store in a namespace of this test's own. It shares its connections: don't close it."""
    return _evtool_databases.store.in_namespace(evtool_namespace)


def _find(request: pytest.FixtureRequest, name: str | os.PathLike[str]) -> Path:
    places = [request.path.parent / name, request.config.rootpath / name]
    for place in places:
        if place.is_file():
            return place.resolve()
    raise pytest.UsageError(f"{_MARKER}: no file {os.fspath(name)}; looked for {' and '.join(map(str, places))}")
