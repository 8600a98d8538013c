"""Laws of JSON: the value that was written is the value that is read, to the last digit."""

from __future__ import annotations

import json
import re

from evtool.model import NewMessage
from evtool.store import Store
from evtool.testing.contract.helping import MakeNamespace, everything, file_of, lines_of, record, records, value

VALUES = {
    "2^53 + 1": "9007199254740993",
    "2^64": "18446744073709551616",
    "23 digits": "12345678901234567890123",
    "5000 digits": "7" * 5000,
    "1e400": "1e400",
    "1e-400": "1e-400",
    "greatest numeric": "9" * 100 + "e130971",
    "smallest numeric": "1e-16383",
    "0.1": "0.1",
    "long fraction": "3.14159265358979323846264338327950288419716939937510",
    "trailing zeros": "1.500",
    "minus zero": "-0",
    "minus zero with a fraction": "-0.0",
    "1E5": "1E5",
    "1e+5": "1e+5",
    "1.5E-7": "1.5E-7",
    "leading zeros of an exponent": "1e0005",
    "zero with an exponent": "0e10",
    "Unicode": '"größe 日本語 😀 \U0010ffff"',
    "escapes": r'"\"\\\/\b\f\n\r\t\u0001\u001f"',
    "a surrogate pair": r'"\ud83d\ude00"',
    "an escaped backslash before u": r'"\\u0000 \\ud800"',
    "separators": '"\u2028\u2029\x7f\ufeff"',
    "the quotes of COPY": r'"\u0001\u0002"',
    "words": '["null","true","\\\\.","{}"]',
    "key order": '{"zeta":1,"a":2,"mm":3,"Z":4,"é":5,"":6}',
    "odd keys": r'{"a b":1,"a\"b":2,"a\nb":3,"😀":4,"__proto__":5}',
    "the same key twice": '{"a":1,"a":2}',
    "nested": '{"a":' * 100 + "[]" + "}" * 100,
    "an array of everything": '[null,true,false,0,-1,1.5,"",[],{}]',
    "large": json.dumps(["x" * 1000] * 1000),
    "white space": ' { "a" : [ 1 ,\t2 ] } ',
    "on several lines": '{\n  "a": [\r\n    1,\n    "b"\n  ]\n}\n',
}


def check_survival(store: Store) -> None:
    """Compares the messages of thing-1 with VALUES, one by one."""
    messages = store.get_stream_messages("thing-1")
    for (what, text), message in zip(VALUES.items(), messages, strict=True):
        assert value(message.data) == value(text), what
        assert value(message.metadata) == value(text), what


def test_a_value_survives_writing_and_reading(store: Store) -> None:
    """Numbers exact, text by its characters, objects by their keys: in data and in metadata."""
    for text in VALUES.values():
        store.write_message(None, "thing-1", "Happened", text, text.encode())
    check_survival(store)


def test_a_value_survives_a_batch(store: Store) -> None:
    """A batch holds what single writes hold."""
    store.write_messages("thing-1", [NewMessage("Happened", text.encode(), text) for text in VALUES.values()])
    check_survival(store)


def test_a_value_survives_export_and_import(store: Store, make_namespace: MakeNamespace) -> None:
    """Each message is one line of a file, and its value the same on both sides."""
    for text in VALUES.values():
        store.write_message(None, "thing-1", "Happened", text, text)
    file = file_of(store)
    assert file.count(b"\n") == len(VALUES)
    assert file.count(b"\r") == 0
    for (what, text), line in zip(VALUES.items(), lines_of(store), strict=True):
        assert line["data"] == line["meta"] == value(text), what
    other = store.in_namespace(make_namespace())
    other.import_batch(records(file))
    check_survival(other)
    again = store.in_namespace(make_namespace())
    again.import_batch(records(file_of(other)))
    check_survival(again)


def test_a_record_is_imported_as_it_stands_in_its_line(store: Store) -> None:
    """What import takes is the value of the line, however it is written there."""
    lines = [re.sub("[\r\n]+", " ", text).encode() for text in VALUES.values()]
    store.import_batch(record(n + 1, pos=n, data=raw, meta=raw) for n, raw in enumerate(lines))
    check_survival(store)


def test_no_value_and_null_are_told_apart_in_the_store_and_not_in_a_file(
    store: Store, make_namespace: MakeNamespace
) -> None:
    """A missing value reads None and JSON's null reads null; a file has null for both, which imports as no value."""
    store.write_message(None, "thing-1", "Happened", None, None)
    store.write_message(None, "thing-1", "Happened", "null", b"null")
    assert [(m.data, m.metadata) for m in everything(store)] == [(None, None), ("null", "null")]
    other = store.in_namespace(make_namespace())
    other.import_batch(records(file_of(store)))
    assert [(m.data, m.metadata) for m in everything(other)] == [(None, None), (None, None)]
