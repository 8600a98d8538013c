"""Records as rows of COPY's text format: for the table itself, or for the server to look at."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import starmap

from evtool.bulk.records import Record
from evtool.bulk.seen import Seen
from evtool.bulk.statements import Statements

_COPY_BYTES = 1 << 16
_NULL = b"\\N"
_TRUE, _FALSE = b"t", b"f"


# A record, its values as a row, whether those are plain, and whether its keys are new to the file.
_Marked = tuple[Record, bytes, bool, bool]


@dataclass(frozen=True, slots=True)
class Rows:
    """A batch.

    Attributes:
        straight: blocks of rows that may go straight into the table.
        count: how many those are.
        staged: blocks of rows of all others, for the staging table.
        all: makes the blocks of all of them, for the staging table.
    """

    straight: list[bytes]
    count: int
    staged: list[bytes]
    all: Callable[[], list[bytes]]


class RowMaker:
    """Makes the rows of batches, in the order of the file. Any thread may, while a batch is loaded."""

    def __init__(self, statements: Statements, *, typed: bool) -> None:
        """Has made none yet.

        Args:
            statements: of the import.
            typed: whether records say which columns are mistyped or absent, as those of JSON do.
        """
        self.goes_straight = statements.straight is not None
        self._typed = typed
        self._width = len(statements.given)
        self._seen = Seen(statements.file_keys)
        self._is_plain = re.compile(statements.plain).fullmatch
        self._is_right = re.compile(statements.straight or b"").fullmatch
        self._rules = [(place, rule.fullmatch) for place, rule in statements.rules]
        self._keys = [(statements.given.index(name), folds) for name, folds in statements.key_columns]

    def make(self, batch: Sequence[Record]) -> Rows:
        """The rows of a batch."""
        goes_straight = self.goes_straight
        straight: list[bytes] = []
        marked: list[_Marked] = []
        others: list[_Marked] = []
        for record in batch:
            is_fresh = record.fault is None and self._seen.is_new(record.fields)
            if goes_straight and is_fresh and not record.mistyped and not record.absent:
                row = _joined(record.fields)
                # a backslash is a null's, or it is a value's, which is then none of those that are known to be right
                nulls = row.count(b"\\") if b"\\" in row else 0
                if (
                    self._is_right(row)
                    and (not nulls or nulls == record.fields.count(None))
                    and self._keeps_the_rules(record.fields)
                ):
                    straight.append(row)
                    marked.append((record, row, True, True))
                    continue
            row = self._row(record)
            one = (record, row, self._is_plain(row) is not None, is_fresh)
            marked.append(one)
            others.append(one)
            if record.fault is None and self._may_be_another(record.fields):
                # whoever comes behind may have the key that this one turns out to have
                goes_straight = False
        if not straight:
            blocks = self._staged(marked)
            return Rows([], 0, blocks, lambda: blocks)
        return Rows([b"\n".join([*straight, b""])], len(straight), self._staged(others), lambda: self._staged(marked))

    def _keeps_the_rules(self, fields: Sequence[bytes | None]) -> bool:
        for place, matches in self._rules:
            text = fields[place]
            if text is None or matches(text.decode()) is None:
                return False
        return True

    def _may_be_another(self, fields: Sequence[bytes | None]) -> bool:
        """Whether the server may find a key that has other letters than the file: a default, or one in lower case."""
        for place, folds in self._keys:
            text = fields[place]
            if not text or (folds and not text.isascii()):
                return True
        return False

    def _row(self, record: Record) -> bytes:
        """The values."""
        fields = [None] * self._width if record.fault is not None else record.fields
        row = _joined(fields)
        # each tab above the separators, each backslash above the nulls is part of a value
        if (
            b"\n" in row
            or b"\r" in row
            or row.count(b"\t") != self._width - 1
            or row.count(b"\\") != fields.count(None)
        ):
            row = b"\t".join([_NULL if field is None else _escape(field) for field in fields])
        return row

    def _staged(self, marked: Iterable[_Marked]) -> list[bytes]:
        return _blocks(starmap(self._staged_row, enumerate(marked, 1)))

    def _staged_row(self, number: int, one: _Marked) -> bytes:
        record, row, is_plain, is_fresh = one
        raw = _NULL if record.raw is None else _escape(record.raw)
        fault = note = _NULL
        if record.fault is not None:
            raw = _escape(record.raw or b"")
            fault, note = record.fault.code.encode(), _escape(record.fault.message.encode())
        head = [raw, fault, note, _TRUE if is_plain else _FALSE, _TRUE if is_fresh else _FALSE]
        if self._typed:
            head += [_list(record.mistyped), _list(record.absent)]
        return b"%d\t%d\t%b\t%b\n" % (number, record.line, b"\t".join(head), row)


def _joined(fields: Sequence[bytes | None]) -> bytes:
    """Values as a row of which nothing has been escaped yet."""
    if None in fields:
        return b"\t".join([_NULL if field is None else field for field in fields])
    return b"\t".join(fields)  # type: ignore[arg-type]


def _blocks(rows: Iterable[bytes]) -> list[bytes]:
    blocks: list[bytes] = []
    taken: list[bytes] = []
    held = 0
    for row in rows:
        taken.append(row)
        held += len(row)
        if held > _COPY_BYTES:
            blocks.append(b"".join(taken))
            taken.clear()
            held = 0
    if taken:
        blocks.append(b"".join(taken))
    return blocks


def _escape(value: bytes) -> bytes:
    """A value for COPY's text format."""
    if b"\\" in value:
        value = value.replace(b"\\", b"\\\\")
    return value.replace(b"\t", b"\\t").replace(b"\n", b"\\n").replace(b"\r", b"\\r")


def _list(names: Sequence[str]) -> bytes:
    """Names as the text of an array."""
    if not names:
        return _NULL
    quoted = ",".join('"{}"'.format(name.replace("\\", "\\\\").replace('"', '\\"')) for name in names)
    return _escape(f"{{{quoted}}}".encode())
