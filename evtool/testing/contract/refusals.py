"""What one store refuses, all refuse: the same class of error, before anything is written."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from evtool.errors import EvtoolError, InvalidArgument, InvalidMessage, NotACategory, NotAStream, WrongExpectedVersion
from evtool.model import NewMessage, Selection
from evtool.store import Store
from evtool.testing.contract.helping import MAX_BIGINT, append, everything, file_of, new_id, outcomes, record

BEYOND = MAX_BIGINT + 1
BELOW = -MAX_BIGINT - 2

JSON = {
    "nothing": "",
    "white space": " \n",
    "no JSON": "{",
    "two values": "1 2",
    "a trailing comma": "[1,]",
    "single quotes": "{'a':1}",
    "a key without quotes": "{a:1}",
    "a word": "undefined",
    "True": "True",
    "NaN": "NaN",
    "Infinity": "[Infinity]",
    "-Infinity": "-Infinity",
    "a plus sign": "+1",
    "a leading zero": "01",
    "a bare point": "1.",
    "a point first": ".5",
    "hexadecimal": "0x10",
    "an underscore": "1_000",
    "a comment": "{} // x",
    "a byte-order mark": "\ufeff{}",
    "a no-break space": "\u00a0{}",
    "a vertical tab": "\x0b{}",
    "a raw line break in a string": '"a\nb"',
    "a raw tab in a string": '"a\tb"',
    "a raw control character in a string": '"a\x01b"',
    "a raw NUL in a string": '"a\0b"',
    "a raw NUL behind": "{}\0",
    "an unknown escape": r'"\x41"',
    "half an escape": r'"\u12"',
    r"\u0000": r'"\u0000"',
    r"\u0000 in a key": r'{"a\u0000b":1}',
    r"\u0000 deep down": r'{"a":[{"b":"x\\\u0000"}]}',
    "an escaped high surrogate": r'"\ud800"',
    "an escaped low surrogate": r'"\udc00 x"',
    "two high surrogates": r'"\ud800\ud800"',
    "surrogates the wrong way round": r'["\ude00\ud83d"]',
    "a surrogate in a key": r'{"\ud83d":1}',
    "a lone surrogate": '"\ud800"',
    "a surrogate pair as two characters": '"\ud83d\ude00"',
    "1e131072": "1e131072",
    "-1e131072": '{"a":[-1e131072]}',
    "12e131071": "12e131071",
    "131073 digits": "1" * 131073,
    "1e-16384": "1e-16384",
    "1.5e-16383": "1.5e-16383",
    "16384 digits behind the point": "0." + "1" * 16384,
    "a long fraction with an exponent": "0." + "1" * 16000 + "e-500",
    "0e-16384": "0e-16384",
    "1e999999999999": "1e999999999999",
    "0e999999999999": "0e999999999999",
    "nested too deeply": "[" * 100_000 + "]" * 100_000,
    "invalid UTF-8": b'"\xff"',
    "cut UTF-8": b'"\xc3"',
    "overlong UTF-8": b'"\xc0\xaf"',
    "a surrogate in UTF-8": b'"\xed\xa0\x80"',
    "UTF-16": '"a"'.encode("utf-16"),
    "the number nan": float("nan"),
    "the number inf": {"a": float("inf")},
    "an object of some class": object(),
    "a set": {1},
    "a dict with a surrogate": {"a": "\ud800"},
    "a dict with NUL": {"a": "\0"},
}


@pytest.mark.parametrize("where", ["data", "metadata", "data in a batch", "metadata in a batch"])
def test_what_jsonb_can_not_hold_is_an_invalid_message(store: Store, where: str) -> None:
    """Data and metadata that PostgreSQL's jsonb refuses are refused, in single writes and in batches."""
    field = "metadata" if where.startswith("metadata") else "data"

    def write(bad: Any) -> object:
        given = {"data": {}, field: bad}
        if "batch" in where:
            return store.write_messages("thing-1", [NewMessage("Happened"), NewMessage("Happened", **given)])
        return store.write_message(None, "thing-1", "Happened", **given)

    ends = outcomes({name: lambda bad=bad: write(bad) for name, bad in JSON.items()})  # type: ignore[misc]
    assert ends == dict.fromkeys(JSON, "INVALID_MESSAGE")
    assert everything(store) == []


