"""Every page: its links, its examples, its place in the site."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest

from evtool.cli.main import cli
from tests.docs.pages import DOCS, ROOT, Block, blocks, name, pages

PAGES = pages()
_LINK = re.compile(r"\]\((?!https?:)([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
_WORD = re.compile(r"'[^']*'|\"[^\"]*\"|\S+")
_EVTOOL = re.compile(r"(?:^|[|;&(]|\$\()\s*(?:[A-Z_]+=\S+ )*(evtool\s[^|;&()<>#]*)")


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub and the site give the headings of a page."""
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in _HEADING.findall(text)}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link of a page names a file that is there, and a heading in it."""
    for target in _LINK.findall(re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)):
        path, _, anchor = target.partition("#")
        other = (page.parent / path).resolve() if path else page
        assert other.exists(), target
        assert not anchor or anchor in anchors(other), target


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_samples_are_whole(page: Path) -> None:
    """Every sample is what its fence says: Python that compiles, JSON and TOML that parse, a shell's lines."""
    for block in blocks(page):
        match block.language:
            case "python":
                ast.parse(block.text)
            case "json":
                text = block.text.strip()
                while text:  # one document, or several
                    _, end = json.JSONDecoder().raw_decode(text)
                    text = text[end:].lstrip()
            case "toml":
                tomllib.loads(block.text)
            case "sh" | "bash":
                checked = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, check=False)
                assert checked.returncode == 0, checked.stderr


def commands() -> list[tuple[str, str]]:
    """Each evtool command that a page shows, with the page's name; those of --help's own pages excepted."""
    found = []
    for page in PAGES:
        for block in blocks(page):
            if block.language in {"sh", "bash", "console"}:
                found.extend((name(page), command) for command in _of_evtool(block))
    return found


def _of_evtool(block: Block) -> list[str]:
    lines = [command for command, _ in block.commands()] if block.language == "console" else block.text.splitlines()
    return [match.strip() for line in lines for match in _EVTOOL.findall(line)]


def test_the_pages_use_commands_that_there_are() -> None:
    """Every evtool command on any page has a name and options that the command line knows."""
    shown = commands()
    assert len(shown) >= 100
    for page, text in shown:
        if "…" in text or "..." in text:
            continue
        words = _WORD.findall(text)[1:]
        command: click.Command = cli
        context = click.Context(cli, info_name="evtool")
        while isinstance(command, click.Group) and words and not words[0].startswith("-"):
            found = command.get_command(context, words[0])
            assert found is not None, f"{page}: {text}"
            command, context = found, click.Context(found, parent=context, info_name=words[0])
            words = words[1:]
        known = {option for parameter in command.get_params(context) for option in parameter.opts}
        for word in words:
            if word == "--":
                break
            if re.match(r"--?[a-zA-Z]", word):
                assert word.partition("=")[0] in known, f"{page}: {text}: {word}"


def test_every_page_is_in_the_site() -> None:
    """Every page below docs/ stands in a table of contents, once, but for the sample project's."""
    listed = re.findall(r"^([\w/*-]+)$", (DOCS / "index.md").read_text("utf-8"), re.MULTILINE)
    assert len(listed) == len(set(listed))
    there = {page.relative_to(DOCS).with_suffix("").as_posix() for page in DOCS.rglob("*.md")}
    decisions = {page for page in there if page.startswith("decisions/")}
    assert there - decisions - {"index", "sample/README"} == set(listed) - {"decisions/*"}


@pytest.mark.thorough
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    """Sphinx builds every page, and a warning is an error."""
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", str(DOCS), str(tmp_path / "site")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "site" / "how-to" / "export-for-a-bug.html").exists()
    assert ROOT in DOCS.parents
