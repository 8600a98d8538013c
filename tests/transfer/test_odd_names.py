"""Names that a shell can give, of files and in filters, whatever they are made of."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click
import pytest

from evtool import manifest as manifests
from evtool.cli.selecting import selection_options
from evtool.model import Selection
from tests.cli.running import Cli, assert_one_line
from tests.transfer.lines import lines

_NAMES = ["a,b", 'a"b', '"a"', " a ", "a\nb", "a\r\nb", "", "a\\", "é"]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@click.command()
@selection_options
def _choose(selection: Selection) -> Selection:
    return selection


def _chosen(*arguments: str) -> Selection:
    found: Selection = _choose.main(arguments, standalone_mode=False)
    return found


@pytest.mark.parametrize("name", _NAMES, ids=repr)
def test_a_name_in_quotes_is_any_name(name: str) -> None:
    """As in CSV, alone and among others; the spaces in the quotes are the name's."""
    assert _chosen("--types", _quoted(name)).types == (name,)
    assert _chosen("--categories", f"b, {_quoted(name)} ,{_quoted(name)}").categories == ("b", name, name)
    assert _chosen("--streams", "a, b", "--streams", _quoted(name)).streams == ("a", "b", name)


def test_a_name_without_quotes_may_hold_a_line_break() -> None:
    """Nothing but a comma ends it."""
    assert _chosen("--types", "é,a\nb,c\r").types == ("é", "a\nb", "c")


@pytest.mark.parametrize("text", ['"a', ' "a', '"a"b', 'b,"a', '"a""'])
def test_a_quote_that_is_not_closed_is_wrong_usage(text: str) -> None:
    """What was meant can't be known."""
    with pytest.raises(click.UsageError, match=r"--types has a name with a quote that isn't closed"):
        _chosen("--types", text)


@pytest.mark.skipif(sys.platform == "darwin", reason="its file systems take no such name")
@pytest.mark.parametrize("store", ["postgresql", "sqlite", "lmdb"])
def test_a_file_may_have_any_name(cli: Cli, tmp_path: Path, store: str) -> None:
    """Bytes that are no text, too: it is exported with its manifest, imported, resumed and verified like any other."""
    if store != "postgresql":
        cli = Cli(f"{store}://{tmp_path}/store", "message_store")
        cli("migrate").ok()
    cli("import", stdin=lines(range(1, 4))).ok()
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xe4.ndjson"))
    cli("export", "-o", path).ok()
    manifest, _ = manifests.read(f"{path}.manifest.json")
    assert (manifest.file, manifest.count) == ("\ufffd\ufffd.ndjson", 3)
    cli("verify", path).ok()
    cli("import", "-i", path, "--on-conflict", "skip").ok()
    cli("import", "-i", path, "--on-conflict", "skip", "--batch-size", "2", "--resume").ok()
    assert_one_line(cli("export", "--incremental", f"{path}.manifest.json", "-o", path), 2, "would be overwritten")
    assert cli("export", "--incremental", f"{path}.manifest.json").ok().out == ""
