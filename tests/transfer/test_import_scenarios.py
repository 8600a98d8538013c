"""What a developer does with an import, on the command line, on every store: the scenarios that the project began with.

Those of an export are in test_export_scenarios.py; test_first_scenarios.py says which test holds which.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from evtool.stores.postgres import PostgresStore
from tests.cli.running import Cli, assert_one_line
from tests.transfer.lines import line, lines

_COUNT = 3456
_MANY = 8000
"""More than a store takes for few."""


@pytest.fixture(scope="module", params=["postgres", "sqlite", "lmdb"])
def database(
    request: pytest.FixtureRequest, dsn: str, shared_store: PostgresStore, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """The DSN of a migrated store."""
    if request.param == "postgres":
        assert shared_store.namespace
        return dsn
    made = f"{request.param}://{tmp_path_factory.mktemp('imports') / 'store'}"
    Cli(made, "message_store")("migrate").ok()
    return made


@pytest.fixture
def local(database: str) -> Iterator[Cli]:
    """A fresh namespace."""
    cli = Cli(database, "import_scenarios")
    cli("ns", "create", "import_scenarios").ok()
    yield cli
    cli("ns", "delete", "import_scenarios", "--yes").ok()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of more than three thousand messages, at every second position from 11 on."""
    path = tmp_path / "events.ndjson"
    path.write_bytes(lines(range(11, 11 + 2 * _COUNT, 2)))
    return path


def _positions(cli: Cli) -> list[int]:
    return [json.loads(text)["gpos"] for text in cli("export").ok().stdout.splitlines()]


@pytest.mark.thorough(but=["postgres-*-plain", "sqlite-a file-gzip", "lmdb-standard input-gzip"])
@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("way", ["a file", "standard input"])
def test_a_file_and_standard_input_are_imported(local: Cli, file: Path, compressed: bool, way: str) -> None:
    """Compressed or not, which is told by the content and not by the name; and it is said how many there were."""
    content = file.read_bytes()
    if compressed:
        file.write_bytes(gzip.compress(content))
    done = (local("import", "--input", file) if way == "a file" else local("import", stdin=file.read_bytes())).ok()
    assert done.out == ""
    last = 9 + 2 * _COUNT
    assert re.fullmatch(
        rf"Done\. {_COUNT} events imported in \d+\.\ds, the last at global position {last}\.\n", done.err
    )
    assert _positions(local) == list(range(11, 11 + 2 * _COUNT, 2))


def test_progress_is_told_every_thousand_messages_and_at_the_end(local: Cli, file: Path) -> None:
    """As the events that the plan gives, one a line: how many, and the global position of the last."""
    *events, done = local("import", "-i", file, "--progress", "json").ok().err.splitlines()
    assert events == [f'{{"imported":{n},"gpos":{9 + 2 * n}}}' for n in (1000, 2000, 3000)]
    assert re.fullmatch(rf'\{{"done":true,"imported":{_COUNT},"elapsed":"\d+\.\ds"\}}', done)


@pytest.mark.thorough(but=["postgres-for people-*"])
@pytest.mark.parametrize(
    ("wrong", "code", "name"),
    [
        (b'{"id":\n', 1, "INVALID_JSON"),
        (line(9_000, time="2025-07-32T10:00:00Z"), 1, "INVALID_TIME"),
        (line(9_000, gpos="9000"), 1, "INVALID_RECORD"),
        (line(3050, id="00000000-0000-4000-8000-000000000001", stream="a-1"), 4, "POSITION_EXISTS"),
        (line(11, id="00000000-0000-4000-8000-000000000001", stream="a-1"), 4, "POSITION_EXISTS"),
    ],
    ids=["json", "time", "record", "position in the namespace", "position in the file"],
)
@pytest.mark.parametrize("events", [False, True], ids=["for people", "as events"])
def test_a_wrong_line_ends_an_import_by_its_number_and_nothing_stays(
    local: Cli, file: Path, wrong: bytes, code: int, name: str, events: bool
) -> None:
    """Also when thousands of right lines came before it; what was there already is as it was."""
    local("import", stdin=line(3050, stream="there-1")).ok()
    before = local("export").ok().stdout
    good = file.read_bytes().splitlines(keepends=True)[:1500]
    done = local("import", *(["--progress", "json"] if events else []), stdin=b"".join([*good, wrong, line(9_001)]))
    if events:
        told = json.loads(done.err.splitlines()[-1])
        assert (done.code, told["error"], told["line"]) == (code, name, 1501)
        assert name != "POSITION_EXISTS" or re.search(r"global position (3050|11) already exists", told["message"])
    else:
        assert_one_line(done, code, f"{name}: line 1501: ")
    assert local("export").ok().stdout == before


