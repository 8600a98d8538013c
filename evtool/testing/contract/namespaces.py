"""Laws of namespaces: made, found, listed, deleted, by any name that can be shown."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

import pytest

from evtool import ndjson
from evtool.errors import NamespaceExists, NamespaceNotFound, NamespaceRefused
from evtool.store import Store
from evtool.testing.contract.helping import MakeNamespace, OpenStore, append, every_call, everything


def test_a_new_namespace_is_there_and_empty(store: Store, make_namespace: MakeNamespace) -> None:
    """It can be used at once, and holds nothing."""
    other = store.in_namespace(make_namespace())
    assert everything(other) == []
    assert append(other, "thing-1") == [0]


def test_a_namespace_is_found_with_its_name_schema_and_time(store: Store) -> None:
    """create, get and list tell the same facts."""
    before = datetime.now(UTC) - timedelta(minutes=5)
    made = store.create_namespace("Facts of 1")
    assert (made.name, made.schema) == ("Facts of 1", "facts_of_1")
    assert before < made.created_at < datetime.now(UTC) + timedelta(minutes=5)
    assert made.created_at.tzinfo is UTC
    assert store.get_namespace("Facts of 1") == made
    assert made in store.list_namespaces()
    store.delete_namespace("Facts of 1")


@pytest.mark.parametrize("count", [3, 10_500], ids=["few", "many"])
def test_a_namespace_may_begin_as_another_is(store: Store, count: int) -> None:
    """It has the messages at their positions, and the imports on record; from then on each goes its own way."""
    numbers = range(1, count + 1)
    lines = b"".join(
        b'{"id":"00000000-0000-4000-8000-%012d","stream":"thing-%d","type":"T","pos":%d,"gpos":%d,"data":{"n": 1e2},'
        b'"meta":null,"time":"2025-07-15T10:00:00.000001Z"}\n' % (n, n % 7, n // 7, 3 * n)
        for n in numbers
    )
    store.import_batch(ndjson.read(io.BytesIO(lines)))
    before = everything(store)
    store.create_namespace("begun like it", like=store.namespace)
    copy = store.in_namespace("begun like it")
    assert everything(copy) == before
    assert [one.imported for one in copy.import_records()] == [count]
    append(copy, "thing-1")
    last = copy.get_last_stream_message("thing-1")
    assert last is not None
    assert last.global_position > 3 * count
    assert everything(store) == before
    append(store, "other-1")
    assert len(everything(copy)) == count + 1
    store.delete_namespace("begun like it")


def test_a_copy_of_nothing_is_refused(store: Store) -> None:
    """Neither a namespace that isn't there, nor a name that is taken or can't be used, leaves anything behind."""
    before = store.list_namespaces()
    with pytest.raises(NamespaceNotFound):
        store.create_namespace("like nothing", like="is not there")
    with pytest.raises(NamespaceExists):
        store.create_namespace(store.namespace, like=store.namespace)
    with pytest.raises(NamespaceRefused):
        store.create_namespace("a\nb", like="is not there")
    assert store.list_namespaces() == before


def test_a_namespace_may_be_given_a_schema(store: Store) -> None:
    """A schema of one's choice takes the place of the derived one."""
    assert store.create_namespace("chosen", "another_schema").schema == "another_schema"
    assert store.get_namespace("chosen").schema == "another_schema"
    store.delete_namespace("chosen")


def test_namespaces_are_listed_in_the_order_of_their_bytes(store: Store) -> None:
    """Upper case before lower case before what isn't ASCII."""
    names = ["order Z", "order a", "order é", "order ﬁ", "order 😀"]
    for name in names[::-1]:
        store.create_namespace(name)
    assert [one.name for one in store.list_namespaces() if one.name in names] == names
    for name in names:
        store.delete_namespace(name)


def test_a_name_is_given_once(store: Store, make_namespace: MakeNamespace) -> None:
    """A name that is taken is refused, with whatever schema, and the namespace stays as it is."""
    name = make_namespace()
    append(store.in_namespace(name), "thing-1")
    for schema in (None, "quite_another"):
        with pytest.raises(NamespaceExists) as caught:
            store.create_namespace(name, schema)
        assert caught.value.code == "NAMESPACE_EXISTS"
    assert len(everything(store.in_namespace(name))) == 1


def test_names_that_would_share_a_schema_are_refused_unless_another_is_named(store: Store) -> None:
    """A and a, or a-b and a_b, are different names; the second needs a schema of its own, and is then separate."""
    for first, second in (("case A", "case a"), ("dash-b", "dash_b"), ("dots..", "dots/")):
        store.create_namespace(first)
        with pytest.raises(NamespaceRefused) as caught:
            store.create_namespace(second)
        assert caught.value.code == "NAMESPACE_REFUSED"
        assert caught.value.hint
        store.create_namespace(second, "a_schema_of_its_own")
        append(store.in_namespace(first), "thing-1", 2)
        append(store.in_namespace(second), "thing-1", 3)
        assert len(everything(store.in_namespace(first))) == 2
        assert len(everything(store.in_namespace(second))) == 3
        store.delete_namespace(first)
        assert len(everything(store.in_namespace(second))) == 3
        store.delete_namespace(second)