TAKEN = ["1e131071", "-9.9e131071", "1" * 131072, "1e-16383", "0." + "1" * 16383, "0e131071", "1e+0000131071",
         '"\\\\u0000"', r'"\u0001"', r'"\ud83d\ude00"', '"\x7f"', "\t[ 1 ]\r\n", r'"\/"', "1E+2", "-0e-5"]  # fmt: skip


def test_what_jsonb_can_hold_is_written(store: Store) -> None:
    """The bounds are PostgreSQL's, and not nearer."""
    ends = outcomes(
        {text[:20]: lambda text=text: store.write_message(None, "thing-1", "Happened", text, text) for text in TAKEN}  # type: ignore[misc]
    )
    assert set(ends.values()) == {"done"}, ends


NO_UUIDS = ["", "no uuid", "0f8fad5b-d9cb-469f-a165-70867728950", "0f8fad5b-d9cb-469f-a165-70867728950e0",
            "0f8fad5b-d9cb-469f-a165-70867728950g", " 0f8fad5b-d9cb-469f-a165-70867728950e",
            "0f8fad5b-d9cb-469f-a165-70867728950e\n", "{0f8fad5b-d9cb-469f-a165-70867728950e",
            "0f8fad5b-d9cb-469f-a165-70867728950e}", "0f8-fad5b-d9cb-469f-a165-70867728950e",
            "urn:uuid:0f8fad5b-d9cb-469f-a165-70867728950e", "-0f8fad5b-d9cb-469f-a165-70867728950e",
            "0f8fad5b-d9cb-469f-a165-70867728950e-", "0f8fad5b--d9cb-469f-a165-70867728950e",
            "0f8fad5b_d9cb_469f_a165_70867728950e", "\u0660f8fad5b-d9cb-469f-a165-70867728950e",
            "0f8fad5b-d9cb-469f-a165-70867728950e\0", "\ud800"]  # fmt: skip


def test_an_id_that_is_no_uuid_is_an_invalid_message(store: Store) -> None:
    """What PostgreSQL's type uuid doesn't read is refused, alone and in a batch."""
    for write in (
        lambda id_: store.write_message(id_, "thing-1", "Happened", {}),
        lambda id_: store.write_messages("thing-1", [NewMessage("Happened", id=id_)]),
    ):
        ends = outcomes({id_: lambda write=write, id_=id_: write(id_) for id_ in NO_UUIDS})  # type: ignore[misc]
        assert ends == dict.fromkeys(NO_UUIDS, "INVALID_MESSAGE")
    assert everything(store) == []


@pytest.mark.parametrize("text", ["a\0b-1", "\0", "a-\ud800", "\udfff"], ids=ascii)
def test_a_text_that_can_not_be_stored_is_refused(store: Store, text: str) -> None:
    """NUL and halves of surrogate pairs are refused wherever a name is given, reading or writing."""
    category = text.replace("-", "")
    append(store, "thing-1")
    calls = {
        "stream of a write": lambda: store.write_message(None, text, "Happened", {}),
        "type of a write": lambda: store.write_message(None, "thing-1", text, {}),
        "stream of a batch": lambda: store.write_messages(text, [NewMessage("Happened")]),
        "stream of an empty batch": lambda: store.write_messages(text, []),
        "type in a batch": lambda: store.write_messages("thing-1", [NewMessage(text)]),
        "stream": lambda: store.get_stream_messages(f"{text}-1"),
        "stream without an id": lambda: store.get_stream_messages(category),
        "category": lambda: store.get_category_messages(category),
        "category with a hyphen": lambda: store.get_category_messages(f"{text}-1"),
        "correlation": lambda: store.get_category_messages("thing", correlation=category),
        "last": lambda: store.get_last_stream_message(text),
        "last of a type": lambda: store.get_last_stream_message("thing-1", text),
        "version": lambda: store.stream_version(text),
        "prefix": lambda: store.list_streams(text),
        "after": lambda: store.list_streams("", text),
        "category of an export": lambda: file_of(store, Selection((category,))),
    }
    assert outcomes(calls) == dict.fromkeys(calls, "INVALID_MESSAGE")
    assert len(everything(store)) == 1