def test_nothing_at_all_is_imported_without_an_error(local: Cli) -> None:
    """An empty body is an import of no messages."""
    assert local("import").ok().err.startswith("Done. 0 events imported in ")
    assert local("import", stdin=gzip.compress(b"")).ok().err.startswith("Done. 0 events imported in ")
    assert _positions(local) == []


def test_positions_far_apart_are_kept(local: Cli) -> None:
    """Gaps are normal, in a stream as among all messages; the next write lands above them."""
    sparse = [47, 52, 89, 134, 10**12, 2**53 + 1]
    local("import", stdin=lines(sparse)).ok()
    assert _positions(local) == sparse
    local("write", "account-2", "Opened").ok()
    assert _positions(local) == [*sparse, 2**53 + 2]


def test_text_in_any_script_is_kept(local: Cli) -> None:
    """In names and in data, whatever the terminal thinks of it."""
    names = {"stream": "konto-Zoë 漢字", "type": "Eröffnet😀", "data": {"\u202e": "\u0085\x7f é e\u0301"}}
    local("import", stdin=line(1, **names)).ok()
    found = json.loads(local("read", "konto-Zoë 漢字").ok().stdout)
    assert {name: found[name] for name in names} == names


def test_batches_are_kept_where_they_are_asked_for(local: Cli, file: Path) -> None:
    """Every thousand messages for itself: a wrong line leaves those before it, and the mended file goes on behind."""
    good = file.read_bytes()
    file.write_bytes(good + b"nope\n")
    assert_one_line(local("import", "-i", file, "--batch-size", "1000"), 1, f"INVALID_JSON: line {_COUNT + 1}")
    assert len(_positions(local)) == 3000
    file.write_bytes(good)
    local("import", "-i", file, "--on-conflict", "skip").ok()
    assert len(_positions(local)) == _COUNT


def test_v_says_which_way_an_import_takes(database: str, local: Cli, tmp_path: Path) -> None:
    """Which, and why: into an empty namespace, into one with messages, and in place of all that is there."""
    file = tmp_path / "many.ndjson"
    file.write_bytes(lines(range(1, _MANY)))
    ways = {
        "sqlite": ("without indexes: the namespace is empty", "into the indexes: the", "without indexes: everything"),
        "lmdb": ("beside the old: the namespace is empty", "in one transaction: the namespace has", "old: everything"),
    }
    empty, filled, replaced = ways.get(database.partition(":")[0], ("without indexes", "into the indexes", "without"))
    assert empty in local("import", "-v", "-i", file).ok().err
    assert filled in local("import", "-v", stdin=line(10**6)).ok().err
    assert replaced in local("import", "-v", "-i", file, "--force", "--yes").ok().err
    assert "loading" not in local("import", stdin=line(10**6)).ok().err


def test_a_store_that_is_not_there_is_said(tmp_path: Path) -> None:
    """A server that does not answer is exit code 3, a folder without a store says what to run; one line each."""
    assert_one_line(Cli("host=127.0.0.1 port=1 dbname=none", "none")("import", stdin=line(1)), 3, "STORE_UNREACHABLE")
    for scheme in ("sqlite", "lmdb"):
        nowhere = Cli(f"{scheme}://{tmp_path / 'nowhere'}", "none")
        assert_one_line(nowhere("import", stdin=line(1)), 1, "evtool migrate")
    assert not list(tmp_path.iterdir())
