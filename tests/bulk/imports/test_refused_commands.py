"""evtool bulk import and init where a slip of the command line, or a missing privilege, must cost nothing."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from psycopg import conninfo

from tests.bulk.imports.conftest import Shop
from tests.bulk.imports.test_options import GOOD, HEADER, run
from tests.cli.running import Cli, assert_one_line


@pytest.mark.parametrize("dry", [True, False])
def test_rejects_do_not_take_the_place_of_what_is_imported(shop: Shop, dry: bool) -> None:
    """Under no name, and as no standard input: the good records would be nowhere any more, after a dry run."""
    source = shop.folder / "in.csv"
    content = (HEADER + GOOD.format(",a") + ",b@x.org,N,boss,true\n").encode()
    source.write_bytes(content)
    (shop.folder / "linked.csv").symlink_to(source)
    named = shop.folder / "in.users.csv"
    named.write_bytes(content)
    options = ["--dry-run"] if dry else []
    for rejects in (source, shop.folder / "linked.csv", shop.folder / "." / ".." / shop.folder.name / "in.csv"):
        done = run(shop, "users", source, "--reject-file", rejects, *options)
        assert_one_line(done, 2, "INVALID_ARGUMENT", "would be written over")
    done = run(shop, "users", named, "articles", shop.folder / "none.csv", "--reject-file", source, *options)
    assert_one_line(done, 2, "INVALID_ARGUMENT", f"over {named}")
    with source.open("rb") as stdin:
        command = ("bulk", "import", "users", "-", "--schema", shop.schema, "--reject-file", source)
        with Cli(shop.dsn).start(*command, stdin=stdin) as process:
            assert b"over standard input" in process.communicate(timeout=60)[1]
            assert process.returncode == 2
    assert source.read_bytes() == named.read_bytes() == content
    assert shop.values("SELECT count(*) FROM users") == [0]


def test_rejects_of_json_have_the_columns_that_are_to_be_filled_in(shop: Shop) -> None:
    """A field that was missing in every record is what must be mended: the file of rejects has it."""
    source, target = shop.folder / "in.ndjson", shop.folder / "refused.csv"
    source.write_text('{"email":null,"name":"N","active":true}\n')
    assert run(shop, "users", source, "--reject-file", target).code == 5
    assert next(csv.reader(target.read_text().splitlines()))[:4] == ["email", "name", "role", "active"]


@pytest.mark.parametrize("schema", ["", "x" * 64])
def test_a_schema_that_has_no_name_is_refused(shop: Shop, schema: str) -> None:
    """PostgreSQL would cut a name to fit, without a word."""
    done = Cli(shop.dsn)("bulk", "init", "--schema", schema)
    assert_one_line(done, 1, "NAMESPACE_REFUSED", "1 to 63 bytes")


def test_a_privilege_that_an_import_lacks_is_told_in_its_words(shop: Shop) -> None:
    """What an import takes is said, and not what a namespace of events would."""
    role = f"importer_{shop.schema}"
    shop.run(f"CREATE ROLE {role}")
    shop.run(f"GRANT USAGE ON SCHEMA {shop.schema}, evtool_bulk TO {role}")
    shop.run(f"GRANT INSERT, SELECT ON {shop.schema}.comments TO {role}")
    dsn = conninfo.make_conninfo(shop.dsn, options=f"-c role={role}")
    path = shop.folder / "comments.csv"
    path.write_text(
        "id,article_id,user_id,body\nc,0b1e6d3c-7f1a-4a57-9d35-9f6f0c2b1a11,0b1e6d3c-7f1a-4a57-9d35-9f6f0c2b1a12,B\n"
    )
    done = Cli(dsn)("bulk", "import", "comments", path, "--schema", shop.schema)
    assert done.code == 1
    assert "SELECT on it and on those that it refers to" in done.err
    assert "<schema>_reader" not in done.err
    shop.run(f"DROP OWNED BY {role}")
    shop.run(f"DROP ROLE {role}")


def test_rejects_do_not_take_the_place_of_a_resource_file(shop: Shop) -> None:
    """What describes the table is read, too."""
    described = shop.folder / "things.toml"
    content = 'name = "things"\nkey = ["id"]\n[[columns]]\nname = "id"\ntype = "integer"\n'
    described.write_text(content)
    shop.run("CREATE TABLE things (id integer PRIMARY KEY)")
    (shop.folder / "in.csv").write_text("id\nx\n")
    done = run(shop, described, shop.folder / "in.csv", "--reject-file", described)
    assert done.code == 2
    assert "written over the resource file" in done.err
    assert described.read_text() == content


def test_rejects_of_several_resources_may_go_nowhere(shop: Shop) -> None:
    """A device, or a pipe, is what was named, and no folder in which files are made."""
    for name, text in (("u.csv", HEADER + "x"), ("a.csv", "id,slug,title,body,author_id\nx")):
        (shop.folder / name).write_text(text)
    done = run(shop, "users", shop.folder / "u.csv", "articles", shop.folder / "a.csv", "--reject-file", "/dev/null")
    assert done.code == 5
    assert not list(Path("/dev").glob("null.*"))
