"""A table of an ordinary SQLite database file, read only, in one snapshot.

Where an index gives the order, records are read page by page, each page beginning behind the last record of the one
before it: no OFFSET, so the last page costs what the first did. Where none does, SQLite sorts once, on disk if it must,
and the result is read through one cursor: pages would sort anew each time.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from evtool import times
from evtool.bulk.kinds import Kind, kind_of
from evtool.bulk.selecting import Column, Plan, Table
from evtool.bulk.sources import sqlite_queries as queries
from evtool.bulk.sources import values
from evtool.bulk.sources.source import Block, Estimate, Request
from evtool.bulk.sources.sqlite_csv import csv_records
from evtool.bulk.writers import Format, frame
from evtool.errors import InvalidArgument, InvalidDsn, StoreError, StoreUnreachable
from evtool.stores.sqlite.translation import translated

_BUSY_SECONDS = 60.0

# How many records are in memory at once: as many as this, or fewer where they are large.
_FEWEST, _MOST = 8, 256
_BLOCK_BYTES = 1 << 17
_SAMPLE = 128

_ROW_IDS = ("rowid", "_rowid_", "oid")

Row = tuple[Any, ...]
Maker = Callable[[list[Row]], bytes]


class SQLiteSource:
    """A connection to a database file in a read transaction. Use it in `with`."""

    def __init__(self, dsn: str) -> None:
        """Opens the file and takes the snapshot.

        Args:
            dsn: `sqlite:///path/of/a/file`.

        Raises:
            InvalidDsn: it names no file.
            StoreUnreachable: the file isn't there or can't be opened.
            StoreError: it is no SQLite database.
        """
        self.file = _path(dsn)
        with translated():
            self._connection = sqlite3.connect(
                f"file:{quote(str(self.file))}?mode=ro", uri=True, timeout=_BUSY_SECONDS, isolation_level=None
            )
        try:
            with translated():
                self._connection.create_function("evtool_moment", 1, values.moment_or_none, deterministic=True)
                self._connection.execute("BEGIN")
                # the first read takes the snapshot
                self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            self._taken = datetime.now(UTC)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Ends the transaction and the connection."""
        self._connection.close()

    def snapshot(self) -> dict[str, Any]:
        """What tells this snapshot from others."""
        return {
            "source": "sqlite",
            "database": self.file.name,
            "sqlite_version": sqlite3.sqlite_version,
            "schema_version": self._one("PRAGMA schema_version"),
            "pages": self._one("PRAGMA page_count"),
            "taken_at": times.render(self._taken),
        }

    def table(self, request: Request) -> Table:
        """The table that is asked for.

        Raises:
            InvalidArgument: there is none, or it lacks a column that the resource declares.
        """
        plain = request.table.rpartition(".")[2]
        names = [row[0] for row in self._all("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")]
        name = next((one for one in names if one == request.table), None) or next(
            (one for one in names if one.lower() == plain.lower()), None
        )
        if name is None:
            hint = f"it has {', '.join(sorted(names)[:20])}" if names else "it has no tables"
            raise InvalidArgument(f'there is no table "{plain}" in {self.file.name}', hint=hint)
        # 1 is a hidden column of a virtual table
        facts = self._all('SELECT name, type, "notnull", pk FROM pragma_table_xinfo(?) WHERE hidden <> 1', name)
        found = {row[0]: _column(row[0], row[1], request.columns.get(row[0]), never_null=bool(row[2])) for row in facts}
        for declared in request.columns:
            if declared not in found:
                raise InvalidArgument(
                    f'{name} has no column "{declared}", which the resource {request.resource} declares',
                    hint="name the columns that it has with --columns, or export it with --table",
                )
        columns = tuple(found[one] for one in (request.columns or found))
        primary = [found[row[0]] for row in sorted(facts, key=lambda row: row[3]) if row[3]]
        if not primary or any(self._holds_null(name, one) for one in primary):
            # A primary key of SQLite's may hold null, and null is not unique: the row's number makes the order total.
            number = self._row_id(name, found)
            primary = [*primary, number] if number is not None else list(found.values())
        return Table(name, columns, tuple(primary), tuple(request.order))

    def check(self, plan: Plan) -> None:
        """Looks at each condition.

        Raises:
            InvalidArgument: a value is none of its field's type.
        """
        for column, condition in plan.where:
            queries.met(column, condition)

    def estimate(self, plan: Plan, format: Format) -> Estimate:
        """How much there will be: the records are counted, their size is that of some."""
        query, parameters = queries.select(["count(*)"], plan)
        count = self._one(query, *parameters)
        query, parameters = queries.select([queries.selected(column, format) for column in plan.columns], plan)
        rows = self._all(f"{query} LIMIT {_SAMPLE}", *parameters)
        if not rows:
            return Estimate(count, 0, exact=True)
        names = sum(len(column.name) + 3 for column in plan.columns) if format.is_json else 0
        size = sum(values.size(row) for row in rows) / len(rows) + names + len(plan.columns)
        return Estimate(count, int(count * size), exact=True)

    def blocks(self, plan: Plan, format: Format, batch: int) -> Iterator[Block]:
        """The records, some at a time, in the plan's order.

        Args:
            plan: which.
            format: what they are to be.
            batch: how many records make a page.

        Raises:
            StoreError: a text is not UTF-8, or a value that must be JSON isn't.
        """
        make = self._csv(plan) if format is Format.CSV else self._json(plan, format)
        rows = self._pages(plan, format, batch) if self._is_indexed(plan) else self._sorted(plan, format)
        done = 0
        for chunk in rows:
            try:
                text = make(chunk)
            except values.NotJsonError as error:
                raise _not_json(plan.columns, list(zip(*chunk, strict=True)), done) from error
            except UnicodeDecodeError:
                # which has the text in it
                raise _not_utf8() from None
            yield Block(len(chunk), text)
            done += len(chunk)

    def _csv(self, plan: Plan) -> Maker:
        return lambda chunk: csv_records(plan.columns, chunk)

    def _json(self, plan: Plan, format: Format) -> Maker:
        encoders = [values.json_encoder(column, one_line=format is Format.NDJSON) for column in plan.columns]
        width = len(encoders)
        record = b"%b".join(piece.replace(b"%", b"%%") for piece in frame(format, [one.name for one in plan.columns]))

        def make(chunk: list[Row]) -> bytes:
            cells: list[bytes] = [b""] * (width * len(chunk))
            for number, (encode, column) in enumerate(zip(encoders, zip(*chunk, strict=True), strict=False)):
                cells[number::width] = encode(column)
            return record * len(chunk) % tuple(cells)

        return make

    def _pages(self, plan: Plan, format: Format, batch: int) -> Iterator[list[tuple[Any, ...]]]:
        last: tuple[Any, ...] | None = None
        places = queries.places(plan)
        while True:
            query, parameters = queries.page(plan, format, last)
            count = 0
            for chunk in self._chunks(f"{query} LIMIT {batch}", parameters):
                yield chunk
                last = tuple(_bound(chunk[-1][place]) for place in places)
                count += len(chunk)
            if count < batch:
                return

    def _sorted(self, plan: Plan, format: Format) -> Iterator[list[tuple[Any, ...]]]:
        yield from self._chunks(*queries.page(plan, format, None))

    def _chunks(self, query: str, parameters: Sequence[Any]) -> Iterator[list[tuple[Any, ...]]]:
        """The rows of a query, so many at a time that they stay small."""
        size = _FEWEST
        with translated(), _decoded():
            cursor = self._connection.execute(query, parameters)
            while rows := self._fetch(cursor, size):
                yield rows
                held = values.size(rows[-1]) * len(rows)
                size = max(_FEWEST, size // 2) if held > _BLOCK_BYTES else min(_MOST, size * 2)

    def _fetch(self, cursor: sqlite3.Cursor, size: int) -> list[Row]:
        """Some rows, whose texts are bytes."""
        self._connection.text_factory = bytes
        try:
            return cursor.fetchmany(size)
        finally:
            self._connection.text_factory = str

    def _is_indexed(self, plan: Plan) -> bool:
        """Whether an index gives the order, without nulls and BLOBs among what the pages begin behind."""
        query, parameters = queries.page(plan, Format.CSV, None)
        steps = self._all(f"EXPLAIN QUERY PLAN {query}", *parameters)
        if any("TEMP B-TREE" in step[3] for step in steps):
            return False
        table = plan.table.name
        return not any(
            self._holds_null(table, one.column) or self._all(queries.is_blob(table, one.column)) for one in plan.order
        )

    def _holds_null(self, table: str, column: Column) -> bool:
        return column.nullable and bool(self._all(queries.is_null(table, column)))

    def _row_id(self, table: str, columns: dict[str, Column]) -> Column | None:
        """The number that SQLite gives every row; None for a view, or a table without."""
        taken = {name.lower() for name in columns}
        kind, without = self._all("SELECT type, wr FROM pragma_table_list WHERE schema = 'main' AND name = ?", table)[0]
        name = next((one for one in _ROW_IDS if one not in taken), None)
        if kind == "view" or without or name is None:
            return None
        return Column(name, "integer", Kind.NUMBER, nullable=False)

    def _all(self, query: str, *parameters: Any) -> list[Any]:
        with translated(), _decoded():
            return self._connection.execute(query, parameters).fetchall()

    def _one(self, query: str, *parameters: Any) -> Any:
        return self._all(query, *parameters)[0][0]


def _path(dsn: str) -> Path:
    """The file of sqlite:///path: what stands behind the two slashes of an empty host."""
    given = dsn.removeprefix("sqlite:").removeprefix("//")
    if not given or "\0" in given or given == ":memory:":
        raise InvalidDsn("the DSN sqlite: names no file", hint="write sqlite:///path/of/a/file")
    # other programs write four slashes before an absolute path
    path = Path(re.sub("^//+", "/", given)).absolute()
    if path.is_dir():
        raise InvalidDsn(f"{path} is a folder", hint="name the database file in it")
    if not path.exists():
        raise StoreUnreachable(f"{path} isn't there", hint="write sqlite:///path/of/a/file")
    return path


def _column(name: str, declared: str, wanted: str | None, *, never_null: bool) -> Column:
    """A column as the resource declares it, else by the type that the file has for it, which binds no value."""
    if wanted is not None:
        return Column(name, wanted, kind_of(wanted), nullable=not never_null)
    upper = declared.upper()
    if "JSON" in upper:
        kind = Kind.JSON
    elif "BOOL" in upper:
        kind = Kind.BOOLEAN
    elif upper.startswith(("TIMESTAMP", "DATETIME")):
        kind = Kind.MOMENT
    elif any(part in upper for part in ("CHAR", "CLOB", "TEXT")):
        kind = Kind.TEXT
    else:
        kind = Kind.NUMBER
    return Column(name, declared or "any", kind, nullable=not never_null)


def _bound(value: Any) -> Any:
    """A value of a row as it is bound: a text as one."""
    return value.decode() if isinstance(value, bytes) else value


def _not_json(wanted: Sequence[Column], columns: Sequence[Sequence[Any]], done: int) -> StoreError:
    """Names the record, by its number, and the column that hold what `_selected` did not find to be JSON."""
    row, name = min(
        (row, column.name)
        for column, held in zip(wanted, columns, strict=False)
        if column.kind in {Kind.JSON, Kind.ARRAY}
        for row, value in enumerate(held)
        if isinstance(value, bytes) and values.NOT_JSON in value
    )
    return StoreError(
        f'"{name}" of record {done + row + 1}, in the order of the export, is not JSON',
        hint="correct it, leave the field out with --columns, or export CSV, which has it as it is",
    )


@contextlib.contextmanager
def _decoded() -> Iterator[None]:
    """Text of SQLite's may be no UTF-8; the driver's message has the text in it."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if "decode to UTF-8" not in str(error):
            raise
        raise _not_utf8() from None


def _not_utf8() -> StoreError:
    return StoreError(
        "the database holds a text that is not UTF-8", hint="correct it, or leave its column out with --columns"
    )
