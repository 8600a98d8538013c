"""evtool bulk import and init as people type them: options, reports, exit codes, files of rejects."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import psycopg
import pytest
from psycopg import conninfo

from evtool.bulk.importing import import_files
from evtool.errors import InvalidDsn
from tests.bulk.imports.conftest import Shop
from tests.cli.running import Cli, assert_one_line

HEADER = "id,email,name,role,active\n"
GOOD = "{}@x.org,N,reader,true\n"


@pytest.fixture
def users(shop: Shop) -> Path:
    """A thousand users, of whom twenty are refused, three of them twice over."""
    rows = []
    for number in range(1, 1001):
        role, name = "reader", "N"
        if number % 50 == 0:
            role = "boss"
        if number in {50, 500, 1000}:
            name = ""
        rows.append(f",u{number}@x.org,{name},{role},true\n")
    path = shop.folder / "users.csv"
    path.write_text(HEADER + "".join(rows))
    return path


def run(shop: Shop, *arguments: str | Path, stdin: bytes = b""):  # type: ignore[no-untyped-def] # noqa: ANN201
    return Cli(shop.dsn)("bulk", "import", *arguments, "--schema", shop.schema, stdin=stdin)


def test_the_report_as_json(shop: Shop, users: Path) -> None:
    """One object a resource on stdout, with the fields that are documented, in their order; exit code 5."""
    done = run(shop, "users", users, "--report", "json")
    assert done.code == 5
    report = json.loads(done.out)
    assert report.pop("elapsed").endswith("s")
    assert list(report.items()) == [
        ("resource", "users"), ("total", 1000), ("accepted", 980), ("inserted", 980), ("updated", 0), ("rejected", 20),
        ("errors", 23), ("by_code", {"invalid_role": 20, "name_required": 3}), ("failed_batches", []), ("kept", True),
    ]  # fmt: skip


def test_the_report_for_people_and_exit_code_0(shop: Shop) -> None:
    """Where nothing is refused the exit code is 0, and the report is a line."""
    done = run(shop, "users", "-", stdin=(HEADER + ",a@x.org,A,admin,true\n").encode()).ok()
    assert done.out.startswith("users: 1 record in ")
    assert done.out.endswith(": 1 inserted, 0 rejected\n")


def test_a_dry_run_says_everything_and_keeps_nothing(shop: Shop, users: Path) -> None:
    """The report and the rejects are those of the real import, which comes after it as if nothing had been."""
    dry = run(shop, "users", users, "--dry-run", "--report", "json", "--reject-file", shop.folder / "dry.ndjson")
    assert shop.rows("SELECT FROM users") == []
    real = run(shop, "users", users, "--report", "json", "--reject-file", shop.folder / "real.ndjson")
    assert dry.code == real.code == 5
    assert json.loads(dry.out)["kept"] is False
    assert {**json.loads(dry.out), "elapsed": "", "kept": True} == {**json.loads(real.out), "elapsed": ""}
    assert (shop.folder / "dry.ndjson").read_bytes() == (shop.folder / "real.ndjson").read_bytes()


@pytest.mark.parametrize(("limit", "kept"), [("5", 294), ("1.9%", 98), ("0", 98)])
def test_max_errors_stops_after_the_batch(shop: Shop, users: Path, limit: str, kept: int) -> None:
    """More refused records than allowed end the import with exit code 1; the batches before are in, and are gone on with."""
    done = run(shop, "users", users, "--max-errors", limit, "--batch-size", "100", "--report", "json")
    assert done.code == 1
    assert "TOO_MANY_REJECTS" in done.err
    assert json.loads(done.out)["inserted"] == kept
    assert shop.rows("SELECT count(*) FROM users") == [(kept,)]
    again = run(shop, "users", users, "--max-errors", limit, "--batch-size", "100", "--report", "json")
    assert again.code == 1
    assert {**json.loads(again.out), "elapsed": ""} == {**json.loads(done.out), "elapsed": ""}
    assert shop.rows("SELECT count(*) FROM users") == [(kept,)]
    done = run(shop, "users", users, "--max-errors", "20", "--report", "json")
    assert json.loads(done.out)["inserted"] == 980


def test_max_errors_holds_at_the_end_of_a_file(shop: Shop) -> None:
    """A file of which too much is refused in its last batch is refused as often as it is tried."""
    path = shop.folder / "bad.csv"
    path.write_text("id,email,name,role,active\n" + "x,y,z,boss,perhaps\n" * 9)
    for _ in range(3):
        done = run(shop, "users", path, "--max-errors", "8")
        assert done.code == 1
        assert "TOO_MANY_REJECTS" in done.err
    assert run(shop, "users", path, "--max-errors", "9").code == 5


def test_atomic_is_all_or_nothing(shop: Shop, users: Path) -> None:
    """With --atomic and --max-errors 0 a refused record leaves the table as it was, whatever the batches."""
    done = run(shop, "users", users, "--atomic", "--max-errors", "0", "--batch-size", "10", "--report", "json")
    assert done.code == 1
    assert json.loads(done.out)["kept"] is False
    assert shop.rows("SELECT FROM users") == []
    assert run(shop, "users", users, "--atomic", "--batch-size", "10").code == 5
    assert shop.rows("SELECT count(*) FROM users") == [(980,)]


def test_a_csv_of_rejects_is_mended_and_imported_again(shop: Shop, users: Path) -> None:
    """The rejects have the columns of the records and what is wrong; mended in place they are imported, and nothing else is."""
    target = shop.folder / "refused.csv"
    users.write_text(users.read_text() + "only,two\n")
    assert run(shop, "users", users, "--reject-file", target).code == 5
    rows = list(csv.DictReader(target.read_text().splitlines()))
    assert list(rows[0]) == ["id", "email", "name", "role", "active", "_line", "_errors", "_raw"]
    assert [int(row["_line"]) for row in rows] == [*range(51, 1002, 50), 1002]
    assert rows[0]["_raw"] == ",u50@x.org,,boss,true"
    assert {one["code"] for one in json.loads(rows[0]["_errors"])} == {"name_required", "invalid_role"}
    with target.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        for row in rows:
            writer.writerow({**row, "role": row["role"] and "author", "name": row["name"] or (row["email"] and "N")})
    done = run(shop, "users", target, "--report", "json")
    # the record that could not be taken apart is still not mended
    assert (json.loads(done.out)["inserted"], json.loads(done.out)["by_code"]) == (20, {"invalid_csv": 1})
    assert shop.rows("SELECT count(*) FROM users") == [(1000,)]


def test_a_csv_of_rejects_is_refused_until_it_is_mended(shop: Shop) -> None:
    """What the report can only describe (bytes that aren't UTF-8, a NUL, the beginning of 8 MiB) is no record to import."""
    source, target = shop.folder / "users.csv", shop.folder / "refused.csv"
    long = b"c@x.org," + b"x" * (9 << 20) + b",reader,true\n"
    source.write_bytes(
        HEADER.encode() + b",a@x.org,caf\xe9,reader,true\n,b@x.org,n\0l,reader,true\nd@x.org,reader,true,\n," + long
    )
    for file, rejects in ((source, target), (target, shop.folder / "again.csv")):
        done = run(shop, "users", file, "--report", "json", "--reject-file", rejects)
        assert json.loads(done.out)["inserted"] == 0
        assert json.loads(done.out)["rejected"] == 4
        assert set(json.loads(done.out)["by_code"]) <= {"invalid_csv", "invalid_utf8", "invalid_role", "invalid_active"}


def test_rejects_of_several_files_leave_other_columns_alone(shop: Shop) -> None:
    """A CSV of rejects has the columns that the files have, and says which file; mended and upserted it changes no other."""
    shop.table("id integer PRIMARY KEY, a integer, note text, q integer CHECK (q > 0)")
    table = f"{shop.schema}.things"
    load = ["--table", table, "--mode", "upsert", "--format"]
    run(shop, *load, "csv", "-", stdin=b"id,a,note,q\n1,1,precious,1\n2,2,precious,2\n").ok()
    first, second, target = (shop.folder / name for name in ("one.csv", "two.csv", "refused.csv"))
    first.write_text("id,a,q\n1,10,0\n")
    second.write_text("q,id\n0,2\n")
    assert run(shop, *load[:4], first, second, "--reject-file", target).code == 5
    (header, *rows) = csv.reader(target.read_text().splitlines())
    assert header == ["id", "a", "q", "_file", "_line", "_errors", "_raw"]
    assert [(row[0], row[3], row[4]) for row in rows] == [("1", str(first), "2"), ("2", str(second), "2")]
    assert run(shop, *load[:4], first, second, "--reject-file", shop.folder / "r.ndjson", "--restart").code == 5
    assert run(shop, *load, "csv", "-", stdin=target.read_bytes().replace(b",0,", b",7,")).code == 0
    assert shop.rows("SELECT id, note, q FROM things ORDER BY id") == [(1, "precious", 7), (2, "precious", 7)]


def test_an_ndjson_of_rejects_of_several_files_is_imported_again(shop: Shop) -> None:
    """It says which file each is of, and that is passed over."""
    target = shop.folder / "refused.ndjson"
    files = [shop.folder / "a.ndjson", shop.folder / "b.ndjson"]
    for number, path in enumerate(files):
        path.write_text(f'{{"email":"{number}@x.org","name":"A","role":"boss","active":true}}\n')
    assert run(shop, "users", *files, "--reject-file", target).code == 5
    target.write_text(target.read_text().replace('\\"boss\\"', '\\"admin\\"'))
    run(shop, "users", target).ok()
    assert shop.values("SELECT role FROM users ORDER BY email") == ["admin", "admin"]


def test_an_ndjson_of_rejects_is_mended_and_imported_again(shop: Shop) -> None:
    """A reject has line, errors and raw; the record in raw is imported, once it is mended."""
    target = shop.folder / "refused.ndjson"
    records = '{"email":"a@x.org","name":"A","role":"boss","active":true}\n{"email":"b@x.org","name":"B","role":"author","active":true}\n'
    assert run(shop, "users", "-", "--reject-file", target, stdin=records.encode()).code == 5
    (reject,) = [json.loads(line) for line in target.read_text().splitlines()]
    assert reject == {
        "line": 1,
        "errors": [
            {
                "field": "role",
                "value": "boss",
                "code": "invalid_role",
                "message": "role must be admin, author or reader",
            }
        ],
        "raw": records.splitlines()[0],
    }
    target.write_text(target.read_text().replace('\\"boss\\"', '\\"admin\\"'))
    run(shop, "users", target).ok()
    assert shop.values("SELECT role FROM users ORDER BY email") == ["admin", "author"]


def test_several_resources_and_files_in_one_call(shop: Shop) -> None:
    """Each resource has its report and its own file of rejects; of several files the name is told."""
    user = "0b1e6d3c-7f1a-4a57-9d35-9f6f0c2b1a11"
    (shop.folder / "a.csv").write_text(
        "id,slug,title,body,author_id,status\n" + f",s,T,B,{user},draft\n,s,T,B,{user},draft\n"
    )
    (shop.folder / "u1.csv").write_text(HEADER + f"{user},a@x.org,A,admin,true\n")
    (shop.folder / "u2.csv").write_text(HEADER + ",A@x.org,A,admin,true\n")
    done = run(
        shop, "articles", shop.folder / "a.csv", "users", shop.folder / "u1.csv", shop.folder / "u2.csv",
        "--report", "json", "--reject-file", shop.folder / "refused.ndjson",
    )  # fmt: skip
    reports = [json.loads(line) for line in done.out.splitlines()]
    assert [(one["resource"], one["inserted"], one["by_code"]) for one in reports] == [
        ("users", 1, {"duplicate_email": 1}),
        ("articles", 1, {"duplicate_slug": 1}),
    ]
    (user_reject,) = (shop.folder / "refused.users.ndjson").read_text().splitlines()
    assert json.loads(user_reject)["file"] == str(shop.folder / "u2.csv")
    assert (shop.folder / "refused.articles.ndjson").exists()


def test_a_resource_file_of_one_s_own(shop: Shop) -> None:
    """A TOML file describes a table: its rules, defaults and codes hold."""
    shop.run("CREATE TABLE stock (sku text PRIMARY KEY, amount integer NOT NULL, added date NOT NULL)")
    path = shop.folder / "stock.toml"
    path.write_text(
        'name = "stock"\nkey = ["sku"]\n'
        '[[columns]]\nname = "sku"\ntype = "text"\nrequired = true\n'
        '[[columns]]\nname = "amount"\ntype = "integer"\nrequired = true\ninvalid = "amount_is_no_number"\n'
        '[[columns]]\nname = "added"\ntype = "date"\nnot_null = true\ndefault = "\'2024-01-01\'::date"\n'
        '[[rules]]\ncode = "amount_below_zero"\nfield = "amount"\nexpression = "amount >= 0"\n'
    )
    done = run(shop, path, "-", "--report", "json", stdin=b"sku,amount\na,1\nb,-1\nc,x\n")
    assert json.loads(done.out)["by_code"] == {"amount_below_zero": 1, "amount_is_no_number": 1}
    assert [str(one) for one in shop.values("SELECT added FROM stock")] == ["2024-01-01"]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("name = ", "not TOML"),
        ('name = "x"\n', "no columns"),
        ('name = "x"\nnosuch = 1\n', "unknown word nosuch"),
        ('name = "x"\nkey = ["b"]\n[[columns]]\nname = "a"\ntype = "text"\n', 'names "b"'),
        ('name = "x"\n[[columns]]\nname = "a"\n', "lacks type"),
        ('name = "x"\n[[columns]]\nname = "a"\ntype = "text"\nrequired = "yes"\n', "true or false"),
        ('name = "x"\n[[columns]]\nname = "a"\ntype = "text"\n[[columns]]\nname = "a"\ntype = "text"\n', "twice"),
        ('name = "x"\n[[columns]]\nname = "_a"\ntype = "text"\n', "_a"),
    ],
)
def test_a_resource_file_that_is_none_is_refused(shop: Shop, text: str, part: str) -> None:
    """What is wrong with a resource file is said in a line, with exit code 2."""
    path = shop.folder / "mine.toml"
    path.write_text(text)
    assert_one_line(run(shop, path, "-"), 2, "INVALID_RESOURCE", part)


