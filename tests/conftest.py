"""The server that the tests run on, and what each test gets of it.

The ladder: EVTOOL_TEST_DSN, a Docker engine, the embedded binaries, an installed server; EVTOOL_TEST_SERVER forces a
rung. No rung is an error, never a skip. The header says which server it is.
"""

from __future__ import annotations

import gc
import itertools
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import conninfo, sql

import evtool
from evtool.stores.postgres import PostgresStore
from evtool.testing.servers import DatabaseServer, start_server
from tests.sessions import NAMESPACES_OF_A_SESSION, renew_sessions
from tests.thoroughness import IS_THOROUGH, is_left_out

EVENTS = Path(__file__).parent / "data" / "repository-events.ndjson.gz"
"""38,817 messages of four public repositories, with gaps in their global positions."""

_server: DatabaseServer | None = None
_numbers = itertools.count(1)


def pytest_configure(config: pytest.Config) -> None:
    """The environment of whoever runs the tests must not choose a database for the code under test.

    And a run that is told to end stops its servers, as one that is interrupted does.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for variable in [name for name in os.environ if name.startswith(("PG", "EVTOOL_"))]:
        if not variable.startswith("EVTOOL_TEST_"):
            del os.environ[variable]
    os.environ["EVTOOL_EMBEDDED_DIR"] = "/nonexistent/no-test-uses-the-default-folder"


def pytest_report_header() -> str:
    """Starts the server, so that the header can name it."""
    server = _start()
    how = "all of them" if IS_THOROUGH else "the ordinary ones (scripts/test --thorough runs the others, too)"
    said = [f"tests: {how}", f"server: {server.describe()}"]
    return "\n".join([*said, *(f"  not: {reason}" for reason in server.tried)])


def pytest_collection_finish() -> None:
    """What there is by now stays until the end: the garbage collector need not look at it again and again."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what only a thorough run does; pytest says how many."""
    if IS_THOROUGH:
        return
    left_out = [item for item in items if is_left_out(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not is_left_out(item)]


def pytest_make_parametrize_id(val: object) -> None:
    """A case made of compressed bytes needs a name: some hold the clock, and the processes of a run must agree on all."""
    if isinstance(val, bytes) and val.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd")):
        raise pytest.UsageError("name the cases of a test that has compressed bytes: ids=[…]")


def pytest_unconfigure() -> None:
    """Stops the server."""
    if _server is not None:
        _server.stop()


def _start() -> DatabaseServer:
    global _server
    if _server is None:
        _server = start_server()
    return _server


@pytest.fixture(scope="session")
def server() -> DatabaseServer:
    """The PostgreSQL server of this run; its DSN is a superuser's."""
    return _start()


@pytest.fixture(scope="session")
def make_database(server: DatabaseServer) -> Iterator[Callable[..., str]]:
    """Makes a database on the server and returns its DSN. All are dropped, with the roles made meanwhile, at the end."""
    made: list[str] = []
    with psycopg.connect(server.dsn, autocommit=True) as admin:
        roles = {row[0] for row in admin.execute("SELECT rolname FROM pg_roles")}

        def make(template: str = "template0") -> str:
            name = f"evtool_test_{os.getpid()}_{next(_numbers)}"
            admin.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
            )
            made.append(name)
            return conninfo.make_conninfo(server.dsn, dbname=name)

        yield make

        for name in reversed(made):
            admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        # in one statement: since PostgreSQL 16 a role that granted a membership can't go before the role it is in
        left = [sql.Identifier(row[0]) for row in admin.execute("SELECT rolname FROM pg_roles") if row[0] not in roles]
        if left:
            admin.execute(sql.SQL("DROP ROLE {}").format(sql.SQL(", ").join(left)))


@pytest.fixture(scope="session")
def dsn(make_database: Callable[..., str]) -> str:
    """A migrated database that all tests share; each has its own namespace in it."""
    made = make_database()
    with evtool.connect(made) as store:
        store.migrate()
    return made


@pytest.fixture
def empty_dsn(make_database: Callable[..., str], server: DatabaseServer) -> Iterator[str]:
    """A database of this test's own, with nothing in it."""
    made = make_database()
    yield made
    name = sql.Identifier(str(conninfo.conninfo_to_dict(made)["dbname"]))
    with psycopg.connect(server.dsn, autocommit=True) as admin:
        admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))


@pytest.fixture(scope="session")
def shared_store(dsn: str) -> Iterator[PostgresStore]:
    """A store on the shared database, for making namespaces."""
    with PostgresStore(dsn) as store:
        yield store


@pytest.fixture
def namespace(shared_store: PostgresStore) -> str:
    """The name of a fresh namespace, and of its schema."""
    number = next(_numbers)
    if number % NAMESPACES_OF_A_SESSION == 0:
        renew_sessions(shared_store)
    return shared_store.create_namespace(f"test_{number}").schema


@pytest.fixture
def store(shared_store: PostgresStore, namespace: str) -> PostgresStore:
    """A store in a fresh namespace. It shares its connections: don't close it."""
    return shared_store.in_namespace(namespace)


@pytest.fixture
def connection(dsn: str, namespace: str) -> Iterator[psycopg.Connection]:
    """A superuser's connection in autocommit, with the test's namespace in its search_path; JSON as psycopg has it."""
    with psycopg.connect(dsn, autocommit=True) as made:
        made.execute(sql.SQL("SET search_path = {}").format(sql.Identifier(namespace)))
        yield made
