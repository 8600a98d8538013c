"""The functions of sql/bulk that read a value: which spellings they take, and that no other raises.

as_uuid, as_boolean, as_bigint, as_integer, as_smallint, as_numeric, as_date, as_timestamp, as_timestamptz, as_json,
as_jsonb, as_list and explain_refusal.
"""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from evtool.bulk import installing
from evtool.stores.postgres.connection import Connector

ID = "0b1e6d3c-7f1a-4a57-9d35-9f6f0c2b1a11"
LENIENT = ["", " ", "now", "today", "infinity", "-infinity", "epoch", "yes", "no", "t", "f", "on", "1", "TRUE", "NaN",
           "01/02/2024", "null", "\\N", "\n", "é", "0x1F", "1_000"]  # fmt: skip

TAKEN: dict[str, list[str]] = {
    "as_uuid": [ID, ID.upper()],
    "as_boolean": ["true", "false"],
    "as_smallint": ["0", "-1", "32767", "-32768"],
    "as_integer": ["0", "-1", "2147483647", "-2147483648"],
    "as_bigint": ["0", "-1", "9223372036854775807", "-9223372036854775808"],
    "as_numeric": ["0", "-0", "1.50", "1e400", "-1E-400", "0.000000000000000000000001", "9" * 1000],
    "as_date": ["2024-02-29", "2023-02-28", "0001-01-01", "9999-12-31", "2000-02-29", "2024-04-30", "2024-12-31"],
    "as_timestamp": ["2024-02-29", "2024-02-29T23:59:59.999999", "2024-02-29 00:00", "2024-01-31T00:00:00.123456789"],
    "as_timestamptz": ["2024-02-29", "2024-02-29T23:59:59Z", "2024-02-29 23:59:59.5+05:30", "2024-01-31T00:00-0800",
                       "2024-01-31 00:00:00+00", "2024-01-15T10:00:00", "2024-12-31T00:00:00.123456Z"],
    "as_json": ['{"a": 1, "a":2}', "null", '"x"', "[1e400]", " 1 "],
    "as_jsonb": ['{"a": 1}', "null", '"x"', "[1e400]"],
}  # fmt: skip
REFUSED: dict[str, list[str]] = {
    "as_uuid": [f"{{{ID}}}", ID.replace("-", ""), f" {ID}", f"{ID}\n", ID[:-1], ID + "0", ID[:-1] + "g", "-" * 36,
                "0b1e6d3c-7f1a-4a57-9d35-9f6f0c2b1a-1", "-b1e6d3c-7f1a-4a57-9d35-9f6f0c2b1a11"],
    "as_boolean": ["True", " true", "0", "y", "false\n"],
    "as_smallint": ["32768", "-32769", "99999", "+1", "01", " 1", "1 ", "1.0", "1e3", "-0"],
    "as_integer": ["2147483648", "-2147483649", "9999999999", "+1", "007", " 42 ", "42\n", "1.0", "-"],
    "as_bigint": ["9223372036854775808", "-9223372036854775809", "99999999999999999999", "+1", "01", " 42 ", "1.0"],
    "as_numeric": ["+1", ".5", "5.", "01", "1e", "1e1000", "Infinity", "-Infinity", " 1", "1,5", "9" * 10001, "--1"],
    "as_date": ["2023-02-29", "1900-02-29", "2024-02-30", "2024-04-31", "2024-13-01", "2024-00-10", "2024-01-00",
                "0000-01-01", "2024-1-1", "20240101", "2024-01-01 ", "24-01-01", "2024-01-01 BC", "-024-01-01"],
    "as_timestamp": ["2024-01-01T24:00:00", "2024-01-01T23:60", "2024-01-01T23:59:60", "2024-01-01T1:00",
                     "2024-01-01T00:00:00Z", "2024-01-01  00:00", "2024-02-30T00:00:00", "0000-01-01T00:00:00"],
    "as_timestamptz": ["2024-01-01T24:00:00Z", "2024-02-30T00:00:00Z", "2024-01-01T00:00:00 Europe/Berlin",
                       "2024-01-01T00:00:00z", "2024-01-01t00:00:00Z", "2024-01-01T00:00:00+15", "2024-01-01T00:00:60Z",
                       "0000-01-01T00:00:00Z", "2024-01-01T00:00:00.Z", "2024-01-01T00:00:00.1234567890Z", "20240101T000000Z"],
    "as_json": ["", "{", "{'a':1}", "01", "tru", "[1,]"],
    "as_jsonb": ["", "{", '"\\u0000"', '"\\ud800"', "[1,]"],
}  # fmt: skip