@pytest.mark.parametrize(
    "arguments",
    [["nosuch", "file"], ["users"], ["users", "-", "articles", "-"], ["users", "-", "--max-errors", "many"],
     ["users", "-", "--max-errors", "101%"], ["users", "-", "--batch-size", "0"], ["users", "-", "--format", "xml"]],
    ids=" ".join,
)  # fmt: skip
def test_wrong_usage_is_exit_code_2(arguments: list[str]) -> None:
    """What is typed wrongly is said before any server is asked."""
    done = Cli("host=/nonexistent")("bulk", "import", *arguments)
    assert done.code == 2
    assert done.out == ""
    assert "Traceback" not in done.err


def test_what_is_not_there_is_named(shop: Shop) -> None:
    """A file, a table or a schema that isn't there is one line and its exit code."""
    assert_one_line(run(shop, "users", "/nonexistent/file.csv"), 1, "FILE")
    assert_one_line(run(shop, "--table", "nosuch", "-"), 2, "INVALID_RESOURCE", "there is no table nosuch")
    done = Cli(shop.dsn)("bulk", "import", "users", "-", "--schema", "nosuch", stdin=HEADER.encode())
    assert_one_line(done, 2, "there is no table nosuch.users", "evtool bulk init")


def test_init_makes_the_tables_once(shop: Shop) -> None:
    """The tables go into any schema, whatever its name; a second time there is nothing to do; evtool's own are refused."""
    cli = Cli(shop.dsn)
    name = f'{shop.schema} "other" one'
    assert cli("bulk", "init", "--schema", name).ok().err.endswith(": created.\n")
    assert cli("bulk", "init", "--schema", name).ok().err.endswith(": current.\n")
    done = cli("bulk", "import", "users", "-", "--schema", name, stdin=(HEADER + ",a@x.org,A,admin,true\n").encode())
    assert done.code == 0, done.err
    assert_one_line(cli("bulk", "init", "--schema", "evtool_bulk"), 1, "is not for tables")


