"""The floors of ARCHITECTURE.md: a module imports only from below, and each library has its room."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "evtool"

# The lowest first. A module may import from floors below its own, and from its own package.
FLOORS: list[set[str]] = [
    {"abilities", "errors", "settings", "sqltext", "progress"},
    {"names", "times", "json_values"},
    {"model", "imports", "findings"},
    {"ndjson", "contract"},
    {"compression"},
    {"pumping"},
    {"files", "clashes", "blocks", "sorting", "tallying"},
    {"manifest"},
    {"administration"},
    {"store", "chunks"},
    {"stores", "embedded"},
    {"connecting"},
    {"increments"},
    {"resuming"},
    {"exporting", "importing", "verifying", "following", "copying", "migrating", "namespaces", "diagnosing", "bulk"},
    {"testing"},
    {"cli"},
    {"__main__"},
]
FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}

# Who may import a library; everybody may import what isn't listed.
ROOMS = {
    "click": {"cli"},
    "tqdm": {"cli"},
    "psycopg": {"stores/postgres", "embedded", "testing", "bulk"},
    "psycopg_pool": {"stores/postgres"},
    "sqlalchemy": set(),
    "alembic": {"stores/postgres/structure.py"},
    "testcontainers": {"testing"},
    "docker": {"testing"},
    "pytest": {"testing"},
    "sqlite3": {"stores/sqlite", "bulk/sources/sqlite.py"},
    "lmdb": {"stores/lmdb"},
    "msgspec": {
        "bulk/json_framing.py",
        "bulk/json_pieces.py",
        "ndjson.py",
        "json_values.py",
        "contract.py",
        "manifest.py",
        "testing",
    },
    "gzip": {"compression.py"},
    "isal": {"compression.py"},
    "httpcore": {"bulk/remote.py", "bulk/addresses.py"},
    "prometheus_client": {"bulk/metrics.py"},
}

MODULES = sorted(path for path in PACKAGE.rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, at its top, late, or for type checking."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "evtool":
                yield from (f"evtool.{alias.name}" for alias in node.names)
            else:
                yield node.module


def place(path: Path) -> str:
    """A file's path below the package."""
    return path.relative_to(PACKAGE).as_posix()


def room(path: Path) -> str:
    """The first word of a file's place."""
    return place(path).split("/")[0].removesuffix(".py")


@pytest.mark.parametrize("path", [path for path in MODULES if path != PACKAGE / "__init__.py"], ids=place)
def test_a_module_imports_only_from_floors_below(path: Path) -> None:
    """A module imports evtool's own modules from lower floors or from its own package only."""
    own = room(path)
    assert own in FLOOR_OF, f"{own} has no floor: give it one in this file and in ARCHITECTURE.md"
    for name in imports(path):
        if not name.startswith("evtool."):
            continue
        other = name.split(".")[1]
        if other == own or other.startswith("__"):
            continue
        assert FLOOR_OF[other] < FLOOR_OF[own], f"{place(path)} imports {name}, which isn't below it"


def test_a_store_never_imports_another() -> None:
    """A store's package knows nothing of another store; what stores of files have in common is in `local` and `gate`."""
    for path in (PACKAGE / "stores").rglob("*.py"):
        own = place(path).split("/")[1].removesuffix(".py")
        for name in imports(path):
            if name.startswith("evtool.stores."):
                assert name.split(".")[2] in {own, "local", "gate"}, f"{place(path)} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=place)
def test_a_library_stays_in_its_room(path: Path) -> None:
    """click, psycopg, alembic and the like are imported where ARCHITECTURE.md says, and nowhere else."""
    for name in imports(path):
        library = name.split(".")[0]
        if library in ROOMS:
            allowed = ROOMS[library]
            assert any(place(path) == one or place(path).startswith(f"{one}/") for one in allowed), (
                f"{place(path)} imports {library}, whose room is {allowed}"
            )


@pytest.mark.parametrize("path", MODULES, ids=place)
def test_only_the_command_line_prints_or_exits(path: Path) -> None:
    """print, sys.exit and sys.stderr appear in cli/ only."""
    if room(path) == "cli":
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in {"print", "exit", "sys.exit", "os._exit"}, f"{place(path)} calls {called}"
        if isinstance(node, ast.Attribute):
            assert ast.unparse(node) != "sys.stderr", f"{place(path)} uses sys.stderr"


@pytest.mark.parametrize("path", MODULES, ids=place)
def test_only_settings_reads_the_environment(path: Path) -> None:
    """os.environ and os.getenv appear in settings.py only."""
    if place(path) == "settings.py":
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute):
            assert ast.unparse(node) not in {"os.environ", "os.getenv", "os.environb"}, f"{place(path)}:{node.lineno}"


def test_exit_codes_are_decided_in_one_place() -> None:
    """Only the program's entry calls sys.exit; the numbers stand in cli/exits.py."""
    for path in (PACKAGE / "cli").glob("*.py"):
        calls = [
            node
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {"sys.exit", "exit", "context.exit"}
        ]
        assert not calls or path.name == "main.py", f"{place(path)} exits"


@pytest.mark.parametrize("path", MODULES, ids=place)
def test_a_file_is_one_subject(path: Path) -> None:
    """No file has more than 400 lines."""
    assert len(path.read_text().splitlines()) <= 400
