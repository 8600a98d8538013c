"""`evtool streams`, `evtool categories` and `evtool stats`: what is in a namespace."""

from __future__ import annotations

import dataclasses

import click

from evtool.cli import options, output
from evtool.cli.options import open_store

_PAGE = 1000


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
@options.as_json
@options.namespaced
def stats(json_: bool, dsn: str | None, namespace: str | None) -> None:
    """Show how many messages, streams and categories there are, and from when to when.

    \b
    Example:
      evtool stats -n orders --json
    """
    with open_store(dsn, namespace) as store:
        facts = dataclasses.asdict(store.statistics())
    if json_:
        output.as_json(facts)
        return
    output.facts({key.replace("_", " "): value for key, value in facts.items() if value is not None})
