"""Pages of the documentation, and their examples as a reader would run them.

A block of the language `console` holds commands behind `$ `, which are run one after the other; where something stands
below one, that is what it prints. A block of any language with a file's name and a colon right above it is that file.
Commands in a block of `sh`, such as those that need a server of the reader's, are only parsed.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from evtool.embedded import find_binaries
from evtool.settings import child_environment

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
SECONDS = 300

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NAME = re.compile(r"`([\w./-]+)`:\n*\Z")
_COMMAND = re.compile(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        language: behind the fence.
        text: between the fences.
        file: the name of the file that it is, if it is one.
    """

    language: str
    text: str
    file: str | None

    def commands(self) -> list[tuple[str, str]]:
        """The commands of a console, each with what stands below it."""
        return _COMMAND.findall(self.text)


def pages() -> list[Path]:
    """Every page of the project."""
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docker").glob("*.md"), *DOCS.rglob("*.md")])


def name(page: Path) -> str:
    """A page's path, for the names of tests."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[Block]:
    """The blocks of a page, in their order."""
    text = page.read_text("utf-8")
    found = []
    for match in _FENCE.finditer(text):
        named = _NAME.search(text[: match.start()])
        found.append(Block(match[1], match[2], named[1] if named else None))
    return found


def follow(page: Path, folder: Path, dsn: str, without: tuple[str, ...] = (), **variables: str) -> int:
    """Does what a page says, in a folder: makes its files, runs its commands. Returns how many commands there were.

    Args:
        page: what is followed.
        folder: where.
        dsn: EVTOOL_DSN.
        without: words; commands that hold one are not run.
        variables: what the reader has in the environment besides.
    """
    programs = [str(Path(sys.executable).parent), str(find_binaries().bin), os.environ["PATH"]]
    environment = child_environment(
        EVTOOL_DSN=dsn, PATH=os.pathsep.join(programs), PYTHONPATH=str(ROOT), NO_COLOR="1", **variables
    )
    environment.pop("PYTEST_ADDOPTS", None)
    ran = 0
    for block in blocks(page):
        if block.file is not None:
            (folder / block.file).parent.mkdir(parents=True, exist_ok=True)
            (folder / block.file).write_text(block.text, "utf-8")
        elif block.language == "console":
            for command, expected in block.commands():
                if any(word in command for word in without):
                    continue
                done = subprocess.run(
                    ["bash", "-o", "pipefail", "-c", command],
                    cwd=folder,
                    env=environment,
                    capture_output=True,
                    text=True,
                    timeout=SECONDS,
                    check=False,
                )
                assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
                assert not expected or done.stdout == expected, f"{command}\n{done.stdout}"
                ran += 1
    return ran
