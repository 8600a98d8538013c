"""NDJSON and JSON arrays as they come: each record of hostile files has its verdict."""

from __future__ import annotations

import io
import json
import tracemalloc
from typing import Any

import pytest

from evtool.bulk.framing import Format
from evtool.bulk.json_framing import JsonFramer
from evtool.bulk.json_pieces import MAX_RECORD_BYTES
from evtool.bulk.resource import Resource
from tests.bulk.imports.conftest import Shop

BAD = ["invalid_json"]


def things(shop: Shop) -> Resource:
    return shop.table(
        "id integer PRIMARY KEY, slug text, tags text[], info json, more jsonb, ok boolean, price numeric"
    )


CASES: list[Any] = [
    pytest.param(b'{"id":1,"slug":"a"}', [], (1, "a"), id="plain"),
    pytest.param(b' { "slug" : "a" , "id" : 1 } ', [], (1, "a"), id="spaces"),
    pytest.param(b'{"id": 1, "slug": "a"}', [], (1, "a"), id="as Python writes it"),
    pytest.param(rb'{"id":1,"slug":"\u00e9\n\"\\\ud83d\ude00"}', [], (1, 'é\n"\\\U0001f600'), id="escapes"),
    pytest.param(rb'{"\u0069d":1,"slug":"a"}', [], (1, "a"), id="an escaped key"),
    pytest.param('{"id":1,"slug":"é\u2028"}'.encode(), [], (1, "é\u2028"), id="UTF-8"),
    pytest.param(b'{"id":1,"slug":null}', [], (1, None), id="null"),
    pytest.param(b'{"id":1}', [], (1, None), id="a key less"),
    pytest.param(b'{"id":1,"slug":""}', [], (1, ""), id="an empty text"),
    pytest.param(b'{"id":1,"slug":"a","slug":"b"}', BAD, None, id="a key twice"),
    pytest.param(b'{"id": 1, "slug": "a","slug": "b"}', BAD, None, id="a key twice, with spaces"),
    pytest.param(rb'{"id":1,"slug":"a","\u0073lug":"b"}', BAD, None, id="a key twice, once escaped"),
    pytest.param(rb'{"id":1,"slug":"a\u0000b"}', BAD, None, id="NUL escaped"),
    pytest.param(rb'{"id":1,"slug":"a\ud800b"}', BAD, None, id="half of a pair"),
    pytest.param(rb'{"id":1,"slug":"\udc00\ud800"}', BAD, None, id="halves the wrong way round"),
    pytest.param(b'{"id":1,"slug":"a\0b"}', BAD, None, id="NUL raw"),
    pytest.param(b'{"id":1,"slug":"a\tb"}', BAD, None, id="a control character"),
    pytest.param(b'{"id":1,"slug":"\xe9"}', ["invalid_utf8"], None, id="latin-1"),
    pytest.param(b'{"id":1,"slug":"a"', BAD, None, id="not closed"),
    pytest.param(b'{"id":1,"slug":"a"}}', BAD, None, id="closed twice"),
    pytest.param(b'{"id":1,"slug":"a",}', BAD, None, id="a comma too many"),
    pytest.param(b"{'id':1}", BAD, None, id="single quotes"),
    pytest.param(b'{"id":NaN}', BAD, None, id="NaN"),
    pytest.param(b'{"id":01}', BAD, None, id="a leading zero"),
    pytest.param(b"42", BAD, None, id="a number"),
    pytest.param(b"null", BAD, None, id="null alone"),
    pytest.param(b'"{}"', BAD, None, id="a text"),
    pytest.param(b'{"id":1,"nosuch":2}', ["unknown_field"], None, id="an unknown key"),
    pytest.param(b'{"id":1,"":2}', ["unknown_field"], None, id="an empty key"),
    pytest.param(rb'{"id":1,"a\u0000b":2}', ["unknown_field"], None, id="an unknown key with a NUL"),
    pytest.param(b'{"id":"1","slug":"a"}', ["invalid_id"], None, id="a text for a number"),
    pytest.param(b'{"id":1,"slug":5}', ["invalid_slug"], None, id="a number for a text"),
    pytest.param(b'{"id":1.0}', ["invalid_id"], None, id="a fraction for a whole number"),
    pytest.param(b'{"id":1,"ok":"true"}', ["invalid_ok"], None, id="a text for a boolean"),
    pytest.param(b'{"id":1,"ok":1}', ["invalid_ok"], None, id="a number for a boolean"),
    pytest.param(b'{"id":1,"slug":["a"],"ok":0}', ["invalid_slug", "invalid_ok"], None, id="two faults"),
    pytest.param(b'{"id":1,"tags":"a"}', ["invalid_tags"], None, id="tags as a text"),
    pytest.param(b'{"id":1,"tags":["a",2]}', ["invalid_tags"], None, id="ragged tags: a number"),
    pytest.param(b'{"id":1,"tags":["a",["b"]]}', ["invalid_tags"], None, id="ragged tags: an array"),
    pytest.param(b'{"id":1,"tags":[{"a":1}]}', ["invalid_tags"], None, id="ragged tags: an object"),
    pytest.param(rb'{"id":1,"tags":["a\u0000"]}', ["invalid_tags"], None, id="tags with NUL"),
    pytest.param(rb'{"id":1,"more":{"a":"\u0000"}}', ["invalid_more"], None, id="jsonb with NUL"),
    pytest.param(rb'{"id":1,"more":"\ud800"}', BAD, None, id="jsonb with half of a pair"),
]  # fmt: skip


