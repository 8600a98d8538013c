"""Export and import of a real file: 38,817 messages of four public repositories, with gaps."""

from __future__ import annotations

import gzip
import json
import re
import signal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests.cli.running import Cli
from tests.transfer.conftest import REAL

Events = list[dict[str, Any]]

_YEAR = ["--since", "2024-01-01", "--until", "2025-01-01"]


def _parse(content: bytes) -> Events:
    return [json.loads(line) for line in content.splitlines()]


def _category(event: dict[str, Any]) -> str:
    name: str = event["stream"]
    return name.split("-", 1)[0]


def test_the_whole_file_comes_back_message_by_message(production: Cli, events: Events) -> None:
    """Every message, each once, in global order, with equal values in every field; gaps stay gaps."""
    done = production("export").ok()
    exported = _parse(done.stdout)
    assert len(exported) == 38_817
    for ours, theirs in zip(exported, events, strict=True):
        assert ours == theirs
        assert list(ours) == list(theirs)
    assert done.err.startswith("Done. 38817 events exported in ")
    assert "position 43436" in done.err


def test_numbers_come_back_digit_by_digit(production: Cli, events: Events) -> None:
    """No number of the file becomes a float on its way: compared as text, not as values."""
    numbers = re.compile(rb"[:\[,] ?(-?\d[\d.eE+-]*)")

    def of(content: bytes) -> list[list[bytes]]:
        return [sorted(numbers.findall(line)) for line in content.splitlines()]

    assert of(production("export").ok().stdout) == of(gzip.decompress(REAL.read_bytes()))