def test_who_may_not_make_the_tables_is_told_what_is_missing(empty_dsn: str) -> None:
    """Of `bulk init` and of a first import: the right on the database, and the command that gives it."""
    with psycopg.connect(empty_dsn, autocommit=True) as admin:
        role = f"guest_{os.getpid()}"
        admin.execute(f"CREATE ROLE {role}")
        admin.execute("CREATE SCHEMA evtool; CREATE TABLE public.things (id integer PRIMARY KEY)")
        admin.execute(f"GRANT ALL ON public.things TO {role}")
        grant = f"GRANT CREATE ON DATABASE {admin.info.dbname} TO {role}"
        cli = Cli(conninfo.make_conninfo(empty_dsn, options=f"-c role={role}"))
        for arguments in (["init", "--schema", "shop"], ["import", "--table", "public.things", "-", "--format", "csv"]):
            done = cli("bulk", *arguments, stdin=b"id\r\n1\r\n")
            assert_one_line(
                done, 1, "PERMISSION_DENIED", "can't be made", f"what is missing: CREATE on the database: {grant}"
            )
            assert done.err.endswith(f"{grant}\n")
        admin.execute(grant)
        cli("bulk", "init", "--schema", "shop").ok()
        admin.execute("CREATE SCHEMA others")
        done = cli("bulk", "init", "--schema", "others")
        assert_one_line(
            done,
            1,
            "PERMISSION_DENIED",
            f"what is missing: CREATE on the schema: GRANT CREATE ON SCHEMA others TO {role}",
        )


