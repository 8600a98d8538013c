"""The rules for sql/ and alembic/: one object a file, all listed, all tested, and nothing shadowed."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from evtool import sqltext

ROOT = Path(__file__).resolve().parents[2]
SQL = ROOT / "sql"
OBJECT_FILES = sorted([*SQL.glob("*/functions/*.sql"), *SQL.glob("*/views/*.sql")])
_CREATES = re.compile(r"^CREATE OR REPLACE (?:FUNCTION|VIEW) (?::\"ns\"|evtool|evtool_jobs)\.(\w+)", re.MULTILINE)


def place(path: Path) -> str:
    """A file's path below sql/."""
    return path.relative_to(SQL).as_posix()


@pytest.mark.parametrize("path", OBJECT_FILES, ids=place)
def test_a_file_holds_one_object_of_its_name(path: Path) -> None:
    """A file in functions/ or views/ creates exactly one object, which has the file's name."""
    assert _CREATES.findall(path.read_text()) == [path.stem]


@pytest.mark.parametrize("path", OBJECT_FILES, ids=place)
def test_a_file_begins_with_what_it_is_for(path: Path) -> None:
    """A file of an object begins with a comment that says what it does."""
    assert path.read_text().startswith("-- ")


@pytest.mark.parametrize("scope", ["registry", "namespace", "jobs"])
def test_install_lists_every_object(scope: str) -> None:
    """install.sql lists each file of an object once."""
    listed = sqltext.behaviour(scope)
    files = [place(path) for path in OBJECT_FILES if place(path).startswith(f"{scope}/")]
    assert sorted(path for path in listed if not path.endswith("privileges.sql")) == files
    assert len(set(listed)) == len(listed)


@pytest.mark.parametrize("path", [path for path in OBJECT_FILES if path.parent.name == "functions"], ids=place)
def test_a_function_has_a_test_file_or_is_named_in_one(path: Path) -> None:
    """Each function is the subject of tests in tests/sql or tests/bulk."""
    tests = [*(ROOT / "tests").glob("*/**/test_*.py")]
    named = re.compile(rf"\b{path.stem}\b")
    assert any(test.name == f"test_{path.stem}.py" or named.search(test.read_text()) for test in tests)


@pytest.mark.parametrize("path", sorted(SQL.glob("namespace/functions/*.sql")), ids=place)
def test_a_definers_function_pins_its_path(path: Path) -> None:
    """A function with its owner's rights has a search_path of its own, with pg_temp last, and runs no text of anybody's."""
    text = path.read_text()
    if "SECURITY DEFINER" in re.sub(r"--[^\n]*", "", text):
        assert 'SET search_path = :"ns", pg_temp' in text
        assert "EXECUTE" not in text


@pytest.mark.parametrize("path", sorted(SQL.glob("jobs/functions/*.sql")), ids=place)
def test_a_definers_function_of_the_queue_pins_its_path(path: Path) -> None:
    """A function of the queue with its owner's rights has a search_path of its own, and runs no text of anybody's."""
    text = path.read_text()
    if "SECURITY DEFINER" in re.sub(r"--[^\n]*", "", text):
        assert "SET search_path = evtool_jobs, pg_temp" in text
        assert "EXECUTE" not in text


def test_no_package_shadows_a_library() -> None:
    """alembic/, docker/, sql/ and scripts/ are no Python packages: an __init__.py would shadow a library."""
    for folder in ("alembic", "docker", "sql", "scripts"):
        assert not list((ROOT / folder).rglob("__init__.py")), folder


@pytest.mark.parametrize("path", sorted((ROOT / "evtool").rglob("*.py")), ids=lambda path: path.name)
def test_no_sql_is_glued_from_values(path: Path) -> None:
    """No f-string and no % or format on a literal makes SQL with a name or value in it."""
    keyword = re.compile(r"\b(SELECT|INSERT INTO|UPDATE|DELETE FROM|CREATE|DROP|ALTER|GRANT|COPY|SET LOCAL|LOCK)\b \S")
    tree = ast.parse(path.read_text())
    constants = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    imported = {
        alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("evtool.")
        for alias in node.names
        if alias.name.isupper()
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr) and keyword.search(ast.unparse(node)):
            # a constant, of the same module or of another one of ours, may be put into another constant
            holes = [part.value for part in node.values if isinstance(part, ast.FormattedValue)]
            assert all(isinstance(hole, ast.Name) and hole.id in {*constants, *imported} for hole in holes), (
                f"{path.name}:{node.lineno} makes SQL from an f-string"
            )
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod) and isinstance(node.left, ast.Constant):
            assert not (isinstance(node.left.value, str) and keyword.search(node.left.value)), (
                f"{path.name}:{node.lineno}"
            )
