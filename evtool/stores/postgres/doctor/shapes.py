"""What a schema is made of, held against what this version ships."""

from __future__ import annotations

import json
from functools import cache
from typing import NamedTuple

from psycopg import sql

from evtool import sqltext
from evtool.stores.postgres.connection import Connection
from evtool.stores.postgres.doctor.checking import ask

Shape = dict[str, "Part"]

_STREAM_NAME = "column messages.stream_name"
_BY_BYTES = "index messages_stream_bytes"


class Part(NamedTuple):
    """A table, column, index, constraint, sequence or trigger.

    Attributes:
        definition: as PostgreSQL writes it, without the schema's name.
        usable: False for an index that a failed build left behind.
    """

    definition: str
    usable: bool = True


class Difference(NamedTuple):
    """Where a schema is not what it should be.

    Attributes:
        kind: "table", "column", "index", "constraint", "sequence", "trigger" or "rule".
        name: of the part; a column's, constraint's, trigger's or rule's begins with its table's.
        expected: the definition; None for a part that isn't evtool's.
        found: None for a part that is missing.
    """

    kind: str
    name: str
    expected: str | None
    found: Part | None


def read(connection: Connection, schema: str) -> Shape:
    """What a schema is made of, by kind and name."""
    return {
        f"{kind} {name}": Part(_plain(definition, schema), usable)
        for kind, name, definition, usable in ask(connection, "shape", schema)
    }


@cache
def expected(scope: str) -> dict[str, list[str]]:
    """The definitions that each part of a schema may have; the first is what this version makes.

    The others are those of stores that Message DB installed. A part with "" among them may be missing.
    """
    shipped: dict[str, list[str]] = json.loads(sqltext.read(f"doctor/{scope}.json"))
    return shipped


def differences(connection: Connection, scope: str, schema: str) -> list[Difference]:
    """Where a schema of the newest structure is not what it should be; unusable indexes are among them."""
    shape, wanted = read(connection, schema), dict(expected(scope))
    if _BY_BYTES in wanted and shape.get(_STREAM_NAME, Part("")).definition == wanted[_STREAM_NAME][-1]:
        # Message DB's table, in the order of the database's locale: listing streams needs an index of its own
        wanted[_BY_BYTES] = [one for one in wanted[_BY_BYTES] if one]
    found = []
    for key, definitions in wanted.items():
        part = shape.get(key)
        if ("" not in definitions) if part is None else (part.definition not in definitions or not part.usable):
            found.append(_difference(key, definitions[0] or definitions[-1], part))
    extra = [_difference(key, None, part) for key, part in shape.items() if key not in wanted]
    return found + extra


def _difference(key: str, definition: str | None, part: Part | None) -> Difference:
    kind, _, name = key.partition(" ")
    return Difference(kind, name, definition, part)


def _plain(definition: str, schema: str) -> str:
    """A definition without the schema's name: as an identifier, and as one inside a string."""
    prefix = sql.Identifier(schema).as_string() + "."
    # PostgreSQL quotes only names that need it
    bare = schema + "."
    for one in (prefix, prefix.replace("'", "''"), bare):
        definition = definition.replace(one, "")
    return definition