@pytest.mark.parametrize("number", [BEYOND, BELOW, 10**30])
def test_a_number_beyond_a_bigint_is_an_invalid_argument(store: Store, number: int) -> None:
    """Positions, versions, sizes and members are bigints; what isn't is refused as such, and as nothing else."""
    append(store, "thing-1")
    group = store.get_category_messages
    calls = {
        "expected version": lambda: store.write_message(None, "thing-1", "Happened", {}, None, number),
        "of a batch": lambda: store.write_messages("thing-1", [NewMessage("Happened")], number),
        "of an empty batch": lambda: store.write_messages("thing-1", [], number),
        "stream position": lambda: store.get_stream_messages("thing-1", number),
        "stream batch_size": lambda: store.get_stream_messages("thing-1", 0, number),
        "category position": lambda: store.get_category_messages("thing", number),
        "category batch_size": lambda: store.get_category_messages("thing", 1, number),
        "member": lambda: group("thing", consumer_group_member=number, consumer_group_size=2),
        "member alone": lambda: group("thing", consumer_group_member=number),
        "size": lambda: group("thing", consumer_group_member=0, consumer_group_size=number),
        "all position": lambda: store.get_all_messages(number),
        "all batch_size": lambda: store.get_all_messages(1, number),
        "limit": lambda: store.list_streams(limit=number),
    }
    assert outcomes(calls) == dict.fromkeys(calls, "INVALID_ARGUMENT")
    assert len(everything(store)) == 1


@pytest.mark.parametrize(
    ("stream_name", "type_"), [(None, "Happened"), ("thing-1", None), (None, None)], ids=["stream", "type", "both"]
)
def test_a_message_needs_a_stream_and_a_type(store: Store, stream_name: Any, type_: Any) -> None:
    """None is neither a name nor a type."""
    with pytest.raises(InvalidMessage) as caught:
        store.write_message(None, stream_name, type_, {})
    assert caught.value.code == "INVALID_MESSAGE"
    with pytest.raises(InvalidMessage):
        store.write_messages(stream_name, [NewMessage(type_)])
    assert everything(store) == []


def test_numbers_are_looked_at_before_names(store: Store) -> None:
    """Where a number is beyond a bigint and a name is wrong as well, all stores tell of the number."""
    ends = outcomes(
        {
            "stream": lambda: store.get_stream_messages("thing", BEYOND),
            "stream's size": lambda: store.get_stream_messages("thing", 0, BEYOND),
            "category": lambda: store.get_category_messages("thing-1", BEYOND),
            "category's size": lambda: store.get_category_messages("thing-1", 1, BEYOND),
            "correlation": lambda: store.get_category_messages("thing", BEYOND, correlation="other-1"),
            "consumer group": lambda: store.get_category_messages("thing", BEYOND, consumer_group_member=0),
            "write": lambda: store.write_message("no UUID", "thing-1", "Happened", {}, None, BEYOND),
            "condition": lambda: store.get_stream_messages("thing-1", BEYOND, condition="true"),
        }
    )
    assert ends == dict.fromkeys(ends, "INVALID_ARGUMENT")


