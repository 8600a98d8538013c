"""A record is judged, and stored, as a plain INSERT of the same values by another program of the role would have it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import psycopg
import pytest
from psycopg import conninfo

from evtool.bulk.framing import Format
from evtool.bulk.importing import ImportOptions, import_files
from evtool.bulk.opening import Source
from evtool.errors import InvalidArgument, InvalidResource, StoreTimeout
from tests.bulk.imports.conftest import Shop, resource


def in_zone(shop: Shop, zone: str) -> Shop:
    """Imports, and the test's own session, in a zone."""
    shop.run(f"SET timezone = '{zone}'")
    return dataclasses.replace(shop, dsn=conninfo.make_conninfo(shop.dsn, options=f"-c timezone={zone}"))


def test_times_of_defaults_checks_and_triggers_are_the_roles(shop: Shop) -> None:
    """In which zone they look at a moment is the role's or the database's; what the file's texts mean is not."""
    tokyo = in_zone(shop, "Asia/Tokyo")
    things = shop.table(
        "id integer PRIMARY KEY, at timestamptz CHECK (extract(hour FROM at) BETWEEN 9 AND 17),"
        " span tstzrange, hours text[] DEFAULT ARRAY[current_setting('timezone')]"
    )
    shop.run(
        "CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN NEW.hours := NEW.hours || current_setting('timezone') || NEW.at::text; RETURN NEW; END $$"
    )
    shop.run("CREATE TRIGGER look BEFORE INSERT ON things FOR EACH ROW EXECUTE FUNCTION look()")
    content = (
        b"id,at,span\n"
        b'1,2024-01-01T00:30:00Z,"[2024-01-01 00:00:00,)"\n'
        b"2,2024-01-01T12:00:00Z,\n"
        b"3,2024-01-01T01:00:00,\n"
    )
    assert tokyo.load(things, content, "file.csv").codes == {3: ["invalid_at"]}
    assert shop.rows("SELECT id, hours, lower(span) = '2024-01-01Z' FROM things ORDER BY id") == [
        (1, ["Asia/Tokyo", "Asia/Tokyo", "2024-01-01 09:30:00+09"], True),
        (3, ["Asia/Tokyo", "Asia/Tokyo", "2024-01-01 10:00:00+09"], None),
    ]


@pytest.mark.thorough(but=["*csv"])
@pytest.mark.parametrize("name", ["file.csv", "file.ndjson"])
@pytest.mark.parametrize(
    ("type_", "held", "other", "spellings"),
    [
        ("numeric(5,1)", "1.1", "1.3", ["1.12", "1.06", "1.1"]),
        ("numeric(5,-2)", "100", "300", ["120", "50", "100"]),
        ("timestamptz(0)", "2024-01-01T00:00:00Z", "2024-01-01T00:00:05Z", ["2024-01-01T00:00:00.2Z", "2023-12-31T23:59:59.8Z"]),
        ("timestamp(3)", "2024-01-01T00:00:00.001", "2024-01-01T00:00:05", ["2024-01-01T00:00:00.0012"]),
        ("time(0)", "10:00:00", "11:00:00", ["10:00:00.3"]),
        ("interval(0)", "00:00:01", "00:00:09", ["00:00:01.4", "00:00:00.6"]),
        ("char(5)", "ab", "xy", ["ab", "ab   "]),
    ],
)  # fmt: skip
def test_values_are_compared_as_the_column_keeps_them(
    shop: Shop, name: str, type_: str, held: str, other: str, spellings: list[str]
) -> None:
    """Parents are found, keys are taken, and records are replaced, by what is left of a value in the table."""

    def content(*rows: tuple[object, str]) -> bytes:
        if name.endswith("csv"):
            return ("id,v\n" + "".join(f'{id_},"{value}"\n' for id_, value in rows)).encode()
        quote = "" if type_.startswith("numeric") else '"'
        return "".join(f'{{"id":{id_},"v":{quote}{value}{quote}}}\n' for id_, value in rows).encode()

    parents = shop.table(f"id integer, v {type_} PRIMARY KEY", "parents")
    children = shop.table(f"id integer PRIMARY KEY, v {type_} REFERENCES parents", "children")
    shop.load(parents, content((1, held)), name)
    rows = list(enumerate(spellings, 2))
    loaded = shop.load(children, content(*rows), name)
    assert loaded.codes == {}, loaded.rejects
    assert {len(one["errors"]) for one in shop.load(parents, content(*rows), name).rejects} == {1}
    refused = shop.load(parents, content((1, other), *rows), name, batch=2)
    assert {code for codes in refused.codes.values() for code in codes} == {"duplicate_v"}
    assert len(refused.codes) == len(rows)
    assert shop.load(parents, content(*rows), name, upsert=True).report.updated == len(rows)
    assert shop.rows("SELECT count(*), max(id) FROM parents") == [(2, rows[-1][0])]


def test_elements_of_arrays_are_rounded_too(shop: Shop) -> None:
    """A file of records that replace those of their keys replaces them as often as it is imported; texts stay whole."""
    things = shop.table("a integer UNIQUE NOT NULL, w numeric(4,1)[] PRIMARY KEY, t varchar(3)[]")
    for _ in range(2):
        imported = shop.load(things, b'a,w,t\n1,[1.14],"[""abc""]"\n2,[1.16],\n', "file.csv", upsert=True, restart=True)
        assert imported.codes == {}
    assert imported.report.updated == 2
    codes = shop.load(things, b'a,w,t\n3,[2],"[""abcd""]"\n4,[12345],\n', "file.csv").codes
    assert list(codes) == [2, 3]
    assert shop.rows("SELECT a, w::text FROM things ORDER BY a") == [(1, "{1.1}"), (2, "{1.2}")]


