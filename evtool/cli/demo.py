"""`evtool demo`: the main job, shown on events that are made up."""

from __future__ import annotations

import contextlib
import json
import shlex
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid5

import click

from evtool.cli import options, output

_EVENTS = 3_000
_START = datetime(2025, 7, 1, tzinfo=UTC)
_STEP = timedelta(minutes=7)
_SPACE = UUID("6f2c5f0e-3a5b-4f0e-9d53-0b7d2f6a1c11")
# In turn, a third of the events each: the category, and the types of its messages.
_KINDS = (
    ("customer", ("Registered", "Moved")),
    ("order", ("OrderPlaced", "OrderShipped")),
    ("payment", ("PaymentTaken", "PaymentReturned")),
)
# Every seventh position is a gap, as a transaction leaves it that was rolled back.
_GAP = 7

_STEPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("A store, with the namespace message_store", ("evtool migrate",)),
    (
        f'"Production": {_EVENTS:,} events of three categories, with gaps in their positions',
        (
            "evtool ns create production",
            "evtool import -n production -i production.ndjson",
            "evtool categories -n production",
        ),
    ),
    (
        "The slice that reproduces the bug: one category, since a day",
        ("evtool export -n production --categories payment --since 2025-07-10 -o slice.ndjson.gz",),
    ),
    (
        "Home: a second namespace gets it at the same positions, and nothing is missing",
        (
            "evtool ns create debug",
            "evtool import -n debug -i slice.ndjson.gz",
            "evtool verify slice.ndjson.gz -n debug",
            "evtool read --category payment --limit 2 -n debug",
        ),
    ),
    (
        "The next write lands above them all",
        (
            """evtool write payment-local PaymentTaken '{"amount": "9.90"}' -n debug""",
            "evtool read payment-local -n debug",
        ),
    ),
    (
        "What has come since is tomorrow's increment",
        (
            """evtool write payment-7 PaymentReturned '{"amount": "1.00"}' -n production""",
            "evtool export -n production --incremental slice.ndjson.gz.manifest.json -o tomorrow.ndjson.gz",
        ),
    ),
)


@click.command()
@click.option(
    "--store",
    type=click.Choice(["postgres", "sqlite", "lmdb"]),
    help="On which store. [default: postgres, from the extra evtool[embedded] or an installed server, else sqlite]",
)
@options.verbose
def demo(store: str | None) -> None:
    """Show the main job on a store of its own, each command and what it prints; nothing of it stays.

    \b
    Example:
      evtool demo
      evtool demo --store sqlite
    """
    with tempfile.TemporaryDirectory(prefix="evtool-demo-") as folder, contextlib.chdir(folder):
        Path("production.ndjson").write_text("".join(_lines()), "utf-8")
        with _store(store, Path(folder)) as dsn:
            _show(f"export EVTOOL_DSN={shlex.quote(dsn)}")
            for title, commands in _STEPS:
                click.secho(f"\n# {title}", bold=True)
                for command in commands:
                    _show(command)
                    _run(command, dsn)


@contextlib.contextmanager
def _store(kind: str | None, folder: Path) -> Iterator[str]:
    """The DSN of a store that is gone afterwards."""
    if kind in {None, "postgres"}:
        from evtool import embedded
        from evtool.errors import BinariesMissing

        try:
            binaries = embedded.find_binaries()
        except BinariesMissing as error:
            if kind is not None:
                raise
            output.talk(f"evtool: on SQLite, for no PostgreSQL was found; to have one: {error.hint}")
        else:
            with embedded.temporary(binaries=binaries) as server:
                yield server.dsn
            return
    yield f"{kind or 'sqlite'}://{folder}/store"


def _show(command: str) -> None:
    click.secho(f"$ {command}", fg="green")


def _run(command: str, dsn: str) -> None:
    from evtool.cli.main import cli

    cli.main([*shlex.split(command)[1:], "--dsn", dsn], prog_name="evtool", standalone_mode=False)
    output.flush()


def _lines() -> Iterator[str]:
    """The events of "production", as lines of an export."""
    from evtool import ndjson, times

    for number in range(_EVENTS):
        category, types = _KINDS[number % len(_KINDS)]
        turn, key = divmod(number // len(_KINDS), 50)
        yield ndjson.line(
            str(uuid5(_SPACE, str(number))),
            f"{category}-{key}",
            types[turn % 2],
            turn,
            number + number // (_GAP - 1) + 1,
            json.dumps({"customer": key, "amount": f"{number * 37 % 10_000 / 100:.2f}"}),
            json.dumps({"correlationStreamName": f"order-{key}"}) if category == "payment" else None,
            times.render(_START + number * _STEP),
        )
