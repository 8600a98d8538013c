"""The README's examples, run word for word."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import evtool
import evtool.errors
from evtool.embedded import find_binaries
from evtool.settings import child_environment

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[str]:
    """The code blocks of a language."""
    return [text for found, text in _BLOCK.findall(README) if found == language]


def test_the_console_examples_print_what_the_readme_says(empty_dsn: str, tmp_path: Path) -> None:
    """Each command of the README succeeds, in order, and prints to stdout what stands below it."""
    programs = find_binaries().bin
    environment = child_environment(
        EVTOOL_DSN=empty_dsn,
        PATH=os.pathsep.join([str(Path(sys.executable).parent), str(programs), os.environ["PATH"]]),
        PYTHONPATH=str(ROOT),
    )
    (tmp_path / "bin").mkdir()
    ran = 0
    for block in blocks("console"):
        for command, expected in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE):
            command = re.sub(r"^evtool\b", f"{sys.executable} -m evtool", command)
            done = subprocess.run(
                ["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{command}\n{done.stderr}"
            if expected:
                assert done.stdout == expected, command
            ran += 1
    assert ran >= 20


@pytest.mark.thorough
def test_the_slice_of_the_readme_arrives(empty_dsn: str, tmp_path: Path) -> None:
    """What the README brings home is in the second namespace at the position that it had."""
    self_contained = tmp_path / "again"
    self_contained.mkdir()
    test_the_console_examples_print_what_the_readme_says(empty_dsn, self_contained)
    with evtool.connect(empty_dsn, "orders") as orders, evtool.connect(empty_dsn, "debug") as debug:
        assert len(orders.get_all_messages()) == 2
        assert debug.get_all_messages() == orders.get_all_messages()


@pytest.mark.thorough
def test_increments_batches_and_copies_of_the_readme_arrive(empty_dsn: str, tmp_path: Path) -> None:
    """The increment has what came since, the batches have all that was there before it, and the copy has everything."""
    test_the_console_examples_print_what_the_readme_says(empty_dsn, tmp_path)
    with evtool.connect(empty_dsn, "orders") as orders, evtool.connect(empty_dsn, "large") as large:
        placed, paid = orders.get_all_messages()
        assert large.get_all_messages() == [placed]
    assert [json.loads(gzip.decompress((tmp_path / "tomorrow.ndjson.gz").read_bytes()))["gpos"]] == [
        paid.global_position
    ]
    assert json.loads((tmp_path / "one.ndjson").read_bytes())["gpos"] == placed.global_position
    with evtool.connect(f"sqlite://{tmp_path / 'laptop'}") as laptop:
        assert [message.global_position for message in laptop.get_all_messages()] == [
            placed.global_position,
            paid.global_position,
        ]


def test_the_python_example_runs(dsn: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The README's Python prints the two messages, and the version that the conflict names."""
    [example] = blocks("python")
    exec(compile(example, "README.md", "exec"), {"dsn": dsn})
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[:2]] == [["0", "ItemAdded"], ["1", "ItemAdded"]]
    assert lines[2] == "1"


def test_the_json_example_is_a_line_that_import_takes() -> None:
    """The line that the README shows is a valid record."""
    import io

    from evtool import ndjson

    [example] = blocks("json")
    [record] = ndjson.read(io.BytesIO(example.encode()))
    assert (record.stream, record.gpos) == ("order-1", 47)