def test_what_is_written_as_the_database_does_comes_back(shop: Shop) -> None:
    """The end of a day, and zones with seconds, as PostgreSQL writes them."""
    things = shop.table("id integer PRIMARY KEY, t time, z timetz")
    content = b"id,t,z\n1,24:00:00,24:00:00+00\n2,23:59:59.5,12:00:00+01:15:30\n3,24:00,24:00:01Z\n"
    assert shop.load(things, content, "file.csv").codes == {4: ["invalid_t", "invalid_z"]}
    assert shop.rows("SELECT t::text, z::text FROM things ORDER BY id") == [
        ("24:00:00", "24:00:00+00"),
        ("23:59:59.5", "12:00:00+01:15:30"),
    ]


@pytest.mark.parametrize(
    "definition",
    [
        "id integer GENERATED BY DEFAULT AS IDENTITY (MINVALUE 10 MAXVALUE 20) PRIMARY KEY",
        "id numeric DEFAULT nextval('{}.numbers') PRIMARY KEY",
        "id text DEFAULT nextval('{}.numbers') PRIMARY KEY",
    ],
)
def test_a_sequence_that_does_not_go_so_far_stays(shop: Shop, definition: str) -> None:
    """What it can't say is no reason to end an import of which every record is in the table."""
    shop.run("CREATE SEQUENCE numbers MAXVALUE 5")
    things = shop.table(definition.format(shop.schema))
    if "numbers" in definition:
        shop.run("ALTER SEQUENCE numbers OWNED BY things.id")
    assert shop.load(things, b"id\n100\n", "file.csv").report.inserted == 1
    assert shop.values("INSERT INTO things DEFAULT VALUES RETURNING id::text") == [
        "10" if "IDENTITY" in definition else "1"
    ]


@pytest.mark.parametrize(("increment", "ids", "next_"), [(1, (5, 50), 51), (-1, (-5, -50), -51), (10, (5, 55), 65)])
def test_a_sequence_goes_on_beyond_what_came(shop: Shop, increment: int, ids: tuple[int, int], next_: int) -> None:
    """In its own direction, also where others have private sequences."""
    things = shop.table(f"id integer GENERATED BY DEFAULT AS IDENTITY (INCREMENT {increment}) PRIMARY KEY, n integer")
    shop.load(things, f"id,n\n{ids[0]},1\n{ids[1]},2\n".encode(), "file.csv")
    assert shop.values("INSERT INTO things (n) VALUES (3) RETURNING id") == [next_]
    shop.load(things, f"id,n\n{ids[0] + (1 if increment > 0 else -1)},1\n".encode(), "file.csv")
    assert abs(shop.values("INSERT INTO things (n) VALUES (4) RETURNING id")[0]) > abs(next_)


def test_a_table_that_somebody_has_locked_is_no_fault_of_the_resource(shop: Shop) -> None:
    """Whoever waits too long at the start is told of that, and the same command works later."""
    things = shop.table("id integer PRIMARY KEY")
    hurried = dataclasses.replace(shop, dsn=conninfo.make_conninfo(shop.dsn, options="-c lock_timeout=100ms"))
    hurried.load(things, b"id\n1\n", "file.csv")
    with psycopg.connect(shop.dsn) as other:
        other.execute(f"LOCK TABLE {shop.schema}.things IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(StoreTimeout):
            hurried.load(things, b"id\n2\n", "other.csv")
    assert hurried.load(things, b"id\n2\n", "other.csv").codes == {}


def test_a_rule_that_is_no_sql_is_told_by_its_resource(shop: Shop) -> None:
    """The error names the resource and the table, and where to look."""
    shop.run("CREATE TABLE things (id integer PRIMARY KEY)")
    described = resource(
        shop.schema,
        name="things",
        key=["id"],
        columns=[{"name": "id", "type": "integer"}],
        rules=[{"code": "odd", "field": "id", "expression": "id + * 2"}],
    )
    with pytest.raises(InvalidResource, match=rf"things fails on {shop.schema}\.things: syntax error") as caught:
        shop.load(described, b"id\n1\n", "file.csv")
    assert "rules" in (caught.value.hint or "")


def test_paths_may_be_paths(shop: Shop) -> None:
    """One or several, as texts or as paths; a generator of sources; and a format that is none is refused."""
    things = shop.table("id integer PRIMARY KEY")
    files = []
    for number in range(4):
        files.append(shop.folder / f"{number}.csv")
        files[-1].write_text(f"id\n{number}\n0\n")
    reports = import_files(
        shop.dsn,
        (Source(things, paths) for paths in (files[0], str(files[1]), [files[2], str(files[3])])),
    )
    refused = shop.folder / "refused.csv"
    import_files(shop.dsn, [Source(things, files)], reject_file=refused)
    assert len(refused.read_text().splitlines()) == 9
    with pytest.raises(InvalidArgument, match="share a file"):
        import_files(shop.dsn, [Source(things, files[0]), Source(things, files[1])], reject_file=refused)
    assert [(one.inserted, one.rejected) for one in reports] == [(1, 1), (1, 1), (2, 2)]
    assert isinstance(Source(things, Path("x")).paths[0], str)
    with pytest.raises(InvalidArgument, match="no format"):
        ImportOptions(format="csv")  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="no rejects"):
        ImportOptions(max_rejects=-1)
    assert ImportOptions(format=Format.CSV).batch