def test_the_tables_hold_what_the_resources_say(shop: Shop) -> None:
    """Other writers meet the same rules as constraints, and the catalog describes the tables as importable."""
    for table in ("users", "articles", "comments", "posts"):
        done = run(shop, "--table", f"{shop.schema}.{table}", "-", "--format", "ndjson", stdin=b"")
        assert done.code == 0, done.err


def test_files_that_begin_alike_are_each_imported(shop: Shop, users: Path) -> None:
    """Of several files in one call none is taken for another that was imported before it, be they the same to the byte."""
    copy = shop.folder / "copy.csv"
    copy.write_bytes(users.read_bytes())
    report = json.loads(run(shop, "users", users, copy, "--report", "json").out)
    assert (report["total"], report["inserted"]) == (2000, 980)
    assert report["by_code"]["duplicate_email"] == 980
    assert shop.rows("SELECT count(*) FROM users") == [(980,)]


def test_a_dry_run_leaves_the_sequences_alone(shop: Shop) -> None:
    """Numbers that a file brings move the sequence of their column, but not in a dry run, nor where nothing is kept."""
    shop.run(f"CREATE TABLE {shop.schema}.things (id serial PRIMARY KEY, value integer)")
    (shop.folder / "file.csv").write_text("id,value\n900,1\n901,x\n")
    arguments = ("--table", "things", shop.folder / "file.csv")
    next_ = f"SELECT last_value, is_called FROM {shop.schema}.things_id_seq"
    assert run(shop, *arguments, "--dry-run").code == 5
    assert shop.rows(next_) == [(1, False)]
    assert run(shop, *arguments, "--atomic", "--max-errors", "0").code == 1
    assert shop.rows(next_) == [(1, False)]
    assert run(shop, *arguments).code == 5
    assert shop.rows(next_) == [(900, True)]


@pytest.mark.parametrize("dsn", ["sqlite:///folder", "lmdb:///folder"])
def test_a_store_without_a_server_is_told_what_is_needed(dsn: str) -> None:
    """Not that nobody knows its DSN, which the other commands do."""
    with pytest.raises(InvalidDsn, match="needs a PostgreSQL server"):
        import_files(dsn, [])
