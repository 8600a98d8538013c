"""Which spellings a column of any table takes: those of arrays' elements and ranges' bounds are no laxer than a value's own."""

from __future__ import annotations

import json
from dataclasses import replace

import psycopg
import pytest
from psycopg import conninfo

from tests.bulk.imports.conftest import Shop

ID = "0b1e6d3c-7f1a-4a57-9d35-9f6f0c2b1a11"

REFUSED = [
    ("date[]", ["now"]), ("date[]", ["01/02/2024"]), ("timestamptz[]", ["infinity"]), ("timestamp[]", ["2024-01-01T00:00:00Z"]),
    ("integer[]", [" 42 "]), ("integer[]", ["42"]), ("integer[]", [1.0]), ("integer[]", [1, "x"]), ("bigint[]", [True]),
    ("numeric[]", ["NaN"]), ("float8[]", ["Infinity"]), ("boolean[]", ["yes"]), ("boolean[]", ["true"]), ("boolean[]", [1]),
    ("uuid[]", [f"{{{ID}}}"]), ("time[]", ["allballs"]), ("bytea[]", ["ff"]), ("inet[]", [" 10.0.0.1"]),
    ("text[]", [1]), ("text[]", {"a": 1}), ("text[]", ["a", ["b"]]), ("text[]", [["a", "b"], ["c"]]), ("text[]", [["a"], None]),
    ("integer[]", [[1, 2], ["3", "4"]]), ("jsonb[]", [{"a": "\0"}]),
    ("daterange", "[now,infinity)"), ("daterange", "[01/02/2024,)"), ("daterange", "[2024-02-30,)"), ("daterange", "[2024-02-02,2024-02-01]"),
    ("tsrange", '["2024-01-01 00:00:00",tomorrow)'), ("tstzrange", '["2024-01-01 00:00:00 Europe/Berlin",)'),
    ("int4range", "[ 1 , 2 )"), ("int4range", "[1,2"), ("numrange", "[NaN,)"), ("datemultirange", "{[today,)}"),
    ("name", "n" * 64), ('"char"', "xy"),
]  # fmt: skip
TAKEN = [
    ("date[]", ["2024-02-29", None], "{2024-02-29,NULL}"), ("timestamptz[]", ["2024-01-01"], '{"2024-01-01 00:00:00+00"}'),
    ("integer[]", [[1, 2], [3, None]], "{{1,2},{3,NULL}}"), ("text[]", [[["a"]], [["b,c"]]], '{{{a}},{{"b,c"}}}'),
    ("text[]", [], "{}"), ("numeric[]", [1.50, 12345678901234567890], "{1.5,12345678901234567890}"), ("boolean[]", [True], "{t}"),
    ("jsonb[]", [{"a": [1]}, None, "x"], '{"{\\"a\\": [1]}",NULL,"\\"x\\""}'), ("uuid[]", [ID.upper()], f"{{{ID}}}"),
    ("daterange", "[2024-01-01,2024-02-01)", "[2024-01-01,2024-02-01)"), ("daterange", "empty", "empty"),
    ("tstzrange", '["2024-01-01 00:00:00+00",)', '["2024-01-01 00:00:00+00",)'), ("tsrange", "[2024-01-01,]", '["2024-01-01 00:00:00",)'),
    ("int8range", "(,5]", "(,6)"), ("numrange", "[-1.5,1e3)", "[-1.5,1000)"),
    ("datemultirange", "{[2024-01-01,2024-01-02),[2024-02-01,)}", "{[2024-01-01,2024-01-02),[2024-02-01,)}"),
    ("name", "n" * 63, "n" * 63), ('"char"', "x", "x"), ("xml", "<a/>\n", "<a/>\n"),
]  # fmt: skip


def by_type(cases: list[tuple[str, object]]) -> tuple[str, bytes]:
    """The columns of a table with one for each case, and NDJSON with a record for each."""
    columns = ", ".join(f"c{number} {type_}" for number, (type_, _) in enumerate(cases))
    records = [json.dumps({"id": number, f"c{number}": value}) for number, (_, value) in enumerate(cases)]
    return f"id integer PRIMARY KEY, {columns}", "\n".join(records).encode()


