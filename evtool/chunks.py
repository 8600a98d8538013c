"""Records on their way into a store, some hundred at a time: each field a column, and checked all at once.

What is done for a column in one call of Python's library is several times as fast as for each record in turn.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from evtool import clashes, contract, json_values
from evtool.clashes import Stored
from evtool.errors import ImportRefused
from evtool.ndjson import CheckedRecord, Raw, Record

_BYTES = 1 << 20
"""Of a chunk: with long messages it has fewer records."""
_RECORD_BYTES = 1 << 10
"""What a record counts at the least, so that a chunk has less than a thousand."""
_STEP = 16
"""Records that are taken before their size is looked at."""

_COLUMNS = ("data", "global_positions", "ids", "lines", "meta", "positions", "records", "streams", "times", "types")


class Chunk:
    """Some records that follow one another.

    Attributes:
        lines: the line of each.
        records: all of them.
        ids: in lower case; and so on, a column for each field.
        data: JSON as it stands in the line.
        meta: likewise.
        fault: what is wrong with the line behind the last, if it is known.
    """

    __slots__ = ("fault", *_COLUMNS)

    def __init__(self, records: list[Record], first_line: int, fault: ImportRefused | None = None) -> None:
        """Makes the columns. From the first record on whose JSON no store takes they are left out."""
        if set(map(type, records)) != {CheckedRecord}:
            columns = ([bytes(record.data) for record in records], [bytes(record.meta) for record in records])
            problems = map(json_values.first_problem, columns)
            found = min((problem for problem in problems if problem is not None), default=None)
            if found is not None:
                number, text = found
                fault = ImportRefused("INVALID_JSON", f"data or meta {text}", line=first_line + number)
                records = records[:number]
        self.records = records
        self.lines: Sequence[int] = range(first_line, first_line + len(records))
        self.fault = fault
        self.ids = _lower([record.id for record in records])
        self.streams = [record.stream for record in records]
        self.types = [record.type for record in records]
        self.positions = [record.pos for record in records]
        self.global_positions = [record.gpos for record in records]
        self.times = [record.time for record in records]
        self.data = [record.data for record in records]
        self.meta = [record.meta for record in records]

    def missing(self, there: dict[int, Stored]) -> Chunk:
        """The records whose message isn't there yet, up to the first whose place another one has; that is the fault.

        Args:
            there: the messages at the chunk's global positions, by these.
        """
        there = dict(there)
        numbers = []
        fault = self.fault
        for number, record in enumerate(self.records):
            one = Stored.of(record)
            other = there.setdefault(one.gpos, one)
            if other is one:
                numbers.append(number)
            elif differs := clashes.differing(one, other):
                fault = clashes.refusal(clashes.POSITION_EXISTS, one, self.lines[number], differs)
                break
        return self.only(numbers, fault)

    def only(self, numbers: Sequence[int], fault: ImportRefused | None) -> Chunk:
        """Some of the records, by their numbers from 0, with another fault."""
        some = copy.copy(self)
        for name in _COLUMNS:
            column = getattr(self, name)
            setattr(some, name, [column[number] for number in numbers])
        some.fault = fault
        return some

    def correlations(self) -> list[str | None]:
        """The category of each metadata's correlationStreamName, or None."""
        return contract.correlations_of(self.meta)


def _lower(ids: list[str]) -> list[str]:
    together = "".join(ids)
    return ids if together == together.lower() else [id_.lower() for id_ in ids]


def texts(column: Sequence[Raw]) -> list[str | None]:
    """JSON as text, and None for null."""
    return [None if text == "null" else text for text in [str(raw, "utf-8") for raw in column]]


def chunks(records: Iterable[Record], first_line: int) -> Iterator[Chunk]:
    """All records in chunks, the last one with the fault that ended them, if it was one.

    Args:
        records: as `ndjson.read` has checked them; what else they raise than ImportRefused passes through.
        first_line: the line of the first.
    """
    records = iter(records)
    line = first_line
    fault = None
    more = True
    while more and fault is None:
        held: list[Record] = []
        try:
            more = _take(records, held)
        except ImportRefused as error:
            fault = error
        if held or fault is not None:
            chunk = Chunk(held, line, fault)
            yield chunk
            fault = chunk.fault
            line += len(held)


def _take(records: Iterator[Record], held: list[Record]) -> bool:
    """Takes some records; whether there may be more."""
    size = 0
    while size < _BYTES:
        before = len(held)
        # what comes before an error is held nevertheless
        held.extend(islice(records, _STEP))
        taken = held[before:]
        if len(taken) < _STEP:
            return False
        size += sum([len(record.data) + len(record.meta) for record in taken]) + _STEP * _RECORD_BYTES
    return True
