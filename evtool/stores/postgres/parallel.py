"""An export over several connections: ranges of positions read at the same time in one snapshot, put together in order.

Each range has a queue of a few blocks. Whoever is done with a range takes the next that nobody has, so the one that is
being written out is always somebody's, and nobody is further ahead than the queues are long.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import psycopg
from psycopg import sql

from evtool.model import ExportBlock
from evtool.stores.postgres import exporting
from evtool.stores.postgres.connection import Connection
from evtool.stores.postgres.selecting import IN_ORDER, Slice

# So many ranges for each connection, that one with fewer messages than the others costs little.
_RANGES = 8
# A range that is shorter takes longer to be planned than to be read.
_SHORTEST = 10_000
# Blocks of one range that wait to be written: with 32 kB each, 2 MB a connection.
_WAITING = 64
# How often a thread that waits for room looks whether it is still wanted.
_SECONDS = 0.1


@dataclass
class _Range:
    """A range of positions; its queue ends with None, or with what went wrong."""

    query: sql.Composed
    blocks: queue.Queue[ExportBlock | Exception | None] = field(default_factory=lambda: queue.Queue(_WAITING))


def export(
    connection: Connection, another: Callable[[], Connection], chosen: Slice, jobs: int
) -> Iterator[ExportBlock]:
    """The lines of a slice, in global order.

    Args:
        connection: in a `snapshot`, which is that of all of them.
        another: opens a connection.
        chosen: which rows.
        jobs: over how many connections, at the most.

    Raises:
        psycopg.Error, StoreError: as `exporting.lines`.
    """
    ranges = [_Range(query) for query in _queries(connection, chosen, jobs)]
    if len(ranges) == 1:
        yield from exporting.lines(connection, ranges[0].query)
        return
    row = connection.execute("SELECT pg_export_snapshot()").fetchone()
    assert row is not None
    waiting = deque(ranges)
    over = threading.Event()
    with contextlib.ExitStack() as opened:
        own = [opened.enter_context(contextlib.closing(another())) for _ in range(min(jobs, len(ranges)))]
        threads = [
            threading.Thread(target=_work, args=(one, str(row[0]), waiting, over), name="evtool export", daemon=True)
            for one in own
        ]
        for thread in threads:
            thread.start()
        try:
            for one in ranges:
                while (block := one.blocks.get()) is not None:
                    if isinstance(block, Exception):
                        raise block
                    yield block
        finally:
            over.set()
            for working in own:
                with contextlib.suppress(psycopg.Error):
                    working.cancel_safe(timeout=_SECONDS)
            for thread in threads:
                thread.join()


def _queries(connection: Connection, chosen: Slice, jobs: int) -> Iterator[sql.Composed]:
    if jobs <= 1 or chosen.positions is not None:
        yield chosen.query()
        return
    row = connection.execute(sql.SQL("SELECT min(global_position) FROM {}").format(chosen.table)).fetchone()
    first = max(chosen.first, (row and row[0]) or 0)
    step = max(_SHORTEST, -(-(chosen.last - first + 1) // (jobs * _RANGES)))
    for start in range(first, max(chosen.last, first) + 1, step):
        yield chosen.query(start, min(start + step - 1, chosen.last))


def _work(connection: Connection, snapshot: str, waiting: deque[_Range], over: threading.Event) -> None:
    """Reads one range after the other until there is none left, or nobody wants more."""
    current = _next(waiting)
    try:
        with exporting.snapshot(connection, snapshot):
            connection.execute(IN_ORDER)
            while current is not None:
                blocks = exporting.lines(connection, current.query)
                with contextlib.closing(blocks):  # type: ignore[type-var]
                    for block in blocks:
                        if not _put(current, block, over):
                            return
                _put(current, None, over)
                current = _next(waiting)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is raised again where the range is awaited
        if current is not None:
            _put(current, error, over)


def _next(waiting: deque[_Range]) -> _Range | None:
    try:
        # one step for all threads
        return waiting.popleft()
    except IndexError:
        return None


def _put(one: _Range, block: ExportBlock | Exception | None, over: threading.Event) -> bool:
    """Hands something over; False where nobody wants it any more."""
    while not over.is_set():
        try:
            one.blocks.put(block, timeout=_SECONDS)
        except queue.Full:
            continue
        return True
    return False
