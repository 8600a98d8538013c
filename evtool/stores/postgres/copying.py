r"""The format in which messages pass through COPY, both ways, without escaping their JSON.

COPY's CSV with an exotic quote (\x01) and delimiter (\x02) leaves JSON as it is: jsonb never holds a raw control
character, so its text is never quoted. A name of a stream or a type may hold any, so every row is looked at for the
quote, and the few that have one take the slow way.
"""

from __future__ import annotations

from psycopg import sql

QUOTE = b"\x01"
DELIMITER = b"\x02"
# A null is written as JSON has it; a name or JSON that reads `null` is told from it by its quotes.
FORMAT = sql.SQL(r"(FORMAT csv, QUOTE e'\x01', DELIMITER e'\x02', ENCODING 'UTF8', NULL 'null')")

# The columns, in the order of a line's fields.
COLUMNS = 8
STREAM, TYPE, POSITION, DATA, META, TIME = 1, 2, 4, 5, 6, 7
