"""What the server found in a row that was sent to it, as the refusal of a line."""

from __future__ import annotations

import re
from collections.abc import Callable

import psycopg

from evtool.errors import EvtoolError, ImportRefused
from evtool.stores.postgres.translation import translate

# The context of an error in COPY names the row ("COPY messages, line 3, column data: …"). The words around the number
# are translated by the server's lc_messages, so only the number is read; what stands behind it is data and not shown.
_COPY_LINE = re.compile(r"^COPY (?:messages|staged), \D*(\d+)", re.MULTILINE)
_COPY_COLUMN = re.compile(r"^COPY (?:messages|staged), \D*\d+, \S+ (\w+)", re.MULTILINE)
_KEY = re.compile(r"\((?P<columns>[^()]*)\)=\((?P<values>.*)\)", re.DOTALL)

_CLASHES = {
    "messages_pkey": ("POSITION_EXISTS", "global position {} already exists"),
    "messages_id": ("ID_EXISTS", "a message with the id {} already exists"),
    "messages_stream": ("STREAM_POSITION_EXISTS", "stream and position ({}) already exist"),
}
# A lost connection, a full disk, a cancelled statement: the row that it happened at is not to blame.
_NOT_OF_A_ROW = {"08", "25", "28", "40", "53", "55", "57", "58", "XX"}
_JSON_STATES = {"22P02", "22P05", "22021", "22003", "54001", "54000"}


def refusal(error: psycopg.Error, line_of: Callable[[int], int]) -> Exception:
    """What the server found in a row of a COPY, as an ImportRefused; any other error as it is.

    Args:
        error: what psycopg raised.
        line_of: the line of the file that a line of the COPY's input belongs to.
    """
    context = error.diag.context or ""
    found = _COPY_LINE.search(context)
    state = error.sqlstate or ""
    if found is None or state[:2] in _NOT_OF_A_ROW or state == "42501":
        return error
    line = line_of(int(found[1]))
    constraint = error.diag.constraint_name or ""
    if state == "23505" and constraint in _CLASHES:
        code, text = _CLASHES[constraint]
        key = _KEY.search(error.diag.message_detail or "")
        value = key["values"][:200] if key else None
        return ImportRefused(
            code,
            text.format(value if value is not None else "of this line"),
            line=line,
            value=value,
            hint="it came before, or the namespace has it already; take an empty one, or --on-conflict skip",
        )
    column = _COPY_COLUMN.search(context)
    where = f" in {column[1]}" if column else ""
    # without a column it is an index that has no room for a name
    if column and state in _JSON_STATES:
        return ImportRefused("INVALID_JSON", f"PostgreSQL can't store the value{where} ({error.sqlstate})", line=line)
    if state in {"22007", "22008"}:
        return ImportRefused("INVALID_TIME", f"PostgreSQL can't store the time{where}", line=line)
    return failed(error, line)


def failed(error: psycopg.Error, line: int | None) -> ImportRefused:
    """A line that PostgreSQL refuses for a reason of its own."""
    known: EvtoolError = translate(error)
    return ImportRefused("IMPORT_FAILED", known.message, line=line, hint=known.hint)