@pytest.mark.parametrize("bad", [True, 1.0, "1", b"1", [1], object()], ids=lambda bad: type(bad).__name__)
def test_a_number_that_is_no_whole_number_is_an_invalid_argument(store: Store, bad: Any) -> None:
    """A position, a version or a size is an int; nothing else is taken for one, or is a driver's error."""
    append(store, "thing-1")
    group = store.get_category_messages
    calls = {
        "expected version": lambda: store.write_message(None, "thing-1", "Happened", {}, None, bad),
        "of a batch": lambda: store.write_messages("thing-1", [NewMessage("Happened")], bad),
        "stream position": lambda: store.get_stream_messages("thing-1", bad),
        "stream batch_size": lambda: store.get_stream_messages("thing-1", 0, bad),
        "category position": lambda: group("thing", bad),
        "category batch_size": lambda: group("thing", 1, bad),
        "member": lambda: group("thing", consumer_group_member=bad, consumer_group_size=2),
        "size": lambda: group("thing", consumer_group_member=0, consumer_group_size=bad),
        "all position": lambda: store.get_all_messages(bad),
        "all batch_size": lambda: store.get_all_messages(1, bad),
        "limit": lambda: store.list_streams(limit=bad),
        "import records": lambda: store.import_records(bad),
    }
    assert outcomes(calls) == dict.fromkeys(calls, "INVALID_ARGUMENT")
    assert len(everything(store)) == 1


@pytest.mark.parametrize("bad", [1, True, b"thing-1", ["thing-1"], object()], ids=lambda bad: type(bad).__name__)
def test_a_name_that_is_no_text_is_refused(store: Store, bad: Any) -> None:
    """A stream, a category, a type, an id or a condition is a str; nothing else is taken for one."""
    append(store, "thing-1")
    calls = {
        "id of a write": lambda: store.write_message(bad, "thing-1", "Happened", {}),
        "stream of a write": lambda: store.write_message(None, bad, "Happened", {}),
        "type of a write": lambda: store.write_message(None, "thing-1", bad, {}),
        "stream of a batch": lambda: store.write_messages(bad, [NewMessage("Happened")]),
        "type in a batch": lambda: store.write_messages("thing-1", [NewMessage(bad)]),
        "id in a batch": lambda: store.write_messages("thing-1", [NewMessage("Happened", id=bad)]),
        "stream": lambda: store.get_stream_messages(bad),
        "condition": lambda: store.get_stream_messages("thing-1", condition=bad),
        "category": lambda: store.get_category_messages(bad),
        "correlation": lambda: store.get_category_messages("thing", correlation=bad),
        "last": lambda: store.get_last_stream_message(bad),
        "last of a type": lambda: store.get_last_stream_message("thing-1", bad),
        "version": lambda: store.stream_version(bad),
        "prefix": lambda: store.list_streams(bad),
        "after": lambda: store.list_streams("", bad),
        "fingerprint": lambda: store.import_records(fingerprint=bad),
    }
    assert outcomes(calls) == dict.fromkeys(calls, "INVALID_MESSAGE")
    assert len(everything(store)) == 1
    names: dict[str, Callable[[], object]] = {
        "create": lambda: store.create_namespace(bad),
        "schema": lambda: store.create_namespace("other", bad),
        "get": lambda: store.get_namespace(bad),
        "delete": lambda: store.delete_namespace(bad),
        "in": lambda: append(store.in_namespace(bad), "thing-1"),
    }
    refused = dict.fromkeys(names, "NAMESPACE_NOT_FOUND") | dict.fromkeys(("create", "schema"), "NAMESPACE_REFUSED")
    assert outcomes(names) == refused


