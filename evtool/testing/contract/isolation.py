"""Laws of isolation: a namespace knows nothing of another."""

from __future__ import annotations

import pytest

from evtool.errors import NamespaceNotFound
from evtool.model import Selection
from evtool.store import Store
from evtool.testing.contract.helping import (
    MakeNamespace,
    OpenStore,
    append,
    everything,
    file_of,
    new_id,
    record,
    spread,
)


def test_positions_of_a_namespace_are_its_own(store: Store, make_namespace: MakeNamespace) -> None:
    """Stream positions, versions and global positions count anew in each namespace."""
    other = store.in_namespace(make_namespace())
    append(store, "thing-1", 3)
    assert append(other, "thing-1") == [0]
    assert (store.stream_version("thing-1"), other.stream_version("thing-1")) == (2, 0)
    assert [message.global_position for message in everything(other)] == [1]


def test_an_id_may_be_in_several_namespaces(store: Store, make_namespace: MakeNamespace) -> None:
    """An id is written once in a namespace, and once in the next."""
    other = store.in_namespace(make_namespace())
    id_ = new_id()
    store.write_message(id_, "thing-1", "Here", {})
    other.write_message(id_, "thing-1", "There", {})
    assert [m.type for m in everything(store)] == ["Here"]
    assert [m.type for m in everything(other)] == ["There"]


def test_reads_lists_and_exports_stay_in_their_namespace(store: Store, make_namespace: MakeNamespace) -> None:
    """No way of reading shows a message of another namespace."""
    other = store.in_namespace(make_namespace())
    spread(store, ["thing-1", "thing-2"])
    assert other.get_stream_messages("thing-1") == []
    assert other.get_category_messages("thing") == []
    assert other.get_all_messages() == []
    assert other.get_last_stream_message("thing-1") is None
    assert other.list_streams() == []
    assert other.list_categories() == []
    assert file_of(other, Selection(("thing",))) == b""


def test_an_import_goes_into_its_namespace_alone(store: Store, make_namespace: MakeNamespace) -> None:
    """Imported messages move no other namespace's positions."""
    other = store.in_namespace(make_namespace())
    store.import_batch([record(1_000_000)])
    append(other, "thing-1")
    assert everything(other)[0].global_position == 1


def test_deleting_a_namespace_leaves_the_others(store: Store, make_namespace: MakeNamespace) -> None:
    """What is removed is the one that was named."""
    name = make_namespace()
    other = store.in_namespace(name)
    append(store, "thing-1", 2)
    append(other, "thing-1", 5)
    store.delete_namespace(name)
    assert len(everything(store)) == 2
    assert append(store, "thing-1") == [2]


def test_a_namespace_has_one_identity(store: Store, open_store: OpenStore, make_namespace: MakeNamespace) -> None:
    """It is the same in every store that was opened on it, and another for the next namespace."""
    other = store.in_namespace(make_namespace())
    assert open_store().identity() == store.identity() == store.in_namespace(store.namespace).identity()
    assert open_store(other.namespace).identity() == other.identity() != store.identity()
    with pytest.raises(NamespaceNotFound):
        store.in_namespace("nosuch").identity()
