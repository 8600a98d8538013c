"""How a column's values are written: the few kinds that JSON and CSV tell apart."""

from __future__ import annotations

import enum
import re


class Kind(enum.Enum):
    """What a column holds, as far as a file is concerned."""

    TEXT = "text"
    """A string; also whatever has no kind of its own, in the database's spelling."""

    NUMBER = "number"
    """A number of any size and scale, with the digits that the database has."""

    BOOLEAN = "boolean"
    JSON = "json"
    """A JSON value, spelt as it is stored."""

    ARRAY = "array"
    """An array of the database, written as a JSON array."""

    MOMENT = "moment"
    """A moment: UTC, six digits, Z."""

    LOCAL_MOMENT = "local moment"
    """A date and time without a zone: six digits, no Z."""


_BY_TYPE = {
    "boolean": Kind.BOOLEAN,
    "bool": Kind.BOOLEAN,
    "json": Kind.JSON,
    "jsonb": Kind.JSON,
    "timestamptz": Kind.MOMENT,
    "timestamp with time zone": Kind.MOMENT,
    "timestamp": Kind.LOCAL_MOMENT,
    "timestamp without time zone": Kind.LOCAL_MOMENT,
    **dict.fromkeys(
        (
            *("smallint", "integer", "int", "bigint", "int2", "int4", "int8", "oid"),
            *("real", "double precision", "float4", "float8", "numeric", "decimal"),
        ),
        Kind.NUMBER,
    ),
}

_MODIFIER = re.compile(r"\s*\([^)]*\)")


def kind_of(type_name: str) -> Kind:
    """The kind of a type, named as PostgreSQL names it: `bigint`, `numeric(10,2)`, `text[]`, `timestamptz`."""
    plain = _MODIFIER.sub("", type_name).strip().lower()
    if plain.endswith("[]"):
        return Kind.ARRAY
    return _BY_TYPE.get(plain, Kind.TEXT)
