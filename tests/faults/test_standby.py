"""A standby: it reads, and says of everything else what it takes."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from evtool import embedded
from evtool.stores.postgres import PostgresStore
from evtool.testing.contract.helping import file_of
from tests.cli.running import Cli, assert_one_line
from tests.transfer.lines import line, lines


@pytest.fixture(scope="module")
def standby() -> Iterator[tuple[Cli, bytes]]:
    """A server that recovers and never ends to, as a standby does; and what an export of it would have been."""
    with embedded.temporary() as server:
        with PostgresStore(server.dsn) as store:
            store.migrate()
            Cli(server.dsn, "message_store")("import", stdin=lines(range(1, 100))).ok()
            whole = file_of(store)
        server.stop()
        signal = server.directory / "standby.signal"
        signal.touch()
        owner = (server.directory / "PG_VERSION").stat()
        os.chown(signal, owner.st_uid, owner.st_gid)
        server.start()
        yield Cli(server.dsn, "message_store"), whole


@pytest.mark.parametrize(
    "command",
    ["export", "export --jobs 2", "export --categories account", "read --all", "tail", "tail --once"],
    ids=lambda text: text,
)
def test_what_has_to_be_gap_safe_asks_for_the_primary(standby: tuple[Cli, bytes], command: str) -> None:
    """Whether a writer is still busy can't be told here, so that nothing is exported, rather than something missed."""
    done = standby[0](*command.split())
    assert_one_line(
        done, 1, "SERVER_UNSUITABLE", "A standby can't tell which writers are still busy", "Ask the primary"
    )
    assert done.stdout == b""


@pytest.mark.parametrize(
    "command",
    ["import", "import --dry-run", "import --on-conflict skip", "import --force --yes", "import --batch-size 10"],
    ids=lambda text: text,
)
def test_an_import_asks_for_the_primary(standby: tuple[Cli, bytes], command: str) -> None:
    """One line that says so, however it would have been done."""
    assert_one_line(standby[0](*command.split(), stdin=line(1000)), 1, "SERVER_UNSUITABLE", "connect to the primary")


def test_streams_and_categories_are_read(standby: tuple[Cli, bytes]) -> None:
    """What a standby is for."""
    cli, whole = standby
    assert cli("read", "account-1").ok().stdout == whole
    assert cli("read", "--category", "account").ok().stdout == whole
    assert cli("tail", "account-1", "--once", "--position", "0").ok().stdout == whole
    assert (
        cli("tail", "--category", "account", "--once", "--lines", "1").ok().stdout
        == whole.splitlines(keepends=True)[-1]
    )
    assert cli("streams").ok().out == "account-1\t98\n"
    assert "99" in cli("categories").ok().out
    assert "last position:  99\n" in cli("stats").ok().out
