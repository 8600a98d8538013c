"""`evtool db`: the embedded server."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from evtool.cli import options, output

if TYPE_CHECKING:
    from collections.abc import Callable

    from evtool.embedded import EmbeddedServer


def _of_server(command: Callable[..., object]) -> Callable[..., object]:
    directory = click.option(
        "--directory",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="The server's data directory. [env: EVTOOL_EMBEDDED_DIR; default: in your data folder]",
    )
    return directory(options.verbose(command))


def _server(directory: Path | None) -> EmbeddedServer:
    from evtool.embedded import EmbeddedServer

    return EmbeddedServer(directory)


@click.group()
def db() -> None:
    """Run a PostgreSQL server of evtool's own: the DSN `embedded:`.

    Its binaries come from the extra evtool[embedded], or from an installed PostgreSQL. It listens on a Unix socket that
    only you can reach, and keeps running until `evtool db stop`.

    \b
    Example:
      export EVTOOL_DSN="$(evtool db start)"
      evtool db psql
      evtool db stop
    """


@db.command()
@_of_server
def start(directory: Path | None) -> None:
    """Start the server, making its data directory first if need be, and print its DSN.

    \b
    Example:
      export EVTOOL_DSN="$(evtool db start)"
    """
    if directory is None:
        options.tell_of_older_servers()
    server = _server(directory)
    running = server.status().running
    dsn = server.start()
    output.talk(f"PostgreSQL {server.status().version} {'was running' if running else 'started'} in {server.directory}")
    output.data(dsn)


@db.command()
@_of_server
def stop(directory: Path | None) -> None:
    """Stop the server. Its data stay.

    \b
    Example:
      evtool db stop
    """
    server = _server(directory)
    output.talk("stopped" if server.stop() else f"no server is running in {server.directory}")


@db.command()
@_of_server
@options.as_json
def status(directory: Path | None, json_: bool) -> None:
    """Show whether the server runs, where its data and its log are, and its DSN.

    \b
    Example:
      evtool db status
    """
    facts = dataclasses.asdict(_server(directory).status())
    facts["directory"], facts["log_file"] = str(facts["directory"]), str(facts["log_file"])
    if json_:
        output.as_json(facts)
        return
    for key, value in facts.items():
        if value is not None:
            shown = {True: "yes", False: "no"}.get(value, value) if isinstance(value, bool) else value
            output.data(f"{key.replace('_', ' ') + ':':<12}{shown}")


@db.command(context_settings={"ignore_unknown_options": True})
@_of_server
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def psql(directory: Path | None, arguments: tuple[str, ...]) -> None:
    """Open psql on the server, started if need be; ARGUMENTS are psql's own.

    \b
    Example:
      evtool db psql
      evtool db psql -- -c 'SELECT message_store.message_store_version()'
    """
    server = _server(directory)
    dsn = server.start()
    program = str(server.psql_path())
    os.execv(program, [program, "--dbname", dsn, *arguments])  # noqa: S606 - psql takes over this process
