"""`evtool streams`, `evtool categories` and `evtool stats`: what is in a namespace."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from evtool.cli import options, output
from evtool.cli.options import open_store

if TYPE_CHECKING:
    from evtool.model import Breakdown, Count, Unit

_PAGE = 1000
_BAR = 40
_UNITS = ("minute", "hour", "day", "month", "year")


@click.command()
@click.argument("prefix", default="")
@click.option("--after", metavar="STREAM", help="Only streams behind this one, in the order of their names' bytes.")
@click.option("--limit", type=click.IntRange(min=0), metavar="N", help="At most so many. [default: all]")
@options.as_json
@options.namespaced
def streams(
    prefix: str, after: str | None, limit: int | None, json_: bool, dsn: str | None, namespace: str | None
) -> None:
    """List the streams whose names begin with PREFIX, with the position of the last message of each.

    \b
    Example:
      evtool streams
      evtool streams account- --limit 10
      evtool streams --after account-123 --json
    """
    found = []
    with open_store(dsn, namespace) as store:
        while limit is None or limit > 0:
            size = _PAGE if limit is None else min(limit, _PAGE)
            page = store.list_streams(prefix, after, size)
            if json_:
                found += page
            else:
                for stream in page:
                    output.data(f"{stream.stream_name}\t{stream.version}")
            if len(page) < size:
                break
            after = page[-1].stream_name
            limit = None if limit is None else limit - len(page)
    if json_:
        output.as_json([dataclasses.asdict(stream) for stream in found])


@click.command()
@options.as_json
@options.namespaced
def categories(json_: bool, dsn: str | None, namespace: str | None) -> None:
    """List the categories, with how many streams and messages each has.

    \b
    Example:
      evtool categories -n orders
    """
    with open_store(dsn, namespace) as store:
        found = store.list_categories()
    if json_:
        output.as_json([dataclasses.asdict(category) for category in found])
    elif found:
        rows = [(one.category, str(one.streams), str(one.messages)) for one in found]
        output.table(("CATEGORY", "STREAMS", "MESSAGES"), rows)
    else:
        output.talk("There are no messages.")


@click.command()
@click.option("--per", "unit", type=click.Choice(_UNITS), help="Count by these spans of time. [default: what suits]")
@click.option(
    "--top",
    type=click.IntRange(min=0),
    metavar="N",
    default=10,
    show_default=True,
    help="Show so many categories, types and streams, those with the most messages; and the last N spans of time.",
)
@options.as_json
@options.namespaced
def stats(unit: Unit | None, top: int, json_: bool, dsn: str | None, namespace: str | None) -> None:
    """Show how much there is: messages, categories, types, the longest streams, sizes, and how many came when.

    Every message is looked at. It tells what is committed now, and waits for nobody. Sizes are of data and metadata as
    they are stored. With --json all categories, types and spans of time are there, whatever --top says.

    \b
    Example:
      evtool stats -n orders
      evtool stats --per day --top 31
      evtool stats -n orders --json | jq .by_type
    """
    with open_store(dsn, namespace) as store:
        whole, parts = store.statistics(), store.breakdown(unit, top)
    facts = {key: value for key, value in dataclasses.asdict(whole).items() if value is not None}
    if json_:
        output.as_json({**dataclasses.asdict(whole), **_plain(parts)})
        return
    sizes = {"bytes": parts.bytes, "on disk": parts.disk, "of it indexes": parts.indexes}
    facts = {key.replace("_", " "): value for key, value in facts.items()}
    facts = {**facts, "types": len(parts.types), **{key: size for key, size in sizes.items() if size is not None}}
    output.facts(facts)
    _counts("CATEGORY", parts.categories, top)
    _counts("TYPE", parts.types, top)
    if parts.longest_streams:
        output.data("")
        rows = [(one.stream_name, str(one.version)) for one in parts.longest_streams]
        output.table(("STREAM", "VERSION"), [(_shown(name), version) for name, version in rows])
    _counts(f"{parts.unit.upper()} FROM", parts.spans[max(len(parts.spans) - top, 0) :], top, bars=True)


def _plain(parts: Breakdown) -> dict[str, Any]:
    """A breakdown as JSON has it."""

    def rows(counts: Sequence[Count], name: str) -> list[dict[str, Any]]:
        return [{name: one.name, "messages": one.messages, "bytes": one.bytes} for one in counts]

    return {
        "types": len(parts.types),
        "bytes": parts.bytes,
        "disk": parts.disk,
        "indexes": parts.indexes,
        "by_category": rows(parts.categories, "category"),
        "by_type": rows(parts.types, "type"),
        "longest_streams": [dataclasses.asdict(stream) for stream in parts.longest_streams],
        "per": parts.unit,
        "rate": rows(parts.spans, "from"),
    }


def _counts(heading: str, counts: Sequence[Count], top: int, *, bars: bool = False) -> None:
    """A table of counts behind an empty line; what is left out of it is its last row."""
    if not counts:
        return
    rows = [[_shown(one.name), str(one.messages), str(one.bytes)] for one in counts[:top]]
    if bars:
        most = max((one.messages for one in counts), default=1)
        rows = [[*row, "#" * math.ceil(_BAR * one.messages / most)] for row, one in zip(rows, counts, strict=True)]
    elif others := counts[top:]:
        messages, size = (sum(getattr(one, name) for one in others) for name in ("messages", "bytes"))
        rows.append([f"({len(others)} more)", str(messages), str(size)])
    output.data("")
    output.table((heading, "MESSAGES", "BYTES", *([""] if bars else [])), rows)


def _shown(name: str) -> str:
    """A name in a table: what would break the line is escaped."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in name) or "''"
