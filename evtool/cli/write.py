"""`evtool write`."""

from __future__ import annotations

from collections.abc import Sequence

import click

from evtool.cli import options, output
from evtool.cli.options import open_store
from evtool.errors import FileError


@click.command()
@click.argument("stream")
@click.argument("type", required=False)
@click.argument("data", required=False)
@click.option("--metadata", metavar="JSON", help="The message's metadata.")
@click.option("--id", "id_", metavar="UUID", help="The message's id. [default: a new one]")
@click.option(
    "--expected-version", type=int, metavar="N", help="The stream's last position; -1 where there must be no stream."
)
@click.option(
    "--batch",
    metavar="FILE",
    help='Write a batch, all or none: a line each, {"type":…,"data":…,"metadata":…,"id":…}; - is stdin.',
)
@options.namespaced
def write(
    stream: str,
    type: str | None,
    data: str | None,
    metadata: str | None,
    id_: str | None,
    expected_version: int | None,
    batch: str | None,
    dsn: str | None,
    namespace: str | None,
) -> None:
    """Write a message of TYPE at the end of STREAM and print its position in the stream.

    DATA is JSON; - reads it from stdin; without it the message has no data.

    \b
    Example:
      evtool write account-123 Deposited '{"amount": 10}'
      evtool write account-123 Closed --expected-version 7
      evtool write account-123 --batch new.ndjson
    """
    if (batch is None) == (type is None):
        raise click.UsageError("Give either a TYPE, or --batch FILE.")
    if batch is not None:
        if metadata is not None or id_ is not None:
            raise click.UsageError("--metadata and --id belong into the lines of the batch.")
        _write_batch(stream, batch, expected_version, dsn, namespace)
        return
    body: str | bytes | None = data
    if data == "-":
        from evtool import files

        with files.open_input(data) as source:
            body = source.read()
    with open_store(dsn, namespace) as store:
        position = store.write_message(id_, stream, type or "", body, metadata, expected_version)
    _note(stream)
    _tell([position])


def _write_batch(stream: str, path: str, expected_version: int | None, dsn: str | None, namespace: str | None) -> None:
    from evtool import files, ndjson

    with files.open_input(path) as source:
        messages = list(ndjson.read_new(source))
    with open_store(dsn, namespace) as store:
        positions = store.write_messages(stream, messages, expected_version)
    _note(stream)
    _tell(positions)


def _note(stream: str) -> None:
    """Message DB takes a name without a hyphen, and reads it as a category's only."""
    from evtool.names import is_category

    if is_category(stream):
        output.note(f'"{stream}" has no hyphen: it is read as a category, --category, and by no stream\'s name')


def _tell(positions: Sequence[int]) -> None:
    """Prints the positions in the stream. If that can't be done, the error says that they are taken all the same."""
    try:
        for position in positions:
            output.data(str(position))
        output.flush()
    except FileError as error:
        where = " to ".join(str(position) for position in sorted({*positions[:1], *positions[-1:]}))
        raise FileError(
            f"{error.message}; the stream has it, at {where}", hint="don't write it again; evtool read shows it"
        ) from error