NAMES = ["../../x", "/etc/x", "a/b", "a\\b", "..", ".x", "~", "$HOME", "a b", 'a"b', "a'b", "%s", "x;DROP", "CON",
         "nul.txt", "registry", "registry.sqlite", "größe", "日本語", "😀x", "-x", "1", "select", "x" * 63]  # fmt: skip


def test_a_name_is_just_a_name(store: Store) -> None:
    """Whatever a name would mean to a path, a shell or SQL, it is a namespace that can be used and deleted."""
    for name in NAMES:
        store.create_namespace(name)
        other = store.in_namespace(name)
        assert other.namespace == name
        append(other, "thing-1", 2)
        assert len(everything(other)) == 2
        assert store.get_namespace(name).name == name
        store.delete_namespace(name)
        assert name not in [one.name for one in store.list_namespaces()]


def test_normal_forms_are_different_names(store: Store) -> None:
    """é as one character and as two are two namespaces."""
    store.create_namespace("caf\u00e9")
    store.create_namespace("cafe\u0301", "cafe_in_two")
    append(store.in_namespace("caf\u00e9"), "thing-1")
    assert everything(store.in_namespace("cafe\u0301")) == []
    store.delete_namespace("caf\u00e9")
    store.delete_namespace("cafe\u0301")


NO_NAMES = ["", " ", "\0", "a\0b", "a\nb", "\x7f", "a\ud800", "x" * 64, "é" * 32, "pg_x", "Public", "evtool"]


def test_a_name_that_can_not_be_is_refused(store: Store) -> None:
    """Empty, unprintable, too long for a schema, or reserved: refused with a reason, and nothing is made."""
    before = store.list_namespaces()
    for name in NO_NAMES:
        with pytest.raises(NamespaceRefused):
            store.create_namespace(name)
    assert store.list_namespaces() == before


NO_SCHEMAS = ["", "\0", "a\0", "x" * 64, "pg_x", "PG_x", "evtool", "information_schema", "public", "\ud800"]


def test_a_schema_that_can_not_be_is_refused(store: Store) -> None:
    """The limits of a schema are PostgreSQL's, in every store."""
    for schema in NO_SCHEMAS:
        with pytest.raises(NamespaceRefused):
            store.create_namespace("with a schema", schema)
    with pytest.raises(NamespaceNotFound):
        store.get_namespace("with a schema")


def test_a_namespace_that_is_not_there_is_not_found(store: Store) -> None:
    """Looking up, deleting and using a name that no namespace has, or can have, says so."""
    for name in ["nowhere", "", "../registry", "\0", "a\0b", "\ud800", "a\nb"]:
        with pytest.raises(NamespaceNotFound) as caught:
            store.get_namespace(name)
        assert caught.value.code == "NAMESPACE_NOT_FOUND"
        with pytest.raises(NamespaceNotFound):
            store.delete_namespace(name)
        with pytest.raises(NamespaceNotFound):
            store.in_namespace(name).get_all_messages()


def test_no_call_works_in_a_namespace_that_was_deleted(
    store: Store, open_store: OpenStore, make_namespace: MakeNamespace
) -> None:
    """A store that has used a namespace finds it gone, whoever deleted it; so does one that never used it."""
    for call in every_call(store):
        name = make_namespace()
        known, unused = open_store(name), open_store(name)
        for use in every_call(known).values():
            use()
        store.delete_namespace(name)
        for one in (known, unused, known):
            with pytest.raises(NamespaceNotFound):
                every_call(one)[call]()


@pytest.mark.parametrize("schema", ["made_anew_a", "made_anew_b"])
def test_a_namespace_made_anew_is_empty_and_works(store: Store, open_store: OpenStore, schema: str) -> None:
    """A store that knew the old one finds the new one with its next call, in the same schema or another."""
    writing = {"write_message", "write_messages", "import_batch"}
    for call in every_call(store):
        store.create_namespace("made anew", "made_anew_a")
        known = open_store("made anew")
        for use in every_call(known).values():
            use()
        store.delete_namespace("made anew")
        store.create_namespace("made anew", schema)
        every_call(known)[call]()
        assert len(everything(known)) == (call in writing), call
        store.delete_namespace("made anew")


def test_deleting_twice_is_told(store: Store, make_namespace: MakeNamespace) -> None:
    """The second finds nothing to delete."""
    name = make_namespace()
    store.delete_namespace(name)
    with pytest.raises(NamespaceNotFound):
        store.delete_namespace(name)


def test_a_store_may_be_opened_before_its_namespace_is_made(store: Store, open_store: OpenStore) -> None:
    """The name is looked up when it is needed."""
    early = open_store("made later")
    with pytest.raises(NamespaceNotFound):
        append(early, "thing-1")
    store.create_namespace("made later")
    assert append(early, "thing-1") == [0]
    store.delete_namespace("made later")
