"""Laws of migration, for a database of the test's own (the fixture `fresh_store`)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from evtool.settings import DEFAULT_NAMESPACE
from evtool.store import Store
from evtool.testing.contract.helping import append, everything, together

ROUNDS = 5


def test_migrating_makes_the_registry_and_the_default_namespace(fresh_store: Store) -> None:
    """After `migrate` a database that had nothing can be written to at once."""
    fresh_store.migrate()
    assert [one.name for one in fresh_store.list_namespaces()] == [DEFAULT_NAMESPACE]
    assert append(fresh_store.in_namespace(DEFAULT_NAMESPACE), "thing-1") == [0]


def test_migrating_records_versions_and_moments(fresh_store: Store) -> None:
    """The registry and each namespace say which structure they have; a namespace says when it was made."""
    fresh_store.migrate()
    fresh_store.create_namespace("second")
    registry, *namespaces = fresh_store.migration_status()
    assert registry.name is None
    assert [state.name for state in namespaces] == sorted([DEFAULT_NAMESPACE, "second"])
    for state in (registry, *namespaces):
        assert state.structure
        assert state.current
        assert not state.pending
    now = datetime.now(UTC)
    assert all(now - timedelta(minutes=5) < one.created_at <= now for one in fresh_store.list_namespaces())


def test_a_step_is_told_for_the_registry_and_each_namespace(fresh_store: Store) -> None:
    """What `migrate` returns begins with the registry and names the structure that everything has now."""
    steps = fresh_store.migrate()
    assert [step.name for step in steps] == [None, DEFAULT_NAMESPACE]
    assert all(step.structure for step in steps)


def test_migrating_again_changes_nothing(fresh_store: Store) -> None:
    """The second run finds everything current, and leaves messages and namespaces alone."""
    fresh_store.migrate()
    fresh_store.create_namespace("second")
    store = fresh_store.in_namespace("second")
    append(store, "thing-1", 3)
    before = (everything(store), fresh_store.list_namespaces(), fresh_store.migration_status())
    steps = fresh_store.migrate()
    assert {step.name: step.action for step in steps} == {
        None: "current", DEFAULT_NAMESPACE: "current", "second": "current",
    }  # fmt: skip
    assert (everything(store), fresh_store.list_namespaces(), fresh_store.migration_status()) == before


def test_a_new_namespace_is_made_current(fresh_store: Store) -> None:
    """There is nothing to migrate in what this version has made itself."""
    fresh_store.migrate()
    fresh_store.create_namespace("second")
    assert all(state.current for state in fresh_store.migration_status())


def test_the_default_namespace_is_made_only_where_there_is_none(fresh_store: Store) -> None:
    """A database whose owner deleted the default namespace and made another doesn't get it back."""
    fresh_store.migrate()
    fresh_store.create_namespace("mine")
    fresh_store.delete_namespace(DEFAULT_NAMESPACE)
    fresh_store.migrate()
    assert [one.name for one in fresh_store.list_namespaces()] == ["mine"]


def test_several_may_migrate_at_the_same_time(fresh_store: Store) -> None:
    """Whoever comes second waits, and finds it done."""
    results = together([fresh_store.migrate] * 4)
    for result in results:
        result.result()
    assert all(state.current for state in fresh_store.migration_status())
    assert [one.name for one in fresh_store.list_namespaces()] == [DEFAULT_NAMESPACE]


def test_namespaces_may_come_and_go_while_others_migrate(fresh_store: Store) -> None:
    """`migrate` and its status pass over a namespace that somebody deletes meanwhile, used or not."""
    fresh_store.migrate()

    def come_and_go() -> None:
        for number in range(ROUNDS):
            name = fresh_store.create_namespace(f"passing-{number}").name
            if number % 2:
                append(fresh_store.in_namespace(name), "thing-1")
            fresh_store.delete_namespace(name)

    def migrate() -> None:
        for _ in range(ROUNDS):
            fresh_store.migrate()
            fresh_store.migration_status()

    for result in together([come_and_go, migrate, migrate]):
        result.result()
    assert [one.name for one in fresh_store.list_namespaces()] == [DEFAULT_NAMESPACE]
