"""What a developer does with an export, on the command line, on every store: the scenarios that the project began with.

What they ask of an import is held in test_import.py and test_import_options.py, the memory in tests/faults/test_memory.py,
lost connections in test_lost_connections.py.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evtool.stores.postgres import PostgresStore
from tests.cli.running import Cli
from tests.transfer.lines import line

Events = list[dict[str, Any]]

_UNICODE = {"name": "Zoë 😀 — 漢字 \u202e\u0085\x7f", "tab": '\t\n\r"\\/', "number": 12345678901234567890123}
_SPARSE = (47, 52, 89, 134, 10**6, 10**12, 2**53 + 1)


@pytest.fixture(scope="module", params=["postgres", "sqlite", "lmdb"])
def production(
    request: pytest.FixtureRequest,
    dsn: str,
    shared_store: PostgresStore,
    tmp_path_factory: pytest.TempPathFactory,
) -> Cli:
    """A namespace in which several services write to the same streams, at positions far apart. Not to be written to."""
    if request.param == "postgres":
        cli = Cli(dsn, shared_store.create_namespace("scenarios").name)
    else:
        cli = Cli(f"{request.param}://{tmp_path_factory.mktemp('scenarios') / 'store'}", "message_store")
        cli("migrate").ok()
    streams = ("workflow-123", "workflow-123", "order-456", "inventory-1", "order-456", "workflow-9", "order-7")
    cli(
        "import",
        stdin=b"".join(
            line(
                gpos,
                stream=streams[n],
                pos=n,
                type=f"Step{n}",
                data={**_UNICODE, "n": n},
                meta={"correlationStreamName": "workflow-123"} if n % 2 else None,
                time=f"2025-07-{10 + n}T10:00:00.00000{n}Z",
            )
            for n, gpos in enumerate(_SPARSE)
        ),
    ).ok()
    return cli


@pytest.fixture
def local(production: Cli) -> Iterator[Cli]:
    """A fresh namespace beside it, and so of the same store."""
    cli = Cli(production.dsn, f"{production.namespace}_local")
    cli("ns", "create", str(cli.namespace)).ok()
    yield cli
    cli("ns", "delete", str(cli.namespace), "--yes").ok()


def _events(content: bytes) -> Events:
    return [json.loads(text) for text in content.splitlines()]


def _positions(cli: Cli, *options: str) -> list[int]:
    return [event["gpos"] for event in _events(cli("export", *options).ok().stdout)]


def test_an_export_is_valid_ndjson(production: Cli) -> None:
    """Every line is a JSON object with the fields that a message has, and nothing else; the last one ends, too."""
    content = production("export").ok().stdout
    assert content.endswith(b"}\n")
    events = _events(content)
    assert [event["gpos"] for event in events] == list(_SPARSE)
    assert {tuple(event) for event in events} == {("id", "stream", "type", "pos", "gpos", "data", "meta", "time")}
    assert events[0]["meta"] is None
    assert events[1]["meta"] == {"correlationStreamName": "workflow-123"}
    assert events[3]["time"] == "2025-07-13T10:00:00.000003Z"


@pytest.mark.thorough(but=["postgres-*"])
@pytest.mark.parametrize(
    ("options", "chosen"),
    [
        ([], [0, 1, 2, 3, 4, 5, 6]),
        (["--categories", "workflow"], [0, 1, 5]),
        (["--categories", "workflow,order"], [0, 1, 2, 4, 5, 6]),
        (["--categories", "workflow", "--categories", "inventory"], [0, 1, 3, 5]),
        (["--categories", "nothing"], []),
        (["--since", "2025-07-13"], [3, 4, 5, 6]),
        (["--since", "2025-07-13T10:00:00.000003Z"], [3, 4, 5, 6]),
        (["--since", "2025-07-13T10:00:00.000004Z"], [4, 5, 6]),
        (["--until", "2025-07-13"], [0, 1, 2]),
        (["--until", "2025-07-13T12:00:00.000003+02:00"], [0, 1, 2]),
        (["--since", "2030-01-01"], []),
        (["--until", "2020-01-01"], []),
        (["--categories", "workflow,order", "--since", "2025-07-12", "--until", "2025-07-15"], [2, 4]),
        (["--categories", "order", "--since", "2030-01-01"], []),
        (["--streams", "workflow-123,order-7"], [0, 1, 6]),
        (["--types", "Step1,Step4,Nothing"], [1, 4]),
        (["--correlation", "workflow"], [1, 3, 5]),
        (["--from-position", "53", "--to-position", "134"], [2, 3]),
        (["--correlation", "workflow", "--streams", "workflow-9,order-7", "--from-position", "100"], [5]),
    ],
    ids=lambda value: " ".join(value) if value and isinstance(value[0], str) else "",
)
def test_filters_choose_what_they_say(production: Cli, options: list[str], chosen: list[int]) -> None:
    """Categories, times and the other filters, alone and together; what excludes everything is no error."""
    assert _positions(production, *options) == [_SPARSE[n] for n in chosen]


@pytest.mark.thorough(but=["postgres-*"])
@pytest.mark.parametrize("option", ["--categories", "--streams", "--types"])
@pytest.mark.parametrize("names", ["", ",", "workflow,", " "], ids=repr)
def test_a_filter_without_a_name_is_a_mistake(production: Cli, tmp_path: Path, option: str, names: str) -> None:
    """As when a shell's variable was empty: not everything, and not nothing, but wrong usage."""
    done = production("export", option, names, "-o", tmp_path / "events.ndjson")
    assert done.code == 2
    assert f"{option} has an empty name in it" in done.err
    assert not list(tmp_path.iterdir())
    done = production("export", "--correlation", "")
    assert (done.code, done.stdout) == (2, b"")


