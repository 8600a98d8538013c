r"""The cells of a file, made from PostgreSQL's COPY text, a column of many rows at a time.

COPY's text format escapes as JSON does (`\n`, `\t`, `\\` …), so a column of text becomes JSON strings with a few calls
on all of its rows at once. What is rarer (a control character, a value with a backslash) takes a way of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from evtool.bulk.kinds import Kind

Cells = list[bytes]
Encoder = Callable[[Cells], Cells]

NULL = rb"\N"

_PAIR = re.compile(rb"\\(.)", re.DOTALL)
_MEANT = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"b": b"\b", b"f": b"\f", b"v": b"\v"}
# White space between the tokens of JSON as it is stored. A line of NDJSON can't hold a line break.
_ON_ONE_LINE = {**_MEANT, b"n": b" ", b"r": b" "}
# Characters that COPY leaves as they are and JSON does not, and the one whose escape JSON lacks.
_ODD = re.compile(rb"\\.|[\x00-\x08\x0b\x0c\x0e-\x1f]", re.DOTALL)
_CONTROLS = bytes(code for code in range(0x20) if code not in b"\t\n")

# Of a time with so many characters: the zeros that it lacks, and the zone's letter.
_ENDS = {
    zone: {19: b".000000" + zone, **{20 + digits: b"0" * (6 - digits) + zone for digits in range(1, 7)}}
    for zone in (b"Z", b"")
}
_DIGITS = b"0123456789."
_DASH = ord("-")
_MOMENT = re.compile(rb"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?(?:\+00)?")


def json_encoder(kind: Kind, *, one_line: bool) -> Encoder:
    """What makes JSON of a column's cells.

    Args:
        kind: the column's.
        one_line: whether JSON as stored must lose its line breaks.
    """
    meant = _ON_ONE_LINE if one_line else _MEANT
    return {
        Kind.NUMBER: _json_numbers,
        Kind.BOOLEAN: _json_booleans,
        Kind.JSON: lambda cells: _json_values(cells, meant),
        Kind.ARRAY: lambda cells: _json_values(cells, meant),
        Kind.MOMENT: lambda cells: _json_strings(moments(cells, b"Z")),
        Kind.LOCAL_MOMENT: lambda cells: _json_strings(moments(cells, b"")),
    }.get(kind, _json_strings)


def csv_encoder(kind: Kind) -> Encoder:
    """What makes fields of CSV of a column's cells: nothing for null, `""` for an empty text."""
    return {
        Kind.BOOLEAN: lambda cells: [_CSV_BOOLEANS[cell] for cell in cells],
        Kind.MOMENT: lambda cells: _csv_fields(moments(cells, b"Z")),
        Kind.LOCAL_MOMENT: lambda cells: _csv_fields(moments(cells, b"")),
    }.get(kind, _csv_fields)


def _json_strings(cells: Cells) -> Cells:
    joined = b"\t".join(cells)
    if len(joined.translate(None, _CONTROLS)) != len(joined) or rb"\v" in joined:
        joined = _ODD.sub(_json_escape, joined)
    joined = b'"' + joined.replace(b'"', rb"\"").replace(b"\t", b'"\t"') + b'"'
    # a text of these two characters has its backslash doubled
    return joined.replace(rb'"\N"', b"null").split(b"\t")


def _json_escape(found: re.Match[bytes]) -> bytes:
    odd = found[0]
    if odd == rb"\v":
        return rb"\u000b"
    return odd if len(odd) == 2 else b"\\u%04x" % ord(odd)


def _json_numbers(cells: Cells) -> Cells:
    joined = b"\t".join(cells)
    # NaN, Infinity, \N
    if b"N" not in joined and b"I" not in joined:
        return cells
    return [b"null" if cell == NULL else b'"%b"' % cell if b"N" in cell or b"I" in cell else cell for cell in cells]


def _json_booleans(cells: Cells) -> Cells:
    return [_JSON_BOOLEANS[cell] for cell in cells]


