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
_TEXTS = {"text", "character varying", "character"}
# What PostgreSQL may be asked about at all; it then has the last word.
_NUMBER = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?$"
_TIME = r"^([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,6})?)?"
# The end of a day, as PostgreSQL writes it, is a time, but no moment of a day; old zones had seconds.
_TIME_OF_DAY = f"^({_TIME[1:]}|24:00:00)"
_ZONE = "(Z|[+-][0-9]{2}(:?[0-5][0-9](:?[0-5][0-9])?)?)"


def _ranges() -> dict[str, str]:
    """The patterns of ranges and multiranges, whose bounds have the spellings that their type has alone."""
    day, number = "[0-9]{4}-[0-9]{2}-[0-9]{2}", _NUMBER[1:-1]
    time = "[T ]" + _TIME[1:]
    bounds = {
        **dict.fromkeys(("int4", "int8", "num"), number),
        "date": day,
        "ts": f"{day}({time})?",
        "tstz": f"{day}({time}(Z|[+-][0-9]{{2}}(:?[0-5][0-9])?)?)?",
    }
    found = {}
    for name, bound in bounds.items():
        one = rf'(empty|[[(]("({bound})"|{bound})?,("({bound})"|{bound})?[])])'
        found[f"{name}range"] = f"^{one}$"
        found[f"{name}multirange"] = rf"^\{{({one}(,{one})*)?\}}$"
    return found


_PATTERNS = {
    "real": _NUMBER,
    "double precision": _NUMBER,
    "time without time zone": _TIME_OF_DAY + "$",
    "time with time zone": f"{_TIME_OF_DAY}{_ZONE}$",
    **_ranges(),
    "bytea": r"^\\x([0-9a-fA-F]{2})*$",
    "oid": r"^(0|[1-9][0-9]{0,9})$",
}
# The spellings that most files keep to, of texts in UTF-8: what these match, PostgreSQL reads as the functions do.
_DAY = rb"(?!0000)[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])"
_MOMENT = _DAY + rb"[T ](?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,9})?"
_PLAINEST = {
    "uuid": rb"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}",
    "boolean": rb"true|false",
    "bigint": rb"0|-?[1-9][0-9]{0,17}",
    "integer": rb"0|-?[1-9][0-9]{0,8}",
    "smallint": rb"0|-?[1-9][0-9]{0,3}",
    "numeric": rb"-?(?:0|[1-9][0-9]{0,99})(?:\.[0-9]{1,99})?",
    "date": _DAY,
    "timestamp with time zone": _MOMENT + rb"Z",
    "timestamp without time zone": _MOMENT,
}
_LENGTH_ONE = {"bit": 'pg_catalog."bit"', "character": "bpchar"}
_NO_SPACE_AROUND = r"^\S(.*\S)?$"
# Names are cut to fit, without a word.
_LENGTHS = {"name": "octet_length({}) < 64", '"char"': "octet_length({}) = 1"}
# Spaces around are part of these.
_WITH_SPACES = {"xml"}
# What the elements of an array must be in JSON.
_IN_JSON = {Kind.NUMBER: "number", Kind.BOOLEAN: "boolean", Kind.JSON: "any"}


@dataclass(frozen=True, slots=True)
class ColumnType:
    """The type of a column, as the server knows it.

    Attributes:
        name: as PostgreSQL's format_type gives it, without a length; of a domain, what it is made of.
        element: of an array, the type of its elements, likewise; else the same.
        is_text: whether that is a type of texts of which every text is one, such as text, or citext.
        rounded: SQL that rounds a value {} to the digits that the column keeps; None where it keeps all.
    """

    name: str
    element: str
    is_text: bool
    rounded: str | None = None


