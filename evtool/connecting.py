"""From a DSN to the store that understands it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from evtool import settings
from evtool.errors import InvalidDsn

if TYPE_CHECKING:
    from evtool.store import Store

_POSTGRES = re.compile(r"postgres(?:ql)?://|\s*\w+\s*=")
_FORMS = "a DSN is postgresql://…, or libpq's key=value, or embedded:, or sqlite:///folder, or lmdb:///folder"

_MEMORY = ":memory:"
SQLITE_MEMORY = f"sqlite://{_MEMORY}"


def connect(dsn: str | None = None, namespace: str | None = None) -> Store:
    """Opens a store.

    Args:
        dsn: `postgresql://…` or libpq's `key=value` (PG* variables, service and password files work);
            `embedded:` or `embedded:/folder` for a PostgreSQL server of evtool's own, which is started;
            `sqlite:///folder`, `sqlite://:memory:` or `lmdb:///folder`.
            None takes EVTOOL_DSN, else the PG* variables, else `embedded:`.
        namespace: its name; None takes EVTOOL_NAMESPACE, else `message_store`.

    Returns:
        A store. Close it, or use it in `with`.

    Raises:
        InvalidDsn: no store knows such a DSN.
        StoreUnreachable: raised by the methods, when the first of them connects.
        EmbeddedServerError: the embedded server does not start.
    """
    return open_store(settings.dsn(dsn), namespace)


def open_store(dsn: str, namespace: str | None = None) -> Store:
    """As `connect`, for a DSN that is known."""
    if dsn.startswith("sqlite:"):
        from evtool.stores.sqlite import SQLiteStore

        return SQLiteStore(None if dsn == SQLITE_MEMORY else _folder(dsn, "sqlite"), namespace)
    if dsn.startswith("lmdb:"):
        from evtool.stores.lmdb import LMDBStore

        return LMDBStore(_folder(dsn, "lmdb"), namespace)
    from evtool.stores.postgres import PostgresStore

    return PostgresStore(server_dsn(dsn), namespace)


def server_dsn(dsn: str) -> str:
    """The DSN of a PostgreSQL server: the given one, or that of the embedded server, which is started.

    Raises:
        InvalidDsn: it is no DSN of a server.
        EmbeddedServerError: the embedded server does not start.
    """
    if dsn.startswith(settings.EMBEDDED_DSN):
        from evtool.embedded import EmbeddedServer

        folder = dsn.removeprefix(settings.EMBEDDED_DSN)
        return EmbeddedServer(Path(folder) if folder else None).start()
    if dsn.startswith(("sqlite:", "lmdb:")):
        raise InvalidDsn(
            f"this needs a PostgreSQL server, and {dsn.partition(':')[0]}: is none",
            hint="name one such as postgresql://…, or embedded:",
        )
    if dsn and not _POSTGRES.match(dsn):
        what = f"nothing here knows the DSN {dsn.partition(':')[0][:20]}:…" if ":" in dsn else "this DSN has no scheme"
        raise InvalidDsn(what, hint=_FORMS)
    return dsn


def _folder(dsn: str, scheme: str) -> Path:
    """The folder of sqlite:///path and the like: what stands behind the two slashes of an empty host."""
    path = dsn.removeprefix(f"{scheme}:").removeprefix("//")
    if not path or "\0" in path:
        raise InvalidDsn(f"the DSN {scheme}: names no folder", hint=f"write {scheme}:///path/of/a/folder")
    if path.strip("/").startswith(_MEMORY):
        # other programs write it so, and a folder of that name is not what they mean
        raise InvalidDsn(f"the DSN {path} of {scheme} names no folder", hint=f"a store in memory is {SQLITE_MEMORY}")
    # other programs write four slashes before an absolute path
    folder = Path(re.sub("^//+", "/", path))
    if folder.absolute() == Path(folder.absolute().anchor):
        # what is left of sqlite:///$FOLDER where there is no such variable
        raise InvalidDsn(f"the DSN {scheme}: names the root of the file system", hint="name a folder in it")
    if folder.exists() and not folder.is_dir():
        raise InvalidDsn(f"{folder} is a file, and a {scheme} store is a folder", hint="name a folder, or a new name")
    return folder.absolute()
