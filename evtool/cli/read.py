"""`evtool read`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import click

from evtool.cli import options, output
from evtool.cli.options import open_store

if TYPE_CHECKING:
    from evtool.model import Message

_PAGE = 1000
_LAST = 2**63 - 1  # a bigint's


@click.command()
@click.argument("stream", required=False)
@click.option("--category", metavar="NAME", help="Read a category instead of a stream.")
@click.option("--all", "all_", is_flag=True, help="Read all messages, gap-safe.")
@click.option("--last", is_flag=True, help="Only the last message of the stream.")
@click.option("--type", metavar="TYPE", help="With --last: the last of this type.")
@click.option("--position", type=int, metavar="N", help="From this position on; global for --category and --all.")
@click.option("--limit", type=click.IntRange(min=0), metavar="N", help="At most so many messages. [default: all]")
@click.option("--correlation", metavar="NAME", help="With --category: only messages correlated with this category.")
@click.option("--consumer-group-member", type=int, metavar="N", help="With --category: this member's share, from 0.")
@click.option("--consumer-group-size", type=int, metavar="N", help="With --category: how many members there are.")
@click.option("--condition", metavar="SQL", help="Filter by SQL, where message_store.sql_condition is on.")
@options.namespaced
def read(
    stream: str | None,
    category: str | None,
    all_: bool,
    last: bool,
    type: str | None,
    position: int | None,
    limit: int | None,
    correlation: str | None,
    consumer_group_member: int | None,
    consumer_group_size: int | None,
    condition: str | None,
    dsn: str | None,
    namespace: str | None,
) -> None:
    """Print the messages of STREAM, of a category, or all, as NDJSON.

    Lines have the fields of an export: id stream type pos gpos data meta time.

    \b
    Example:
      evtool read account-123
      evtool read account-123 --last
      evtool read --category account --position 1000 --limit 10
      evtool read --all | jq .type
    """
    if (stream is not None) + (category is not None) + all_ != 1:
        raise click.UsageError("Give a STREAM, or --category NAME, or --all.")
    if (last or type is not None) and (stream is None or not last):
        raise click.UsageError("--last goes with a STREAM, and --type with --last.")
    if category is None and (correlation, consumer_group_member, consumer_group_size) != (None, None, None):
        raise click.UsageError("--correlation and --consumer-group-… go with --category.")
    if condition is not None and (all_ or last):
        raise click.UsageError("--condition goes with a STREAM or --category.")

    from evtool import ndjson

    with open_store(dsn, namespace) as store:
        if last:
            assert stream is not None
            message = store.get_last_stream_message(stream, type)
            found = iter(() if message is None else (message,))
        elif stream is not None:
            found = _pages(lambda at, size: store.get_stream_messages(stream, at, size, condition), position, limit)
        elif category is not None:
            group = (correlation, consumer_group_member, consumer_group_size, condition)
            found = _pages(
                lambda at, size: store.get_category_messages(category, at, size, *group),
                position,
                limit,
                by_global=True,
            )
        else:
            found = _pages(store.get_all_messages, position, limit, by_global=True)
        for one in found:
            output.data(ndjson.render(one))


def _pages(
    page: Callable[[int | None, int], list[Message]],
    position: int | None,
    limit: int | None,
    *,
    by_global: bool = False,
) -> Iterator[Message]:
    """All messages that a paged read has to give, in constant memory."""
    left = limit
    while True:
        size = _PAGE if left is None else min(left, _PAGE)
        messages = page(position, size)
        yield from messages
        if left is not None:
            left -= len(messages)
        if len(messages) < size or left == 0:
            return
        position = (messages[-1].global_position if by_global else messages[-1].position) + 1
        if position > _LAST:
            return
