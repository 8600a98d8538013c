"""What is checked for many at once is what would be checked one by one."""

from __future__ import annotations

import io
from datetime import datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evtool import contract, json_values, ndjson, times
from evtool.errors import ImportRefused
from evtool.ndjson import Record

GOOD = (
    '{"id":"0f8fad5b-d9cb-469f-a165-70867728950e","stream":"thing-1","type":"Happened","pos":0,"gpos":1,'
    '"data":{"a":[1,"b"]},"meta":null,"time":"2025-07-15T10:00:00.000000Z"}'
)
# What a line may have in place of a part of it: fine, odd, and wrong in every way that there is a check for.
CHANGES = [
    ("0f8fad5b", "0F8FAD5B"), ("0f8fad5b-", "0f8fad5b"), ("0f8fad5b", "0f8fad5g"), ("0f8fad5b-d9cb", "0f8fad5-bd9cb"),
    ("728950e", "728950"), ("728950e", "728950ee"), ("728950e", "72895é"), ("thing-1", ""), ("thing-1", "thing é-1"),
    ("thing-1", r"th\u0069ng-1"), ("thing-1", r"a\"b"), ("thing-1", r"a\u0000"), ("thing-1", r"\ud800"),
    ("thing-1", "a\x01"), ('"pos":0', '"pos":-0'), ('"pos":0', '"pos":-1'), ('"pos":0', '"pos":00'),
    ('"pos":0', '"pos":1e3'), ('"pos":0', '"pos":1.0'), ('"pos":0', '"pos":9223372036854775807'),
    ('"pos":0', '"pos":9223372036854775808'), ('"gpos":1', '"gpos":0'), ('"gpos":1', '"gpos":9223372036854775807'),
    ('"pos":0,', '"pos":0,"pos":1,'), ('"pos":0,', ""), ('"pos":0', '"pos":"0"'), ('"pos":0', '"pos":null'),
    ('"pos":0,', '"pos":0,"more":1,'), ('"type"', '"typ\\u0065"'), ('{"a":[1,"b"]}', '{ "a" : [ 1 ] }'),
    ('{"a":[1,"b"]}', '{"pos":1,"id":"x"}'), ('{"a":[1,"b"]}', r'"\u0000"'), ('{"a":[1,"b"]}', r'"\\u0000"'),
    ('{"a":[1,"b"]}', r'"\ud83d\ude00 \u00e9"'), ('{"a":[1,"b"]}', r'{"a":"\udc00"}'), ('{"a":[1,"b"]}', "1e131072"),
    ('{"a":[1,"b"]}', "[-1E-16384]"), ('{"a":[1,"b"]}', '"e1234 be-99999,"'), ('{"a":[1,"b"]}', "1e131071"),
    ('{"a":[1,"b"]}', "9" * 8000), ('{"a":[1,"b"]}', "0." + "1" * 16384), ('{"a":[1,"b"]}', "[" * 600 + "]" * 600),
    ('{"a":[1,"b"]}', "[" * 5000 + "]" * 5000), ('{"a":[1,"b"]}', "[1,]"), ('{"a":[1,"b"]}', "NaN"),
    ('{"a":[1,"b"]}', '{"a":1}}'), ("null", "{}"), ("null", r'"\ud800"'), ("2025-07-15", "2025-02-30"),
    ("2025-07-15", "0000-07-15"), ("10:00:00", "24:00:00"), ("10:00:00", "23:59:60"), (".000000Z", "Z"),
    (".000000Z", ".5+02:00"), (".000000Z", ".0000000Z"), ("00.000000Z", "00.00000éZ"), ("T10", " 10"),
    ("2025-07-15T10", "9999-12-31T23"), (GOOD, ""), (GOOD, " "), (GOOD, GOOD + "\r"), (GOOD, GOOD + GOOD),
    (GOOD, "[]"), (',"type"', ',\n"type"'), (GOOD, GOOD + " x"), (GOOD, "é"),
]  # fmt: skip

lines = st.lists(
    st.lists(st.sampled_from(CHANGES), max_size=2).map(lambda changes: "".join(changed(GOOD, changes)).encode()),
    max_size=6,
)


def changed(line: str, changes: list[tuple[str, str]]) -> str:
    """A line with changes, as far as their places are still there."""
    for old, new in changes:
        line = line.replace(old, new, 1)
    return line


def read(file: bytes) -> tuple[list[tuple[object, ...]], object]:
    """What comes of a file: its records, and the error that ended it."""
    found: list[tuple[object, ...]] = []
    try:
        found.extend(
            (one.id, one.stream, one.type, one.pos, one.gpos, bytes(one.data), bytes(one.meta), one.time)
            for one in ndjson.read(io.BytesIO(file))
        )
    except ImportRefused as error:
        return found, (error.code, error.line, error.message, error.value)
    return found, None