UNBALANCED = {"not closed", "closed twice"}
"""What these do to an array has tests of its own."""


@pytest.mark.thorough(but=["*, ndjson"])
@pytest.mark.parametrize(
    ("record", "codes", "row", "array"),
    [
        pytest.param(*case.values, array, id=f"{case.id}, {'array' if array else 'ndjson'}")
        for case in CASES
        for array in (False, True)
        if not (array and case.id in UNBALANCED)
    ],
)
def test_each_record_has_its_verdict(
    shop: Shop, record: bytes, codes: list[str], row: tuple[object, ...] | None, array: bool
) -> None:
    """A record is in the table as the file has it, or refused by its line; the records around it are not concerned."""
    before, after = b'{"id":100,"slug":"before"}', b'{"id":200,"slug":"after"}'
    content = b"[\n" + b",\n".join([before, record, after]) + b"\n]\n" if array else b"\n".join([before, record, after])
    imported = shop.load(things(shop), content)
    assert imported.codes == ({2 + array: codes} if codes else {})
    assert shop.values("SELECT id FROM things WHERE id >= 100 ORDER BY id") == [100, 200]
    assert shop.rows("SELECT id, slug FROM things WHERE id < 100") == ([row] if row else [])
    if codes and codes != ["invalid_utf8"] and b"\0" not in record:
        assert imported.rejects[0]["raw"].encode() == record.strip()


def test_values_arrive_as_they_are_written(shop: Shop) -> None:
    """JSON keeps its spelling, numbers their digits, arrays their elements."""
    record = b'{"id":1,"info":{"b": 1.50, "a":[1e400]},"more":{"b": 1.50},"tags":["a","",null,"b,\\"c"],"price":123456789012345678901234567890.10}'
    shop.load(things(shop), record)
    assert shop.rows("SELECT info::text, more::text, tags, price::text FROM things") == [
        ('{"b": 1.50, "a":[1e400]}', '{"b": 1.50}', ["a", "", None, 'b,"c'], "123456789012345678901234567890.10")
    ]


@pytest.mark.parametrize(
    ("content", "codes", "ids"),
    [
        pytest.param(b"[]", {}, [], id="an empty array"),
        pytest.param(b" [ ] \n", {}, [], id="an empty array with spaces"),
        pytest.param(b'\xef\xbb\xbf[{"id":1}]', {}, [1], id="a byte-order mark"),
        pytest.param(b'\xef\xbb\xbf{"id":1}\n{"id":2}', {}, [1, 2], id="a byte-order mark, lines"),
        pytest.param(b'[{"id":1},{"id":2},{"id":3}]', {}, [1, 2, 3], id="one line"),
        pytest.param(b'[{"id":1},{"id":1},{"id":"x"}]', {1: ["invalid_id"]}, [1], id="several refused on one line"),
        pytest.param(b'[\n  {\n    "id": 1\n  },\n  {\n    "id": true\n  },\n  {\n    "id": 3\n  }\n]', {5: ["invalid_id"]}, [1, 3], id="pretty-printed"),
        pytest.param(b'[\r\n{"id":1},\r\n{"id":2}\r\n]\r\n', {}, [1, 2], id="CRLF"),
        pytest.param(b'{"id":1}\r\n\r\n \n{"id":2}\r\n', {}, [1, 2], id="CRLF and blank lines"),
        pytest.param(b'[{"id":1},\n{"id":2}', {2: BAD}, [1, 2], id="the array is not closed"),
        pytest.param(b'[{"id":1},,{"id":2} {"id":3},]', {}, [1, 2, 3], id="commas between records"),
        pytest.param(b'[{"id":1},\n{"id":2,', {2: BAD}, [1], id="cut off in a record"),
        pytest.param(b'[{"id":1},\n{"id":2,"slug":"x', {2: BAD}, [1], id="cut off in a text"),
        pytest.param(b'[{"id":1}]\n{"id":2}', {2: BAD}, [1], id="something behind the array"),
        pytest.param(b'[{"id":1},\n3,\n"x, y",\n[{"id":4}],\nnul,\n{"id":5}]', {2: BAD, 3: BAD, 4: BAD, 5: BAD}, [1, 5], id="no objects"),
        pytest.param(b'[{"id":1,"slug":"]},{["},\n{"id":2}]', {}, [1, 2], id="brackets in a text"),
        pytest.param(b'[{"id":1},\n{"id":2,"slug":"x},\n{"id":3},\n{"id":4}]', {2: BAD}, [1, 3, 4], id="a text that is never closed"),
        pytest.param(b"[" * 5000, {1: BAD}, [], id="nested without end"),
    ],
)  # fmt: skip
def test_arrays_and_lines(shop: Shop, content: bytes, codes: dict[int, list[str]], ids: list[int]) -> None:
    """What surrounds the records is read as JSON has it; a fault of it is reported, and costs no record its place."""
    imported = shop.load(things(shop), content)
    assert imported.codes == codes
    assert shop.values("SELECT id FROM things ORDER BY id") == ids


