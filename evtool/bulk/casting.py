"""From the text of a file to a value of PostgreSQL: which spellings a type has, and what is refused.

PostgreSQL's own input takes much that a file should not say: `now`, `yes`, ` 42 `, `{uuid}`, `01/02/2024`. Each type
here has one grammar, mostly a function of `sql/bulk`, which returns null for what isn't one of its spellings.
"""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import sql

from evtool.bulk.installing import SCHEMA
from evtool.bulk.kinds import Kind, kind_of

_FUNCTIONS = {
    "uuid": "as_uuid",
    "boolean": "as_boolean",
    "bigint": "as_bigint",
    "integer": "as_integer",
    "smallint": "as_smallint",
    "numeric": "as_numeric",
    "date": "as_date",
    "timestamp with time zone": "as_timestamptz",
    "timestamp without time zone": "as_timestamp",
    "json": "as_json",
    "jsonb": "as_jsonb",
}
_TEXTS = {"text", "character varying", "character", "name"}
# What PostgreSQL may be asked about at all; it then has the last word.
_NUMBER = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?$"
_TIME = r"^([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,6})?)?"
_PATTERNS = {
    "real": _NUMBER,
    "double precision": _NUMBER,
    "time without time zone": _TIME + "$",
    "time with time zone": _TIME + r"(Z|[+-][0-9]{2}(:?[0-5][0-9])?)$",
    "bytea": r"^\\x([0-9a-fA-F]{2})*$",
    "oid": r"^(0|[1-9][0-9]{0,9})$",
}
_LENGTH_ONE = {"bit": 'pg_catalog."bit"', "character": "bpchar"}
_NO_SPACE_AROUND = r"^\S(.*\S)?$"


@dataclass(frozen=True, slots=True)
class Cast:
    """How the text of a column becomes its value.

    Attributes:
        type: of the value, as PostgreSQL writes it.
        function: that makes it, and null of what is refused; None where every text is a value, even an empty one.
        definition: what makes the function, where it isn't one of `sql/bulk`.
    """

    type: str
    function: sql.Composable | None = None
    definition: sql.Composed | None = None

    @property
    def plain(self) -> bool:
        """Whether every text is a value, so that an empty one is not a missing one."""
        return self.function is None

    def of(self, text: sql.Composable) -> sql.Composable:
        """The SQL of the value of a text."""
        return text if self.function is None else sql.SQL("{}(NULLIF({}, ''))").format(self.function, text)


def is_text(type_name: str) -> bool:
    """Whether every text is a value of the type."""
    return type_name in _TEXTS


def cast(type_name: str, name: str) -> Cast:
    """How texts become values of a type.

    Args:
        type_name: as PostgreSQL's format_type gives it, without a length.
        name: of the function, for a type that needs one of its own.
    """
    if is_text(type_name):
        # the length is looked at apart: a cast would cut
        return Cast("text")
    if type_name in _FUNCTIONS:
        return Cast(type_name, sql.Identifier(SCHEMA, _FUNCTIONS[type_name]))
    # the name of the type is the server's own spelling of it; of these two it would mean a length of one
    element = type_name.removesuffix("[]")
    if element in _LENGTH_ONE:
        type_name = type_name.replace(element, _LENGTH_ONE[element])
    type_ = sql.SQL(type_name)
    own = sql.Identifier("pg_temp", name)
    if kind_of(type_name) is Kind.ARRAY:
        strings = kind_of(element) is Kind.TEXT
        made = sql.SQL("{}(value, {})::{}").format(sql.Identifier(SCHEMA, "as_list"), sql.Literal(strings), type_)
        guard: sql.Composable = sql.SQL("true")
    else:
        made = sql.SQL("value::{}").format(type_)
        pattern = _PATTERNS.get(type_name, _NO_SPACE_AROUND)
        guard = sql.SQL("value ~ {}").format(sql.Literal(pattern))
    body = sql.SQL(_BODY).format(guard=guard, made=made).as_string()
    definition = sql.SQL(
        "CREATE OR REPLACE FUNCTION {}(value text) RETURNS {} LANGUAGE plpgsql STABLE "
        "SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS {}"
    ).format(own, type_, sql.Literal(body))
    return Cast(type_name, own, definition)


_BODY = """
BEGIN
  RETURN CASE WHEN {guard} THEN {made} END;
EXCEPTION
  -- a name of nothing, and what a type with a syntax of its own can't read, are the value's fault too
  WHEN data_exception OR program_limit_exceeded OR syntax_error OR invalid_name OR invalid_schema_name
    OR undefined_table OR undefined_object OR undefined_function THEN
    RETURN NULL;
END
"""