@pytest.fixture(scope="module")
def call(make_database: Callable[..., str]) -> Iterator[Callable[[str, Any], Any]]:
    """Calls a function of evtool_bulk, in a session whose settings are not PostgreSQL's own."""
    with Connector(make_database()).open() as connection:
        installing.install(connection)
        connection.execute(
            "SET datestyle = 'SQL, DMY'; SET timezone = 'Asia/Tokyo'; SET intervalstyle = 'sql_standard'"
        )

        def called(name: str, *values: Any) -> Any:
            holes = ", ".join(["%s"] * len(values))
            row = connection.execute(f"SELECT evtool_bulk.{name}({holes})::text", values).fetchone()
            assert row is not None
            return row[0]

        yield called


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in TAKEN.items() for value in values])
def test_a_plain_spelling_is_taken(call: Callable[..., Any], name: str, value: str) -> None:
    """What the documentation shows of a type is a value."""
    assert call(name, value) is not None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (name, value)
        for name, values in REFUSED.items()
        for value in dict.fromkeys([*values, *LENIENT])
        if value not in TAKEN[name] and not (name in {"as_json", "as_jsonb"} and value == "1")
        and not (value == "1" and name in {"as_smallint", "as_integer", "as_bigint", "as_numeric"})
    ],
)  # fmt: skip
def test_any_other_spelling_is_null_and_raises_nothing(call: Callable[..., Any], name: str, value: str) -> None:
    """What PostgreSQL itself might take, or raise for, is refused quietly."""
    assert call(name, value) is None


def test_moments_are_read_the_same_whatever_the_session_is_set_to(call: Callable[..., Any]) -> None:
    """Without a zone a moment is UTC; day and month never change places."""
    assert call("as_timestamptz", "2024-03-04T05:06:07") == call("as_timestamptz", "2024-03-04T05:06:07Z")
    assert call("as_timestamptz", "2024-03-04T05:06:07+02:00") == call("as_timestamptz", "2024-03-04T03:06:07Z")
    assert call("as_date", "2024-03-04") == "04/03/2024"


def test_every_day_of_the_calendar_and_no_other(make_database: Callable[..., str]) -> None:
    """as_date takes exactly the days that there are, over centuries with and without leap years."""
    random.seed(7)
    days = [f"{year:04}-{month:02}-{day:02}" for year in (1, 4, 100, 400, 1900, 1999, 2000, 2023, 2024, 2100, 9999)
            for month in range(14) for day in range(33)]  # fmt: skip

    def real(text: str) -> bool:
        try:
            dt.date.fromisoformat(text)
        except ValueError:
            return False
        return True

    with Connector(make_database()).open() as connection:
        installing.install(connection)
        found = connection.execute(
            "SELECT day, evtool_bulk.as_date(day) IS NOT NULL, evtool_bulk.as_timestamptz(day || 'T00:00:00Z') IS NOT NULL"
            " FROM unnest(%s::text[]) AS day",
            (days,),
        ).fetchall()
    assert found == [(day, real(day), real(day)) for day in days]


def test_lists(call: Callable[..., Any]) -> None:
    """as_list takes arrays of JSON whose elements are null or of the one kind that is asked for, in any dimension."""
    assert call("as_list", '["a", "", null, "b,c"]', "string") == '{a,"",NULL,"b,c"}'
    assert call("as_list", "[1, 2.50, 1e3]", "number") == "{1,2.50,1e3}"
    assert call("as_list", "[true, false]", "boolean") == "{true,false}"
    assert call("as_list", '[{"a": 1, "a":2}, null, [1]]', "any") == r'{"{\"a\": 1, \"a\":2}",NULL,[1]}'
    assert call("as_list", "[]", "string") == "{}"
    assert call("as_list", "[[1, null], [3, 4]]", "number") == "{{1,NULL},{3,4}}"
    deep = "[" * 7 + "1" + "]" * 7
    for value in ('["a", 1]', '[["a"], 1]', '[["a"], []]', '[["a"], null]', '[["a"], ["b", "c"]]', "[[]]", "[{}]", '{"a":1}', '"a"',
                  "{a,b}", "[", "", "null", '["\\u0000"]', "[1]", "[true]", deep):  # fmt: skip
        assert call("as_list", value, "string") is None, value
    assert call("as_list", deep, "number") is None


def test_a_refusal_is_explained_by_its_constraint(make_database: Callable[..., str]) -> None:
    """explain_refusal names the field and a code, from the constraint's columns where it has one."""
    with Connector(make_database()).open() as connection, connection.cursor() as cursor:
        installing.install(connection)
        cursor.execute(
            "CREATE TABLE public.t (a int, b int, CONSTRAINT t_b CHECK (b > 0), CONSTRAINT t_ab CHECK (a > b), UNIQUE (a, b))"
        )

        def explained(state: str, constraint: str, column: str = "") -> Any:
            return cursor.execute(
                "SELECT * FROM evtool_bulk.explain_refusal('public.t', %s, %s, %s)", (state, constraint, column)
            ).fetchone()

        assert explained("23514", "t_b") == ("b", "invalid_b")
        assert explained("23514", "t_ab") == ("a", "violates_t_ab")
        assert explained("23505", "t_a_b_key") == ("a", "duplicate_a_b")
        assert explained("23502", "", "a") == ("a", "a_required")
        assert explained("P0001", "") == (None, "refused_P0001")


def test_the_functions_need_no_privilege(make_database: Callable[..., str]) -> None:
    """Any role may read values with them; what was refused is the owner's."""
    with Connector(make_database()).open() as connection:
        installing.install(connection)
        connection.execute("CREATE ROLE bulk_stranger")
        connection.execute("SET ROLE bulk_stranger")
        assert connection.execute("SELECT evtool_bulk.as_boolean('true')").fetchone() == (True,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT FROM evtool_bulk.rejects")
        connection.execute("RESET ROLE")
