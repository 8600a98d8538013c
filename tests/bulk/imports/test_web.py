"""Files that are on the web: fetched, and imported like any other."""

from __future__ import annotations

import gzip
from collections.abc import Iterator

import pytest

from evtool.bulk.importing import ImportOptions, import_files
from evtool.bulk.opening import Source
from tests.bulk.imports.conftest import Shop
from tests.bulk.jobs.web import Web
from tests.cli.running import Cli, assert_one_line

CONTENT = ("id,value\n" + "".join(f"{number},{number}\n" for number in range(1, 2001)) + "x,1\n").encode()


@pytest.fixture
def web() -> Iterator[Web]:
    """A server that has the file."""
    with Web(CONTENT) as server:
        yield server


@pytest.mark.parametrize("content", [CONTENT, gzip.compress(CONTENT, mtime=0)], ids=["plain", "gzip"])
def test_a_url_is_a_file(shop: Shop, web: Web, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its records are imported, what is refused is told by the URL without its query, and no file is left."""
    shop.table("id integer PRIMARY KEY, value integer")
    web.content = content
    own = shop.folder / "own"
    own.mkdir()
    monkeypatch.setenv("TMPDIR", str(own))
    refused = shop.folder / "refused.ndjson"
    table = f"{shop.schema}.things"
    done = Cli(shop.dsn)("bulk", "import", "--table", table, web.url("/f.csv?secret=1"), "--reject-file", refused)
    assert done.code == 5, done.err
    assert shop.rows("SELECT count(*), sum(value) FROM things") == [(2000, 2001000)]
    assert shop.values("SELECT source FROM evtool_bulk.imports ORDER BY import_id DESC LIMIT 1") == [web.url("/f.csv")]
    assert "secret" not in refused.read_text()
    assert list(own.iterdir()) == []


def test_a_connection_that_breaks_is_gone_on_with(shop: Shop, web: Web) -> None:
    """Where the server hangs up, the rest is asked for, and no record is twice or missing."""
    described = shop.table("id integer PRIMARY KEY, value integer")
    web.cut_after = 15000
    (report,) = import_files(shop.dsn, [Source(described, (web.url(),))], ImportOptions(batch=100))
    assert (report.inserted, report.rejected) == (2000, 1)
    assert web.requests[0] is None
    assert web.requests[1] == "bytes=15000-"


@pytest.mark.parametrize(
    ("url", "part"),
    [("http://u:p@localhost/f.csv", "password"), ("ftp://localhost/f.csv", "not by ftp"), ("http:///f.csv", "no host")],
)
def test_a_url_that_can_t_be_had_is_one_line(shop: Shop, url: str, part: str) -> None:
    """What is no source is said in a line, and without a password."""
    shop.table("id integer PRIMARY KEY")
    done = Cli(shop.dsn)("bulk", "import", "--table", f"{shop.schema}.things", url)
    assert_one_line(done, 1, "SOURCE_REFUSED", part)
    assert "u:p" not in done.err


def test_a_file_that_the_server_has_not(shop: Shop, web: Web) -> None:
    """The server's answer is told, and nothing is imported."""
    described = shop.table("id integer PRIMARY KEY, value integer")
    web.answers["/gone.csv"] = lambda request: request.send_error(404)
    done = Cli(shop.dsn)("bulk", "import", "--table", f"{described.schema}.things", web.url("/gone.csv"))
    assert_one_line(done, 1, "SOURCE_REFUSED", "404")
