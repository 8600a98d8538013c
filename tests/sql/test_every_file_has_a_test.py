"""A function file without a test file is not finished."""

from __future__ import annotations

from pathlib import Path

import pytest

from evtool import sqltext

HERE = Path(__file__).parent
SQL = sqltext.folder("sql")


@pytest.mark.parametrize("scope", ["namespace", "registry"])
def test_every_function_has_a_test_file(scope: str) -> None:
    """Each file of sql/*/functions has a test_….py of its name here."""
    functions = {path.stem for path in (SQL / scope / "functions").glob("*.sql")}
    assert functions
    assert functions - {path.stem.removeprefix("test_") for path in HERE.glob("test_*.py")} == set()


@pytest.mark.parametrize("scope", ["namespace", "registry"])
def test_every_file_is_installed(scope: str) -> None:
    """Each function and view is included by install.sql, once."""
    files = {
        path.relative_to(SQL).as_posix()
        for folder in ("functions", "views")
        for path in (SQL / scope / folder).glob("*.sql")
    }
    installed = [path for path in sqltext.behaviour(scope) if path.count("/") > 1]
    assert sorted(installed) == sorted(files)


@pytest.mark.parametrize(
    "path", sorted(SQL.glob("*/functions/*.sql")) + sorted(SQL.glob("*/views/*.sql")), ids=lambda p: p.stem
)
def test_a_file_holds_the_object_of_its_name(path: Path) -> None:
    """One object per file, named after it, behind a comment that says what it is."""
    text = path.read_text(encoding="utf-8")
    schemas = {"registry": "evtool", "jobs": "evtool_jobs"}
    schema = next((schemas[part] for part in path.parts if part in schemas), ':"ns"')
    kind = "FUNCTION" if path.parent.name == "functions" else "VIEW"
    assert text.startswith("-- ")
    assert text.count("CREATE OR REPLACE") == 1
    assert f"CREATE OR REPLACE {kind} {schema}.{path.stem}" in text
