"""Options that choose messages, for every command that exports: one decorator, one Selection."""

from __future__ import annotations

import csv
import functools
from collections.abc import Callable, Sequence
from typing import Any

import click

_FIRST = 1
_LAST = 2**63 - 1  # a bigint's


def selection_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --categories, --streams, --types, --correlation, --since, --until, --from-position and --to-position.

    The command gets them as one argument, `selection`, which is Selection() where none is given.
    """

    @functools.wraps(command)
    def selecting(
        *args: Any,
        categories: Sequence[str],
        streams: Sequence[str],
        types: Sequence[str],
        correlation: str | None,
        since: str | None,
        until: str | None,
        from_position: int | None,
        to_position: int | None,
        **others: Any,
    ) -> Any:
        from evtool.model import Selection
        from evtool.times import parse_bound

        if correlation == "":
            raise click.UsageError("--correlation is empty.")
        selection = Selection(
            categories=_names("--categories", categories),
            streams=_names("--streams", streams),
            types=_names("--types", types),
            correlation=correlation,
            since=None if since is None else parse_bound(since),
            until=None if until is None else parse_bound(until),
            from_position=from_position,
            to_position=to_position,
        )
        return command(*args, selection=selection, **others)

    for option in reversed(_OPTIONS):
        selecting = option(selecting)
    return selecting


def _names(option: str, given: Sequence[str]) -> tuple[str, ...]:
    """The names of a list; one with a comma in it is quoted as in CSV."""
    names = tuple(name.strip() for row in csv.reader(given, strict=False) for name in row)
    if any(not name for name in names) or len(given) > len(names):
        raise click.UsageError(f"{option} has an empty name in it.")
    return names


_POSITION = click.IntRange(_FIRST, _LAST)

_OPTIONS = (
    click.option("--categories", metavar="LIST", multiple=True, help="Only these categories, separated by commas."),
    click.option("--streams", metavar="LIST", multiple=True, help="Only these streams, separated by commas."),
    click.option("--types", metavar="LIST", multiple=True, help="Only messages of these types, separated by commas."),
    click.option("--correlation", metavar="NAME", help="Only messages correlated with this category."),
    click.option("--since", metavar="TIME", help="Only messages from this time on. ISO 8601 or YYYY-MM-DD, UTC."),
    click.option("--until", metavar="TIME", help="Only messages before this time."),
    click.option("--from-position", type=_POSITION, metavar="N", help="Only from this global position on."),
    click.option("--to-position", type=_POSITION, metavar="N", help="Only up to this global position, inclusive."),
)
