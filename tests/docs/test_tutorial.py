"""The tutorial, word for word."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from evtool.embedded import find_binaries
from evtool.settings import child_environment

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "tutorial.md").read_text()
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)


def test_the_tutorial_does_what_it_says(empty_dsn: str, tmp_path: Path) -> None:
    """Every command of the tutorial succeeds, in order, in an empty folder, and prints to stdout what stands below it."""
    shutil.copy(ROOT / "tests" / "data" / "repository-events.ndjson.gz", tmp_path)
    (example,) = [text for language, text in _BLOCK.findall(PAGE) if language == "python"]
    (tmp_path / "test_slice.py").write_text(example)
    (tmp_path / "pytest.ini").touch()
    environment = child_environment(
        EVTOOL_DSN=empty_dsn,
        PATH=os.pathsep.join([str(Path(sys.executable).parent), str(find_binaries().bin), os.environ["PATH"]]),
        PYTHONPATH=str(ROOT),
    )
    ran = 0
    for language, text in _BLOCK.findall(PAGE):
        if language != "console":
            continue
        for command, expected in _COMMAND.findall(text):
            command = re.sub(r"^evtool\b", f"{sys.executable} -m evtool", command)
            command = re.sub(r"^pytest\b", f"{sys.executable} -m pytest -p no:cacheprovider", command)
            done = subprocess.run(
                ["bash", "-o", "pipefail", "-c", command],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
            if expected:
                assert done.stdout == expected, command
            ran += 1
    assert ran >= 18
