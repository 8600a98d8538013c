"""Records as they stand in a file, made from rows of PostgreSQL, some at a time.

The values come as the file has them; what they lack is what stands around them, and what SQL is slow at: the times.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence

from evtool.bulk.kinds import Kind
from evtool.bulk.selecting import Column
from evtool.bulk.writers import Format, frame
from evtool.stores.postgres.copying import Row

Fields = Sequence[bytes]

_NULL = b"null"
_ON_ONE_LINE = bytes.maketrans(b"\r\n", b"  ")

# Of a time with so many characters: the zeros that it lacks, and the zone's letter.
_ENDS = {
    zone: {19: b".000000" + zone, **{20 + digits: b"0" * (6 - digits) + zone for digits in range(1, 7)}}
    for zone in (b"Z", b"")
}
_DIGITS = b"0123456789."
_DASH = ord("-")
_MOMENT = re.compile(rb"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?(?:\+00)?")
_ZONES = {Kind.MOMENT: b"Z", Kind.LOCAL_MOMENT: b""}


def json_maker(columns: Sequence[Column], format: Format) -> Callable[[Sequence[Fields]], bytes]:
    """What makes records of rows of `postgres_queries.json`.

    Args:
        columns: those of the rows.
        format: of the file, one of JSON.
    """
    first, *between, last = frame(format, [column.name for column in columns])
    around = [last + first, *between]
    width = len(columns)
    times = [(place, _ZONES[column.kind]) for place, column in enumerate(columns) if column.kind in _ZONES]
    one_line = format is Format.NDJSON

    def make(rows: Sequence[Fields]) -> bytes:
        fields = list(itertools.chain.from_iterable(rows))
        for place, zone in times:
            fields[place::width] = _strings(moments(fields[place::width], zone))
        text = joined(fields, len(rows))
        if one_line and (text.count(b"\n") > len(rows) or b"\r" in text):
            # white space between the tokens of JSON as it is stored
            text = joined([field.translate(_ON_ONE_LINE) for field in fields], len(rows))
        return text

    def joined(fields: Fields, count: int) -> bytes:
        parts = [b""] * (2 * len(fields))
        parts[::2] = around * count
        parts[1::2] = fields
        parts[0] = first
        parts.append(last)
        return b"".join(parts)

    return make


def csv_records(rows: Sequence[Row]) -> bytes:
    """Rows of COPY as those of RFC 4180: their fields may hold line feeds, but the last one ends the row."""
    return b"\r\n".join([row[:-1] for row in rows]) + b"\r\n"


def _strings(cells: Fields) -> Fields:
    if _NULL in cells:
        return [cell if cell == _NULL else b'"%b"' % cell for cell in cells]
    return (b'"' + b'"\t"'.join(cells) + b'"').split(b"\t")


def moments(cells: Fields, zone: bytes) -> Fields:
    """Times as PostgreSQL writes them in UTC, with T, six digits and the zone's letter.

    What ISO 8601 can't say (infinity, years before Christ or beyond 9999) stays as PostgreSQL has it, and so does null.
    """
    if _NULL in cells:
        present = [cell for cell in cells if cell != _NULL]
        made = iter(moments(present, zone)) if present else iter(())
        return [cell if cell == _NULL else next(made) for cell in cells]
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