def test_of_several_faults_all_stores_tell_the_same(store: Store) -> None:
    """Values that are not of their type come first, names before numbers, then Message DB's own order of checks."""
    taken = new_id()
    store.write_message(taken, "thing-1", "Happened", {})
    group = store.get_category_messages
    batch = [NewMessage("Happened", id=taken), NewMessage(None)]  # type: ignore[arg-type]
    nobody: Any = None
    ends = outcomes(
        {
            "a text before a number": lambda: store.get_stream_messages("\0-1", BEYOND),
            "a condition's text before the stream": lambda: store.get_stream_messages("thing", condition="\0"),
            "a correlation's text before the category": lambda: group("thing-1", correlation="\0"),
            "a member before the category": lambda: group("thing-1", consumer_group_member=BEYOND),
            "a size before the correlation": lambda: group("thing", correlation="a-1", consumer_group_size=BEYOND),
            "a condition before a large group": lambda: group("thing", 1, 1, None, 0, 40_000, "true"),
            "a large group before batch_size": lambda: group("thing", 1, -2, None, 0, 40_000),
            "a version's number before JSON": lambda: store.write_message(None, "thing-1", "A", "{", None, BEYOND),
            "a version before an id": lambda: store.write_message("no uuid", "thing-1", "A", {}, None, 5),
            "a version before a missing stream": lambda: store.write_message(None, nobody, "A", {}, None, 5),
            "an id before a missing type": lambda: store.write_message("no uuid", "thing-1", nobody, {}),
            "a taken id before the next one's type": lambda: store.write_messages("thing-1", batch),
            "no messages of no stream": lambda: store.write_messages(nobody, []),
        }
    )
    assert [*ends.values()] == [
        "INVALID_MESSAGE", "INVALID_MESSAGE", "INVALID_MESSAGE", "INVALID_ARGUMENT", "INVALID_ARGUMENT",
        "CONDITION_NOT_ACTIVATED", "INVALID_ARGUMENT", "INVALID_ARGUMENT", "WRONG_EXPECTED_VERSION",
        "WRONG_EXPECTED_VERSION", "INVALID_MESSAGE", "MESSAGE_EXISTS", "done",
    ]  # fmt: skip


def test_a_version_conflict_without_a_stream_is_told_as_message_db_tells_it(store: Store) -> None:
    """A missing name is printed as <NULL>."""
    nobody: Any = None
    with pytest.raises(WrongExpectedVersion) as caught:
        store.write_message(None, nobody, "Happened", {}, None, 5)
    assert caught.value.message == "Wrong expected version: 5 (Stream: <NULL>, Stream Version: -1)"


def test_positions_that_are_used_up_refuse_the_next_write(store: Store) -> None:
    """A stream, or a namespace, at the greatest bigint takes no message more; nothing is written at a wrong place."""
    store.import_batch([record(5, pos=MAX_BIGINT)])
    with pytest.raises(InvalidArgument):
        append(store, "thing-1")
    assert append(store, "thing-2") == [0]
    store.import_batch([record(MAX_BIGINT, "thing-3")])
    with pytest.raises(EvtoolError):
        append(store, "thing-3")
    assert [message.global_position for message in everything(store)] == [5, 6, MAX_BIGINT]
    # the message was refused for its position, and the store still works
    assert store.stream_version("thing-3") == 0


def test_an_export_of_a_stream_as_a_category_is_refused() -> None:
    """A selection holds categories only; a name with a hyphen could only be a mistake."""
    with pytest.raises(NotACategory, match=re.escape("Must be a category: thing-1")):
        Selection(("thing-1",))


@pytest.mark.parametrize("field", ["categories", "streams", "types"])
def test_one_name_in_place_of_several_is_refused(field: str) -> None:
    """A text is not taken for the names of its characters, by which an export would find nothing."""
    given: Any = {field: "thing"}
    with pytest.raises(InvalidArgument):
        Selection(**given)


def test_a_refusal_names_what_to_do(store: Store) -> None:
    """Errors have a code, a message of one line, and never the data."""
    with pytest.raises(NotAStream) as stream:
        store.get_stream_messages("thing")
    with pytest.raises(InvalidMessage) as message:
        store.write_message(None, "thing-1", "Happened", '{"secret": "hush-hush"')
    for error in (stream.value, message.value):
        assert error.code.isupper()
        assert "\n" not in error.message
        assert "hush" not in f"{error.message} {error.hint}"