def test_gzip_is_a_valid_gzip(production: Cli, tmp_path: Path) -> None:
    """By option and by suffix, of the same lines."""
    plain = production("export").ok().stdout
    assert gzip.decompress(production("export", "--gzip").ok().stdout) == plain
    production("export", "-o", tmp_path / "events.ndjson.gz").ok()
    assert gzip.decompress((tmp_path / "events.ndjson.gz").read_bytes()) == plain


def test_standard_output_and_a_file_get_the_same(production: Cli, tmp_path: Path) -> None:
    """What is for people goes to stderr, and to a file nothing goes but lines."""
    done = production("export", "--output", tmp_path / "events.ndjson").ok()
    assert done.stdout == b""
    assert done.err.startswith("Done. 7 events exported in ")
    assert (tmp_path / "events.ndjson").read_bytes() == production("export").ok().stdout


@pytest.mark.thorough(but=["postgres-*", "sqlite-gzip", "lmdb-zstd"])
@pytest.mark.parametrize("options", [[], ["--gzip"], ["--zstd"]], ids=["plain", "gzip", "zstd"])
def test_an_export_and_its_import_are_the_same_messages(production: Cli, local: Cli, options: list[str]) -> None:
    """In every field, with the gaps between their positions, text in any script, and numbers to the last digit."""
    file = production("export", *options).ok().stdout
    local("import", stdin=file).ok()
    assert local("export").ok().stdout == production("export").ok().stdout
    events = _events(local("export").ok().stdout)
    assert events[0]["data"] == {**_UNICODE, "n": 0}
    assert b"12345678901234567890123" in local("export").ok().stdout


def test_a_slice_is_brought_home_at_its_positions(production: Cli, local: Cli, tmp_path: Path) -> None:
    """The workflow: export what is of interest, import it into a fresh namespace, go on at production's positions."""
    file = tmp_path / "slice.ndjson.gz"
    production("export", "--categories", "workflow,order", "--since", "2025-07-11", "-o", file).ok()
    local("import", "-i", file).ok()
    assert _positions(local) == [52, 89, 10**6, 10**12, 2**53 + 1]
    (event,) = _events(local("read", "workflow-9").ok().stdout)
    assert (event["gpos"], event["pos"], event["type"]) == (10**12, 5, "Step5")
    local("write", "workflow-9", "Next").ok()
    assert _positions(local, "--from-position", str(2**53 + 2)) == [2**53 + 2]
    assert local("import", "-i", file).code == 4


@pytest.mark.parametrize("target", ["sqlite", "lmdb"])
def test_an_export_of_one_store_is_an_import_of_another(production: Cli, tmp_path: Path, target: str) -> None:
    """Whatever kept the messages, the lines say the same."""
    other = Cli(f"{target}://{tmp_path / 'other'}", "debug")
    other("migrate").ok()
    other("ns", "create", "debug").ok()
    other("import", stdin=production("export").ok().stdout).ok()
    assert _events(other("export").ok().stdout) == _events(production("export").ok().stdout)