def test_elements_and_bounds_that_are_refused(shop: Shop) -> None:
    """What PostgreSQL would take for an element or a bound is refused if it would be as a value, as is a text for a number."""
    columns, content = by_type(REFUSED)
    imported = shop.load(shop.table(columns), content, "file.ndjson")
    assert imported.codes == {number + 1: [f"invalid_c{number}"] for number in range(len(REFUSED))}


def test_elements_and_bounds_that_are_taken(shop: Shop) -> None:
    """Arrays of several dimensions, of JSON and with nulls, ranges of all kinds, and spaces where they are the value."""
    cases = [case for case in TAKEN if case[0] != "xml" or has_xml(shop)]
    columns, content = by_type([case[:2] for case in cases])
    assert shop.load(shop.table(columns), content, "file.ndjson").codes == {}
    found = [shop.values(f"SELECT c{number}::text FROM things WHERE id = {number}")[0] for number in range(len(cases))]
    assert found == [wanted for _, _, wanted in cases]


def has_xml(shop: Shop) -> bool:
    """Whether the server was built with libxml."""
    try:
        shop.run("SELECT '<a/>'::xml")
    except psycopg.errors.FeatureNotSupported:
        return False
    return True


def test_elements_that_are_domains(shop: Shop) -> None:
    """An element whose type is a domain has the spellings of what the domain is made of, and its rules."""
    shop.run("CREATE DOMAIN day AS date CHECK (value > '2000-01-01'); CREATE DOMAIN holiday AS day")
    shop.run("CREATE DOMAIN even AS integer CHECK (value % 2 = 0)")
    described = shop.table("id integer PRIMARY KEY, d holiday[], e even[]")
    records = [{"d": ["2024-01-01"], "e": [2]}, {"d": ["now"]}, {"e": ["2"]}, {"d": ["1999-01-01"]}, {"e": [3]}]
    content = "\n".join(json.dumps({"id": number, **one}) for number, one in enumerate(records, 1))
    assert shop.load(described, content.encode(), "file.ndjson").codes == {
        2: ["invalid_d"], 3: ["invalid_e"], 4: ["violates_day_check"], 5: ["violates_even_check"]
    }  # fmt: skip


def test_tags_have_one_dimension(shop: Shop) -> None:
    """The tags of an article are a list, though PostgreSQL would keep a table of them."""
    user = "0b1e6d3c-7f1a-4a57-9d35-9f6f0c2b1a11"
    shop.load("users", f"id,email,name,role,active\n{user},a@x.org,A,admin,true\n".encode())
    records = [
        {"slug": f"s-{number}", "title": "T", "body": "B", "author_id": user, "status": "draft", "tags": tags}
        for number, tags in enumerate([[], ["a", "b"], [["a"], ["b"]]], 1)
    ]
    content = "\n".join(map(json.dumps, records)).encode()
    assert shop.load("articles", content, "articles.ndjson").codes == {3: ["invalid_tags"]}


@pytest.mark.parametrize("setting", ["datestyle=SQL,DMY", "intervalstyle=sql_standard"])
def test_what_the_session_has_set_decides_nothing(shop: Shop, setting: str) -> None:
    """A value means the same whatever the role's DateStyle and IntervalStyle are."""
    described = shop.table("id integer PRIMARY KEY, r tsrange, i interval, a interval[]")
    other = replace(shop, dsn=conninfo.make_conninfo(shop.dsn, options=f"-c {setting}"))
    content = b'id,r,i,a\n1,"[2024-02-01 00:00,)",-1 days +02:03:00,"[""-1 days +02:03:00""]"\n2,,-1 2:03:04,\n'
    assert other.load(described, content).codes == {}
    assert shop.rows("SELECT lower(r)::date::text, i::text, a::text FROM things ORDER BY id") == [
        ("2024-02-01", "-1 days +02:03:00", '{"-1 days +02:03:00"}'), (None, "-1 days +02:03:04", None)
    ]  # fmt: skip
