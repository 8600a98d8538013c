"""Options that choose messages, for every command that exports: one decorator, one Selection."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from typing import Any

import click

# up to a comma or the end: in quotes, or not
_NAME = re.compile(r'\s*+(?:("(?:[^"]|"")*")\s*|(?!")([^,]*))(?=,|\Z)')

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
    """The names of lists.

    One that holds a comma, begins with a quote, begins or ends with a space, or is empty, is quoted as in CSV. The
    module csv would take a line break for the end of a list.
    """
    names = []
    for text in given:
        end = -1
        while end < len(text):
            found = _NAME.match(text, end + 1)
            if found is None:
                raise click.UsageError(f'{option} has a name with a quote that isn\'t closed; a quote in quotes is "".')
            quoted, plain = found.groups()
            if not quoted and not plain.strip():
                raise click.UsageError(f"{option} has an empty name in it.")
            names.append(quoted[1:-1].replace('""', '"') if quoted else plain.strip())
            end = found.end()
    return tuple(names)


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
