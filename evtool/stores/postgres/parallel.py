"""An export over several connections: ranges of positions read at the same time in one snapshot, put together in order.

Each range has a queue. Whoever is done with a range takes the next that nobody has, so the one that is being written
out is always somebody's. How much may wait in a queue, and in all of them, is limited in bytes, but the range that is
being written out is never kept waiting for the others.
"""

from __future__ import annotations

import contextlib
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
# Lines that wait to be written, of one range and of all. A block is added to less, however large its messages are.
_RANGE_BYTES = 2 << 20
_ALL_BYTES = 24 << 20
# How often a thread that waits for room looks whether it is still wanted.
_SECONDS = 0.1


@dataclass
class Range:
    """A part of a slice, and what waits of it; that ends with None, or with what went wrong."""

    part: Slice
    waiting: deque[ExportBlock | Exception | None] = field(default_factory=deque)
    bytes: int = 0


class Queues:
    """What waits of all ranges."""

    def __init__(self) -> None:
        """Nothing waits yet, and no range is being written out."""
        self._lock = threading.Lock()
        self._come = threading.Condition(self._lock)
        self._gone = threading.Condition(self._lock)
        self._written: Range | None = None
        self._bytes = 0

    def put(self, one: Range, block: ExportBlock | Exception | None, over: threading.Event) -> bool:
        """Hands something of a range over when there is room for it; False where nobody wants it any more."""
        size = _size(block)
        with self._lock:
            while size and not self._has_room(one) and not over.is_set():
                self._gone.wait(_SECONDS)
            if over.is_set():
                return False
            one.waiting.append(block)
            one.bytes += size
            self._bytes += size
            if one is self._written:
                self._come.notify()
        return True

    def take(self, one: Range) -> ExportBlock | Exception | None:
        """What comes next of a range, when it has come: the range is the one that is being written out."""
        with self._lock:
            self._written = one
            while not one.waiting:
                # whoever reads it may have waited for room in all queues
                self._gone.notify_all()
                self._come.wait()
            block = one.waiting.popleft()
            one.bytes -= _size(block)
            self._bytes -= _size(block)
            if one.bytes < _RANGE_BYTES <= one.bytes + _size(block):
                self._gone.notify_all()
        return block

    def _has_room(self, one: Range) -> bool:
        return one.bytes < _RANGE_BYTES and (one is self._written or self._bytes < _ALL_BYTES)


def _size(block: ExportBlock | Exception | None) -> int:
    return len(block.lines) if isinstance(block, ExportBlock) else 0


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
    ranges = [Range(part) for part in _parts(connection, chosen, jobs)]
    if len(ranges) == 1:
        yield from exporting.lines(connection, ranges[0].part)
        return
    row = connection.execute("SELECT pg_export_snapshot()").fetchone()
    assert row is not None
    free = deque(ranges)
    queues = Queues()
    over = threading.Event()
    with contextlib.ExitStack() as opened:
        own = [opened.enter_context(contextlib.closing(another())) for _ in range(min(jobs, len(ranges)))]
        threads = [
            threading.Thread(
                target=_work, args=(one, str(row[0]), free, queues, over), name="evtool export", daemon=True
            )
            for one in own
        ]
        for thread in threads:
            thread.start()
        try:
            for one in ranges:
                while (block := queues.take(one)) is not None:
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


def _parts(connection: Connection, chosen: Slice, jobs: int) -> Iterator[Slice]:
    if jobs <= 1 or chosen.positions is not None:
        yield chosen
        return
    row = connection.execute(sql.SQL("SELECT min(global_position) FROM {}").format(chosen.table)).fetchone()
    first = max(chosen.first, (row and row[0]) or 0)
    step = max(_SHORTEST, -(-(chosen.last - first + 1) // (jobs * _RANGES)))
    for start in range(first, max(chosen.last, first) + 1, step):
        yield chosen.between(start, min(start + step - 1, chosen.last))


def _work(connection: Connection, snapshot: str, free: deque[Range], queues: Queues, over: threading.Event) -> None:
    """Reads one range after the other until there is none left, or nobody wants more."""
    current = _next(free)
    try:
        with exporting.snapshot(connection, snapshot):
            connection.execute(IN_ORDER)
            while current is not None:
                blocks = exporting.lines(connection, current.part)
                with contextlib.closing(blocks):  # type: ignore[type-var]
                    for block in blocks:
                        if not queues.put(current, block, over):
                            return
                queues.put(current, None, over)
                current = _next(free)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is raised again where the range is awaited
        if current is not None:
            queues.put(current, error, over)


def _next(free: deque[Range]) -> Range | None:
    try:
        # one step for all threads
        return free.popleft()
    except IndexError:
        return None