@dataclass(frozen=True, slots=True)
class Cast:
    """How the text of a column becomes its value.

    Attributes:
        type: of the value, as PostgreSQL writes it.
        function: that makes it, and null of what is refused; None where every text is a value, even an empty one.
        definition: what makes the function, where it isn't one of `sql/bulk`.
        plainest: the regular expression of spellings, in UTF-8, that need no function; None where there is no such one.
    """

    type: str
    function: sql.Composable | None = None
    definition: sql.Composed | None = None
    plainest: bytes | None = None

    @property
    def plain(self) -> bool:
        """Whether every text is a value, so that an empty one is not a missing one."""
        return self.function is None

    def of(self, text: sql.Composable, plain: sql.Composable) -> sql.Composable:
        """The SQL of the value of a text.

        Args:
            text: it.
            plain: whether it is known to be missing or of the plainest spelling.
        """
        if self.function is not None:
            looked_at = sql.SQL("{}(NULLIF({}, ''))").format(self.function, text)
            if self.plainest is None:
                return looked_at
            return sql.SQL("CASE WHEN {} THEN NULLIF({}, '')::{} ELSE {} END").format(
                plain, text, sql.SQL(self.type), looked_at
            )
        return text if self.type == "text" else sql.SQL("{}::{}").format(text, sql.SQL(self.type))


def cast(type_: ColumnType, name: str) -> Cast:
    """How texts become values of a type.

    Args:
        type_: of the values.
        name: of the function, for a type that needs one of its own.
    """
    if type_.name in _TEXTS:
        # the length is looked at apart: a cast would cut
        return Cast("text")
    if type_.is_text and type_.name == type_.element:
        return Cast(type_.name)
    if type_.name in _FUNCTIONS:
        function = sql.Identifier(SCHEMA, _FUNCTIONS[type_.name])
        return Cast(type_.name, function, plainest=_PLAINEST.get(type_.name))
    # the name of the type is the server's own spelling of it; of these two it would mean a length of one
    type_name, element = type_.name, type_.name.removesuffix("[]")
    if element in _LENGTH_ONE:
        type_name = type_name.replace(element, _LENGTH_ONE[element])
    own = sql.Identifier("pg_temp", name)
    if kind_of(type_name) is Kind.ARRAY:
        made = _array(sql.SQL(type_name), type_)
        guard: sql.Composable = sql.SQL("true")
    else:
        made = sql.SQL("value::{}").format(sql.SQL(type_name))
        guard = _is_spelt(type_, sql.Identifier("value"))
    body = sql.SQL(_BODY).format(guard=guard, made=made).as_string()
    definition = sql.SQL(
        "CREATE OR REPLACE FUNCTION {}(value text) RETURNS {} LANGUAGE plpgsql STABLE "
        "SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'"
        " SET datestyle = 'ISO, YMD' SET intervalstyle = 'postgres' SET xmloption = 'content' AS {}"
    ).format(own, sql.SQL(type_name), sql.Literal(body))
    return Cast(type_name, own, definition)


def _is_spelt(type_: ColumnType, value: sql.Composable) -> sql.Composable:
    """Whether PostgreSQL may be asked about a text as a value, or an element, of a type."""
    name = type_.element
    if type_.is_text or name in _WITH_SPACES:
        return sql.SQL("true")
    if name in _FUNCTIONS:
        return sql.SQL("{}({}) IS NOT NULL").format(sql.Identifier(SCHEMA, _FUNCTIONS[name]), value)
    if name in _LENGTHS:
        return sql.SQL(_LENGTHS[name]).format(value)
    return sql.SQL("{} ~ {}").format(value, sql.Literal(_PATTERNS.get(name, _NO_SPACE_AROUND)))


def _array(type_name: sql.Composable, type_: ColumnType) -> sql.Composed:
    """The SQL of an array: each of its elements has the spelling that it would have to have alone."""
    return sql.SQL(
        "(SELECT list::{type} FROM (SELECT {as_list}(value, {kind}) AS list OFFSET 0) AS listed"
        " WHERE NOT EXISTS (SELECT FROM unnest(list) AS element WHERE element IS NOT NULL AND NOT {is_spelt}))"
    ).format(
        type=type_name,
        as_list=sql.Identifier(SCHEMA, "as_list"),
        kind=sql.Literal(_IN_JSON.get(kind_of(type_.element), "string")),
        is_spelt=_is_spelt(type_, sql.Identifier("element")),
    )


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
