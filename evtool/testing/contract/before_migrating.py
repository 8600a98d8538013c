"""Laws of a database that was never migrated, for stores that wait for `migrate` (the fixture `unmigrated_store`)."""

from __future__ import annotations

import pytest

from evtool.errors import NotMigrated
from evtool.store import Store
from evtool.testing.contract.helping import every_call


def test_no_message_is_read_or_written(unmigrated_store: Store) -> None:
    """Every call says that the database is not migrated, and what to run; nothing is made on the way."""
    for call in every_call(unmigrated_store).values():
        with pytest.raises(NotMigrated) as caught:
            call()
        assert caught.value.code == "NOT_MIGRATED"
        assert "evtool migrate" in (caught.value.hint or "")
    assert unmigrated_store.migration_status()[0].structure is None


def test_no_namespace_is_listed_found_made_or_deleted(unmigrated_store: Store) -> None:
    """Namespaces need the registry, which `migrate` makes."""
    for call in (
        unmigrated_store.list_namespaces,
        lambda: unmigrated_store.get_namespace("x"),
        lambda: unmigrated_store.create_namespace("x"),
        lambda: unmigrated_store.delete_namespace("x"),
    ):
        with pytest.raises(NotMigrated):
            call()


def test_the_status_says_what_is_to_be_done(unmigrated_store: Store) -> None:
    """It can be asked for, and names the pending structure of the registry."""
    (state,) = unmigrated_store.migration_status()
    assert (state.name, state.structure) == (None, None)
    assert state.pending
    assert not state.current


def test_migrating_makes_it_work(unmigrated_store: Store) -> None:
    """The same store object can be used after `migrate`."""
    assert [step.action for step in unmigrated_store.migrate()] == ["created", "created"]
    for call in every_call(unmigrated_store).values():
        call()
