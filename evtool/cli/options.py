"""Options that commands share, each a decorator, and what they do with the DSN."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from evtool import settings
from evtool.cli import output

if TYPE_CHECKING:
    from evtool.compression import Compression
    from evtool.store import Store

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _verbose(_context: click.Context, _parameter: click.Parameter, given: bool) -> None:
    if given:
        output.be_verbose()


verbose = click.option(
    "-v",
    "--verbose",
    is_flag=True,
    expose_value=False,
    callback=_verbose,
    help="Say more; show the traceback of an error.",
)

_ENVIRONMENT = "[env: EVTOOL_DSN, else the PG* variables; default: embedded:]"
_SERVER = "postgresql://user@host/db, libpq's key=value or embedded:"


def not_empty(_context: click.Context, parameter: click.Parameter, given: str | None) -> str | None:
    """Refuses an empty DSN: what is left of "$PROD" where there is no such variable must not be some other database."""
    if given is not None and not given.strip():
        raise click.BadParameter("it is empty; leave it out for EVTOOL_DSN, or the PG* variables", param=parameter)
    return given


def _dsn(what: str) -> Callable[[_Command], _Command]:
    return click.option("--dsn", metavar="DSN", callback=not_empty, help=f"{what}. {_ENVIRONMENT}")


_store = _dsn("The store: postgresql://user@host/db, libpq's key=value, embedded:, sqlite:///folder or lmdb:///folder")
_server = _dsn(f"The database: {_SERVER}")
_tables = _dsn(f"The database: {_SERVER}; or a file of SQLite's: sqlite:///path/of/a/file")


def database(command: _Command) -> _Command:
    """--dsn and -v, for everything that works on a store."""
    return _store(verbose(command))


def on_server(command: _Command) -> _Command:
    """--dsn and -v, for what only PostgreSQL can do."""
    return _server(verbose(command))


def on_tables(command: _Command) -> _Command:
    """--dsn and -v, for what reads tables, be they in a file of SQLite's."""
    return _tables(verbose(command))


def namespaced(command: _Command) -> _Command:
    """--dsn, -n and -v, for everything that works in a namespace."""
    option = click.option(
        "-n",
        "--namespace",
        metavar="NAME",
        help="The namespace. [env: EVTOOL_NAMESPACE; default: message_store]",
    )
    return database(option(command))


def _progress(_context: click.Context, _parameter: click.Parameter, given: str) -> str:
    # before the other options are read: what is wrong with them is told as an event, too
    output.tell_json_events(wanted=given == "json")
    return given


progress = click.option(
    "--progress",
    type=click.Choice(["auto", "json", "none"]),
    default="auto",
    show_default=True,
    is_eager=True,
    callback=_progress,
    help="A bar on a terminal; JSON events, one a line, on stderr; or nothing.",
)

as_json = click.option("--json", "json_", is_flag=True, help="Print JSON.")

show_sql = click.option("--sql", "sql", is_flag=True, help="Print the SQL for psql instead of running it.")


_gzip = click.option("--gzip", is_flag=True, help="Compress; so does a FILE that ends in .gz.")
_zstd = click.option("--zstd", is_flag=True, help="Compress with zstd (evtool[zstd]); so does a FILE ending in .zst.")


def compressed(command: _Command) -> _Command:
    """--gzip and --zstd, for everything that writes a large file."""
    return _gzip(_zstd(command))


def compression(path: str, *, gzip: bool, zstd: bool) -> Compression | None:
    """The compression that was asked for; None goes by the output's suffix.

    Raises:
        click.UsageError: one was asked for, and the suffix is another's.
    """
    from evtool.compression import Compression, by_suffix

    if gzip and zstd:
        raise click.UsageError("Give --gzip or --zstd, not both.")
    if not gzip and not zstd:
        return None
    asked = Compression.GZIP if gzip else Compression.ZSTD
    if by_suffix(path) not in {asked, Compression.NONE}:
        raise click.UsageError(f"--{asked} and the name {path} don't fit: leave the option out, or give another name.")
    return asked


def can_ask() -> bool:
    """Whether somebody at a terminal can answer. Python has no standard input where it was closed."""
    return sys.stdin is not None and sys.stdin.isatty()


def open_store(dsn: str | None, namespace: str | None = None) -> Store:
    """The store that the options name. Says so where it is the embedded server for want of another."""
    import logging

    from evtool.connecting import connect

    if not output.is_verbose():
        # the driver's warnings accompany an error that is reported anyway
        logging.getLogger("psycopg").addHandler(logging.NullHandler())
    if settings.dsn_is_default(dsn):
        output.note("no --dsn, EVTOOL_DSN or PG* variable: using the embedded server (see: evtool db status)")
        tell_of_older_servers()
    return connect(dsn, namespace)


def tell_of_older_servers() -> None:
    """Says where the data of an embedded server of another version is, before a new and empty one is made beside it."""
    from evtool.embedded import EmbeddedServer

    if settings.embedded_directory() is not None:
        return
    directory = EmbeddedServer().directory
    if not directory.exists():
        for older in sorted(directory.parent.glob("postgres-*[0-9]")):
            output.note(f"there is an embedded server of another version in {older}: --dsn embedded:{older}")