def _json_values(cells: Cells, meant: dict[bytes, bytes]) -> Cells:
    if b"\\" not in b"".join(cells):
        return cells
    if NULL in cells:
        return _around_nulls(cells, lambda rest: _json_values(rest, meant), b"null")
    return [_unescaped(cell, meant) for cell in cells]


def _around_nulls(cells: Cells, encode: Encoder, null: bytes) -> Cells:
    present = [cell for cell in cells if cell != NULL]
    if not present:
        return [null] * len(cells)
    encoded = iter(encode(present))
    return [null if cell == NULL else next(encoded) for cell in cells]


def _csv_fields(cells: Cells) -> Cells:
    if NULL in cells:
        return _around_nulls(cells, _csv_fields, b"")
    # PostgreSQL has no NUL, so it can stand between
    joined = b"\0".join(cells)
    if rb"\\" in joined:
        return [_csv_field(cell) for cell in cells]
    if b"\\" in joined:
        for letter, character in _MEANT.items():
            joined = joined.replace(b"\\" + letter, character)
    elif b'"' not in joined and b"," not in joined and b"" not in cells:
        return cells
    return csv_quoted_all(joined)


def csv_quoted_all(joined: bytes) -> Cells:
    """Texts with NUL between, none of which is `\\.`, as fields of CSV: what `csv_quoted` does, many at a time."""
    return [
        b'"%b"' % text if not text or b"," in text or b'"' in text or b"\n" in text or b"\r" in text else text
        for text in joined.replace(b'"', b'""').split(b"\0")
    ]


def _csv_field(cell: bytes) -> bytes:
    """A cell of COPY's text that isn't null as a field of CSV."""
    return csv_quoted(_unescaped(cell, _MEANT))


def csv_quoted(text: bytes) -> bytes:
    """A text as a field of CSV: in quotes where it needs them, and where it is empty, to be told from null."""
    # \. in a line of its own ended a file for PostgreSQL's own reader before version 18
    if not text or b'"' in text or b"," in text or b"\n" in text or b"\r" in text or text == rb"\.":
        return b'"%b"' % text.replace(b'"', b'""')
    return text


def _unescaped(cell: bytes, meant: dict[bytes, bytes]) -> bytes:
    if b"\\" not in cell:
        return cell
    # mostly it is a backslash, and nothing else
    if b"\\" not in cell.replace(rb"\\", b""):
        return cell.replace(rb"\\", b"\\")
    return _PAIR.sub(lambda found: meant.get(found[1], found[1]), cell)


def moments(cells: Cells, zone: bytes) -> Cells:
    """Times as PostgreSQL writes them in UTC, with T, six digits and the zone's letter.

    What ISO 8601 can't say (infinity, years before Christ or beyond 9999) stays as PostgreSQL has it.
    """
    if NULL in cells:
        return _around_nulls(cells, lambda rest: moments(rest, zone), NULL)
    count, joined = len(cells), b"\t".join(cells) + b"\t"
    if zone:
        # PostgreSQL's spelling of UTC
        joined = joined.replace(b"+00\t", b"\t")
    # a year of more than four digits moves the first dash
    if joined.translate(None, _DIGITS) == b"-- ::\t" * count and {cell[4] for cell in cells} == {_DASH}:
        ends = _ENDS[zone]
        return [cell + ends[len(cell)] for cell in joined[:-1].replace(b" ", b"T").split(b"\t")]
    return [_moment(cell, zone) for cell in cells]


def _moment(cell: bytes, zone: bytes) -> bytes:
    found = _MOMENT.fullmatch(cell)
    if found is None:
        return cell
    day, clock, fraction = found.groups(b"")
    return b"%bT%b.%b%b" % (day, clock, fraction.ljust(6, b"0"), zone)


_JSON_BOOLEANS = {b"t": b"true", b"f": b"false", NULL: b"null"}
_CSV_BOOLEANS = {b"t": b"true", b"f": b"false", NULL: b""}