def one_by_one(file: bytes) -> tuple[list[tuple[object, ...]], object]:
    """The same without looking at lines together."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ndjson, "_read_together", lambda _: None)
        return read(file)


@pytest.mark.parametrize("change", CHANGES, ids=range(len(CHANGES)))
@pytest.mark.parametrize("size", [1 << 18, 300])
def test_a_line_among_others_is_read_as_it_is_alone(
    monkeypatch: pytest.MonkeyPatch, change: tuple[str, str], size: int
) -> None:
    """Whatever is wrong with a line, or merely odd, comes out the same with the lines around it."""
    monkeypatch.setattr(ndjson, "BLOCK_BYTES", size)
    file = "\n".join([GOOD, GOOD, changed(GOOD, [change]), GOOD, ""]).encode(errors="surrogateescape")
    assert read(file) == one_by_one(file)


@given(lines)
def test_lines_are_read_together_as_one_by_one(given_lines: list[bytes]) -> None:
    """So it is with any lines, several odd ones among them."""
    file = b"\n".join(given_lines)
    assert read(file) == one_by_one(file)


def test_two_records_on_a_line_and_one_on_two_are_refused() -> None:
    """As many records as lines, and as many bytes, are still not a record a line."""
    split = GOOD.replace(",", ",\n", 1)
    file = f"{GOOD}{GOOD}\n{split}\n".encode()
    found, error = read(file)
    assert found == []
    assert error[:2] == ("INVALID_JSON", 1)  # type: ignore[index]


@pytest.mark.parametrize("bad", [b"\xff", b"\xc3", b"\xed\xa0\x80"])
def test_bytes_that_are_no_text_are_refused(bad: bytes) -> None:
    """In a stream's name or in data, with the line."""
    for part in (b"thing", b'"b"'):
        line = GOOD.encode().replace(part, part[:-1] + bad + part[-1:])
        found, error = read(b"\n".join([GOOD.encode(), line, GOOD.encode()]))
        assert len(found) == 1
        assert error[:2] == ("INVALID_JSON", 2)  # type: ignore[index]


values = st.lists(
    st.one_of(
        st.sampled_from([new for old, new in CHANGES if old == '{"a":[1,"b"]}']),
        st.from_regex(r"-?[1-9][0-9]{0,5}(\.[0-9]{1,9})?([eE][+-]?[0-9]{1,6})?", fullmatch=True),
        st.from_regex(r'\["(\\u[0-9a-fA-F]{4}|\\\\|\\n|u|x){0,6}"\]', fullmatch=True),
    ),
    max_size=5,
)


@given(values)
def test_values_have_the_same_problem_together(texts: list[str]) -> None:
    """The first value that jsonb would not take is found, and nothing else is."""
    found = []
    for text in texts:
        try:
            msgspec.json.decode(text.encode(), type=msgspec.Raw)
        except (msgspec.DecodeError, RecursionError):
            continue
        found.append(text.encode())
    problems = [(number, json_values.problem(one)) for number, one in enumerate(found)]
    expected = next((one for one in problems if one[1] is not None), None)
    assert json_values.first_problem(found) == expected


@given(st.lists(st.sampled_from([b"null", b"{}", b'{"correlationStreamName":"a-1"}', b'{"correlationStreamName":null}',
    b'{"correlationStreamName":"a","correlationStreamName":"b-1"}', b'{"x":{"correlationStreamName":"c-1"}}',
    b'{"correlation\\u0053treamName":"d\\u002d1"}', b'{"correlationStreamName":1e2}', b"[]", b'"correlationStreamName"',
    b'{"correlationStreamName":{"b":1,"a":true}}', b'{"correlationStreamName":""}', b"1"])))  # fmt: skip
def test_correlations_are_the_same_together(metadata: list[bytes]) -> None:
    """The category of the correlation, whatever metadata stands beside it."""
    expected = [contract.correlation_of(None if one == b"null" else one) for one in metadata]
    assert contract.correlations_of([msgspec.Raw(one) for one in metadata]) == expected


@given(
    st.lists(st.datetimes(), min_size=1), st.sampled_from(["", "2025-02-30T10:00:00.000000Z", "2025-07-15T10:00:00Z"])
)
def test_moments_are_canonical_together(moments: list[datetime], odd: str) -> None:
    """Moments as evtool writes them are told from any others."""
    good = [f"{moment:%Y-%m-%dT%H:%M:%S.%fZ}".rjust(27, "0") for moment in moments]
    assert times.are_canonical(good)
    assert [times.canonical(one) for one in good] == good
    assert not times.are_canonical([*good, odd])


def test_a_record_that_was_read_is_marked() -> None:
    """Stores look again at the JSON of records that somebody else has made."""
    (found,) = ndjson.read(io.BytesIO(GOOD.encode()))
    assert type(found) is ndjson.CheckedRecord
    assert {type(one) for one in ndjson.decode(GOOD.encode())} == {Record}
