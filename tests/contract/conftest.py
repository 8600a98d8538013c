"""Every law of evtool.testing.contract on every store of evtool."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from evtool.store import Store
from evtool.testing.contract.helping import DEADLINE
from tests.contract.kinds import KINDS, SHARED, Kind, Place
from tests.sessions import NAMESPACES_OF_A_SESSION, renew_sessions

_numbers = itertools.count(1)
_tests = itertools.count(1)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A law runs on all kinds of store; where it asks for another process, or for `migrate`, on those that have them."""
    if "kind" in metafunc.fixturenames:
        needs_others = {"location", "unmigrated_store"} & set(metafunc.fixturenames)
        kinds = SHARED if needs_others else KINDS
        metafunc.parametrize("kind", kinds, ids=[kind.name for kind in kinds], indirect=True, scope="session")


@pytest.fixture(scope="session")
def kind(request: pytest.FixtureRequest) -> Kind:
    """The kind of store that the test runs on."""
    given: Kind = request.param
    return given


@pytest.fixture(scope="session")
def place(kind: Kind, make_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A migrated database that all tests of a kind share; each has its own namespace in it."""
    made = Place(kind, make_database, tmp_path_factory.mktemp("place") / kind.name)
    made.store().migrate()
    yield made
    made.close()


@pytest.fixture
def make_namespace(place: Place) -> Iterator[Callable[[], str]]:
    """Makes a namespace and returns its name. All that a test has made are deleted after it, by this or otherwise."""
    if next(_tests) % NAMESPACES_OF_A_SESSION == 0:
        renew_sessions(place.store())
    before = {one.name for one in place.store().list_namespaces()}
    yield lambda: place.store().create_namespace(f"contract_{next(_numbers)}").name
    for one in place.store().list_namespaces():
        if one.name not in before:
            place.store().delete_namespace(one.name)


@pytest.fixture
def store(place: Place, make_namespace: Callable[[], str]) -> Store:
    """A store in a fresh namespace."""
    return place.store(make_namespace())


@pytest.fixture
def open_store(place: Place, store: Store) -> Iterator[Callable[..., Store]]:
    """Another store of the same database."""
    yield lambda namespace=None: place.another(namespace or store.namespace)
    place.close_others()


@pytest.fixture
def location(place: Place) -> str:
    """The DSN of the store's database."""
    return place.dsn


@pytest.fixture
def fresh_store(kind: Kind, make_database: Callable[[], str], tmp_path: Path) -> Iterator[Store]:
    """A store of a database that nobody has migrated, unless it did so itself."""
    made = Place(kind, make_database, tmp_path / kind.name)
    yield made.store()
    made.close()


@pytest.fixture
def unmigrated_store(fresh_store: Store) -> Store:
    """A store of a database that nobody has migrated."""
    return fresh_store


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], None]:
    """Asks again until the answer is true; fails after the deadline."""

    def wait(condition: Callable[[], bool]) -> None:
        end = time.monotonic() + DEADLINE
        while not condition():
            assert time.monotonic() < end, "it never became true"
            time.sleep(0.002)

    return wait
