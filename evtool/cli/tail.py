"""`evtool tail`."""

from __future__ import annotations

import click

from evtool.cli import exits, options, output
from evtool.cli.options import open_store

_LINES = 10
_PROMPT = 0.05


@click.command()
@click.argument("stream", required=False)
@click.option("--category", metavar="NAME", help="Follow a category instead.")
@click.option(
    "--position",
    type=click.IntRange(min=0, max=2**63 - 1),
    metavar="N",
    help="Begin at this position; global, but for a STREAM.",
)
@click.option(
    "--lines",
    type=click.IntRange(min=0),
    metavar="N",
    help=f"Begin with the last N messages that are there. [default: {_LINES}]",
)
@click.option("--once", is_flag=True, help="Don't wait for more: end with what is there.")
@click.option(
    "--until-idle",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="End when nothing has come for so long.",
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="End after so many messages.")
@click.option("--correlation", metavar="NAME", help="With --category: only messages correlated with this category.")
@click.option("--consumer-group-member", type=int, metavar="N", help="With --category: this member's share, from 0.")
@click.option("--consumer-group-size", type=int, metavar="N", help="With --category: how many members there are.")
@click.option(
    "--interval",
    type=click.FloatRange(min=_PROMPT, max=86400),
    metavar="SECONDS",
    help="How often to look for more. [default: 1; with --listen 30]",
)
@click.option("--listen", is_flag=True, help="Be told by the writers, where `evtool ns notify` has switched it on.")
@click.option(
    "--retries",
    type=click.IntRange(min=0),
    metavar="N",
    help="How often to try again when the connection is lost. A database that isn't there at first is not waited for. "
    "[default: for ever]",
)
@options.namespaced
def tail(
    stream: str | None,
    category: str | None,
    position: int | None,
    lines: int | None,
    once: bool,
    until_idle: float | None,
    limit: int | None,
    correlation: str | None,
    consumer_group_member: int | None,
    consumer_group_size: int | None,
    interval: float | None,
    listen: bool,
    retries: int | None,
    dsn: str | None,
    namespace: str | None,
) -> None:
    """Print the last messages of STREAM, of a category, or of all, and what comes, as NDJSON, until Ctrl-C.

    Lines have the fields of an export: id stream type pos gpos data meta time. Each message comes once, in order, and
    none is missed: a message that commits late is waited for, and a lost connection is taken up again behind the last
    line. What an import places behind it is told on stderr.

    \b
    Example:
      evtool tail
      evtool tail account-123 --lines 0
      evtool tail --category account --position 1000 | jq .type
      evtool tail --category account --listen
      evtool tail --once --lines 100
    """
    if stream is not None and category is not None:
        raise click.UsageError("Give a STREAM, or --category NAME, or neither to follow all.")
    if category is None and (correlation, consumer_group_member, consumer_group_size) != (None, None, None):
        raise click.UsageError("--correlation and --consumer-group-… go with --category.")
    if position is not None and lines is not None:
        raise click.UsageError("Give --position or --lines, not both.")
    if once and until_idle is not None:
        raise click.UsageError("Give --once or --until-idle, not both.")

    from evtool import ndjson
    from evtool.following import Followed, follow

    followed = Followed(stream, category, correlation, consumer_group_member, consumer_group_size)
    # once it is known from where on
    after: list[int] = []
    with open_store(dsn, namespace) as store:
        messages = follow(
            store,
            followed,
            position=position,
            last=_LINES if lines is None else lines,
            interval=interval,
            listen=listen,
            until_idle=0 if once else until_idle,
            retries=retries,
            tell=lambda text: output.talk(f"evtool: {text}"),
            waiting=_hand_on,
            begun=after.append,
        )
        try:
            for number, message in enumerate(messages, 1):
                output.data(ndjson.render(message))
                after[:] = [followed.position(message) + 1]
                if number == limit:
                    break
        except KeyboardInterrupt:
            # that is how it is ended
            exits.when_interrupted("")
            for upto in after:
                output.talk(f"evtool: to go on from here: --position {upto}")
            raise
        finally:
            messages.close()


def _hand_on() -> None:
    """While nothing comes: what was printed is sent, and where nobody reads it any more, that is the end."""
    output.flush()
    if not output.is_read():
        raise BrokenPipeError