def test_records_of_megabytes(shop: Shop) -> None:
    """A text of three megabytes arrives; a record beyond 8 MiB is refused, and the next one is not."""
    records = [{"id": 1, "slug": "å" * 1_500_000}, {"id": 2, "slug": "x" * (9 << 20)}, {"id": 3}]
    content = "\n".join(json.dumps(one, ensure_ascii=False) for one in records).encode()
    assert shop.load(things(shop), content).codes == {2: BAD}
    assert shop.rows("SELECT id, octet_length(slug) FROM things ORDER BY id") == [(1, 3_000_000), (3, None)]


def test_a_deep_record_is_refused_and_the_next_is_not(shop: Shop) -> None:
    """Nesting beyond what the parser takes is a verdict, and no crash."""
    content = b'{"id":1,"info":' + b"[" * 100_000 + b"]" * 100_000 + b'}\n{"id":2}'
    imported = shop.load(things(shop), content)
    assert list(imported.codes) == [1]
    assert shop.values("SELECT id FROM things") == [2]


@pytest.mark.parametrize("depth", [*range(900, 1000, 7), 2000])
def test_any_depth_has_a_verdict(shop: Shop, depth: int) -> None:
    """Two parsers look at a record, and where one of them still reads on and the other doesn't, that is a verdict too."""
    content = b'{"id":  1,"info":' + b"[" * depth + b"]" * depth + b"}"
    (record,) = JsonFramer(io.BytesIO(content), things(shop), array=False, ignore_unknown=False)
    assert record.fault is None or record.fault.code == "invalid_json"


@pytest.mark.parametrize(
    "raw", [b"1" * 5000, b"[" * 995 + b"]" * 995, b"null", b'{"id":1}', rb'"\ud800"', rb'"{\"id\":1,\"slug\":\"\u0000\"}"'],
    ids=["a number", "an array", "null", "an object", "half of a pair", "NUL"],
)  # fmt: skip
def test_a_reject_whose_text_is_none_is_refused(shop: Shop, raw: bytes) -> None:
    """What looks like a line of a file of rejects, and holds no record, is refused, and the next one is not."""
    imported = shop.load(things(shop), b'{"line":1,"errors":[],"raw":' + raw + b'}\n{"id":2}')
    assert imported.codes == {1: BAD}
    assert shop.values("SELECT id FROM things") == [2]


class _Endless:
    """A stream that says `[`, then a text without an end on one line of 128 MiB, then a record."""

    def __init__(self) -> None:
        self._parts = iter([b'[{"id":1,"slug":"', *[b"a" * (1 << 20)] * 128, b'\n{"id":2}]'])

    def read(self, size: int = -1, /) -> bytes:  # noqa: ARG002 - less than asked for, as of a pipe
        return next(self._parts, b"")


def test_a_text_without_an_end_does_not_fill_the_memory(shop: Shop) -> None:
    """Of a line that is broken only its beginning is kept, and the next line is a record again."""
    framer = JsonFramer(_Endless(), things(shop), array=True, ignore_unknown=False)
    tracemalloc.start()
    try:
        broken, whole = framer
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (broken.line, broken.fault and broken.fault.code, whole.line, whole.fields[0]) == (1, *BAD, 2, b"2")
    assert broken.raw is not None
    assert len(broken.raw) == 1000
    assert peak < 6 * MAX_RECORD_BYTES


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (rb'{"slug":"\ud800"}', "a text holds half of a surrogate pair"),
        (rb'{"info":["\udc00"]}', "a text holds half of a surrogate pair"),
        (b'{"slug":"\x01"}', "not valid JSON at character 10: invalid control character"),
        (b'{"id":1,"slug":"x}', "not valid JSON at character 16: unterminated string"),
        (b'{"id":NaN}', "not valid JSON: NaN is no value"),
        (rb'{"slug":"\x"}', "not valid JSON at character 10: invalid backslash escape"),
        (b'{"id":01}', "not valid JSON at character 8: "),
    ],
)
def test_what_is_no_json_is_told_with_its_place(shop: Shop, record: bytes, message: str) -> None:
    """Whoever mends a line of a megabyte needs to know where to look."""
    (reject,) = shop.load(things(shop), record, format=Format.NDJSON).rejects
    assert message in reject["errors"][0]["message"]