@pytest.mark.thorough(but=["always---categories commit-", "2024-*"])
@pytest.mark.parametrize(
    ("options", "categories"),
    [
        (["--categories", "commit"], {"commit"}),
        (["--categories", "file"], {"file"}),
        (["--categories", "commit,file"], {"commit", "file"}),
        (["--categories", "file", "--categories", " commit, file"], {"commit", "file"}),
        (["--categories", "commit,nosuch"], {"commit"}),
        ([], None),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
@pytest.mark.parametrize("times", [[], _YEAR, _YEAR[:2], _YEAR[2:]], ids=["always", "2024", "since", "until"])
def test_a_slice_is_what_python_finds_in_the_file(
    production: Cli, events: Events, options: list[str], categories: set[str] | None, times: list[str]
) -> None:
    """Categories and times choose exactly the messages that they name, each once, in global order."""
    since = "2024" if "--since" in times else ""
    until = "2025" if "--until" in times else "9999"
    expected = [
        event
        for event in events
        if (categories is None or _category(event) in categories) and since <= event["time"] < until
    ]
    assert expected
    assert _parse(production("export", *options, *times).ok().stdout) == expected


def test_since_is_inclusive_and_until_exclusive_to_the_microsecond(production: Cli, events: Events) -> None:
    """A bound at the very time of a message, in any of its spellings."""
    at = events[20_000]["time"]
    same = [event for event in events if event["time"] == at]
    assert same
    since = _parse(production("export", "--since", at).ok().stdout)
    until = _parse(production("export", "--until", at).ok().stdout)
    assert since == [event for event in events if event["time"] >= at]
    assert until == [event for event in events if event["time"] < at]
    assert len(since) + len(until) == len(events)
    assert production("export", "--since", at, "--until", at).ok().out == ""


def test_a_slice_lands_at_its_positions_in_another_namespace(
    production: Cli, cli: Cli, events: Events, dsn: str, namespace: str, tmp_path: Path
) -> None:
    """Every message is found by its position with its content, and what is written then lands above them all."""
    file = tmp_path / "slice.ndjson.gz"
    production("export", "--categories", "commit", *_YEAR, "-o", file).ok()
    assert file.read_bytes()[:2] == b"\x1f\x8b"
    done = cli("import", "-i", file).ok()
    chosen = [event for event in events if _category(event) == "commit" and event["time"][:4] == "2024"]
    assert done.err.startswith(f"Done. {len(chosen)} events imported in ")
    with psycopg.connect(dsn) as connection:
        rows = connection.execute(
            sql.SQL("SELECT global_position, id::text, stream_name, position FROM {}.messages").format(
                sql.Identifier(namespace)
            )
        ).fetchall()
    assert sorted(rows) == [(event["gpos"], event["id"], event["stream"], event["pos"]) for event in chosen]
    cli("write", "commit-new", "CommitMade").ok()
    (written,) = _parse(cli("read", "commit-new").ok().stdout)
    assert written["gpos"] == max(event["gpos"] for event in chosen) + 1
    stream = chosen[-1]["stream"]
    assert cli("write", stream, "Again").ok().out == f"{max(e['pos'] for e in chosen if e['stream'] == stream) + 1}\n"


def test_a_pipe_from_one_database_to_another_is_a_copy(production: Cli, cli: Cli) -> None:
    """`evtool export | evtool import`, and both then export the same bytes, compressed or not."""
    out = production.start("export", "--gzip")
    back = cli.start("import", stdin=out.stdout)
    assert out.stdout and out.stdin and out.stderr and back.stdout and back.stderr
    out.stdout.close()
    out.stdin.close()
    with out.stderr, back.stdout, back.stderr:
        assert back.wait() == 0, back.stderr.read()
        assert out.wait() == 0, out.stderr.read()
    assert cli("export").ok().stdout == production("export").ok().stdout


def test_equal_content_gives_equal_files(production: Cli, tmp_path: Path) -> None:
    """Compressed or not, to a file or to a pipe, by option or by suffix: the same messages, byte for byte."""
    plain = production("export", "--categories", "commit").ok().stdout
    for name, options in (("a", []), ("b", ["--gzip"]), ("c.gz", [])):
        production("export", "--categories", "commit", "-o", tmp_path / name, *options).ok()
    compressed = production("export", "--categories", "commit", "--gzip").ok().stdout
    assert (tmp_path / "a").read_bytes() == plain
    assert (tmp_path / "b").read_bytes() == (tmp_path / "c.gz").read_bytes() == compressed
    assert gzip.decompress(compressed) == plain
    names = ["a", "b", "c.gz"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*names, *(f"{n}.manifest.json" for n in names)])


def test_progress_is_told_as_events(production: Cli, cli: Cli, events: Events) -> None:
    """--progress json: every thousand messages and at the end an object a line, as the seeds of evtool define them."""
    done = production("export", "--progress", "json").ok()
    out = [json.loads(line) for line in done.err.splitlines()]
    expected = [{"exported": n, "gpos": events[n - 1]["gpos"]} for n in range(1000, len(events), 1000)]
    assert out[:-1] == expected
    assert done.err.startswith(f'{{"exported":1000,"gpos":{expected[0]["gpos"]}}}\n')
    assert re.fullmatch(r'\{"done":true,"exported":38817,"elapsed":"\d+\.\ds"\}', done.err.splitlines()[-1])

    done = cli("import", "--progress", "json", stdin=done.stdout).ok()
    assert done.out == ""
    back = [json.loads(line) for line in done.err.splitlines()]
    assert back[:-1] == [{"imported": n["exported"], "gpos": n["gpos"]} for n in expected]
    assert re.fullmatch(r'\{"done":true,"imported":38817,"elapsed":"\d+\.\ds"\}', done.err.splitlines()[-1])


def test_a_refusal_is_told_as_an_event(cli: Cli) -> None:
    """--progress json: the error that ends an import is an object, too, with code, message and line."""
    lines = gzip.decompress(REAL.read_bytes()).splitlines(keepends=True)[:10]
    cli("import", stdin=b"".join(lines)).ok()
    done = cli("import", "--progress", "json", stdin=lines[3])
    assert done.code == 4
    assert done.err == '{"error":"POSITION_EXISTS","message":"global position 4 already exists","line":1}\n'


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (["export", "--dsn", "postgresql://[/x"], 2, "INVALID_DSN"),
        (["import", "--dsn", "postgresql://[/x"], 2, "INVALID_DSN"),
        (["import", "--dsn", "postgresql://localhost:1/x"], 3, "STORE_UNREACHABLE"),
        (["import", "-n", "nosuch"], 1, "NAMESPACE_NOT_FOUND"),
        (["import", "-i", "/nosuch"], 1, "FILE"),
        (["import", "--yes"], 2, "USAGE"),
        (["import", "--batch-size", "x"], 2, "USAGE"),
        (["export", "--since", "then"], 2, "INVALID_ARGUMENT"),
        (["export", "--categories", "a-b"], 2, "NOT_A_CATEGORY"),
        (["verify", "--progress", "json", "/nosuch"], 1, "FILE"),
        (["copy", "--from-namespace", "nosuch"], 1, "NAMESPACE_NOT_FOUND"),
        (["bulk", "export", "nosuch"], 2, "INVALID_RESOURCE"),
    ],
    ids=lambda value: "-".join(value).replace("/", "") if isinstance(value, list) else "",
)
def test_whatever_ends_a_command_is_an_event(cli: Cli, arguments: list[str], code: int, error: str) -> None:
    """--progress json: stderr holds events and nothing else, be the fault in the options, the DSN, or the file."""
    done = cli(*arguments, "--progress", "json", stdin=b"x")
    events = [json.loads(line) for line in done.err.splitlines()]
    assert (done.code, [event["error"] for event in events]) == (code, [error])
    assert all(event["message"] for event in events)


def test_an_interruption_is_an_event(cli: Cli) -> None:
    """--progress json: a command that is told to end says so in an event, as it says everything."""
    process = cli.start("import", "--progress", "json")
    assert process.stdin and process.stderr
    # the first event says that it has begun to read
    process.stdin.write(gzip.decompress(REAL.read_bytes()))
    process.stdin.flush()
    assert "imported" in json.loads(process.stderr.readline())
    process.send_signal(signal.SIGTERM)
    events = [json.loads(line) for line in process.communicate()[1].splitlines()]
    assert (process.returncode, events[-1]["error"]) == (143, "INTERRUPTED")


def test_progress_can_be_silent(cli: Cli) -> None:
    """--progress none says nothing unless something is wrong."""
    assert cli("export", "--progress", "none").ok().err == ""
    assert cli("import", "--progress", "none").ok().err == ""
    assert cli("import", "--progress", "none", stdin=b"x").err.count("\n") == 1
