"""Writers in many categories at once, with pauses, rollbacks and batches, while increments are taken all the time."""

from __future__ import annotations

import json
import random
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg import sql

from evtool.exporting import export_file
from evtool.model import Selection
from evtool.stores.postgres import PostgresStore

WRITERS = 8
CHOSEN = "w3"
"""The category of which there is a chain of increments, besides that of all messages."""

_EVERY = 0.05
_AT_LEAST = 25
_JOIN = 60.0

Row = tuple[int, str, str]
"""A message, by its global position, its id and its stream."""


@dataclass
class Result:
    """What a storm left.

    Attributes:
        table: all messages of the namespace, in order.
        all: the lines of all increments, one after the other.
        chosen: those of the increments of one category.
        naive: what a reader has seen that goes on behind the last position it saw, without a watermark.
        increments: how many increments each chain has.
        rolled_back: how many transactions were.
    """

    table: list[Row] = field(default_factory=list)
    all: list[Row] = field(default_factory=list)
    chosen: list[Row] = field(default_factory=list)
    naive: list[Row] = field(default_factory=list)
    increments: int = 0
    rolled_back: int = 0


def run(dsn: str, namespace: str, folder: Path, seconds: float, seed: int = 1) -> Result:
    """Lets a storm go on for some seconds in a namespace of PostgreSQL, and returns what was written and what was read.

    On a machine with little time for it, it goes on until it has been one.
    """
    result = Result()
    over = threading.Event()
    failures: list[BaseException] = []

    def guarded(work: Callable[[], None]) -> threading.Thread:
        def call() -> None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - told by whoever joins
                failures.append(error)
                over.set()

        thread = threading.Thread(target=call, daemon=True)
        thread.start()
        return thread

    writers = [guarded(lambda n=n: _write(dsn, namespace, n, seed, over, result)) for n in range(WRITERS)]  # type: ignore[misc]
    read_on = threading.Event()
    reader = guarded(lambda: _read_naively(dsn, namespace, read_on, result))
    chains = [_Chain(dsn, namespace, folder, "all", Selection(), result.all)]
    chains.append(_Chain(dsn, namespace, folder, CHOSEN, Selection((CHOSEN,)), result.chosen))
    end = time.monotonic() + seconds
    while not over.is_set():
        for chain in chains:
            chain.take()
        result.increments += 1
        if time.monotonic() > end and result.increments >= _AT_LEAST:
            over.set()
        over.wait(_EVERY)
    for thread in writers:
        thread.join(_JOIN)
        assert not thread.is_alive()
    read_on.set()
    reader.join(_JOIN)
    for failure in failures:
        raise failure
    for chain in chains:
        chain.take()
        chain.close()
    with psycopg.connect(dsn) as connection:
        result.table = _rows(connection, namespace, 0)
    return result


class _Chain:
    """Increments, each from the manifest of the one before."""

    def __init__(
        self, dsn: str, namespace: str, folder: Path, name: str, selection: Selection, rows: list[Row]
    ) -> None:
        self._store = PostgresStore(dsn, namespace)
        self._folder = folder
        self._name = name
        self._selection = selection
        self._rows = rows
        self._previous: Path | None = None
        self._number = 0

    def take(self) -> None:
        """The next one; its file is read and removed."""
        self._number += 1
        path = self._folder / f"{self._name}-{self._number}.ndjson"
        previous = None if self._previous is None else str(self._previous)
        selection = self._selection if previous is None else None
        summary = export_file(self._store, str(path), selection, previous=previous)
        with path.open("rb") as lines:
            found = [json.loads(line) for line in lines]
        assert summary.exported == len(found)
        self._rows += [(one["gpos"], one["id"], one["stream"]) for one in found]
        path.unlink()
        if self._previous is not None:
            self._previous.unlink()
        self._previous = summary.manifest

    def close(self) -> None:
        """Gives the connections back."""
        self._store.close()


def _write(dsn: str, namespace: str, number: int, seed: int, over: threading.Event, result: Result) -> None:
    """A writer in a category of its own: one message or a batch at a time, some of them rolled back, none in a hurry."""
    chance = random.Random(f"{seed} {number}")
    write = sql.SQL("SELECT {}.write_message(%s, %s, 'Happened', '{{}}')").format(sql.Identifier(namespace))
    with psycopg.connect(dsn, autocommit=True) as connection:
        while not over.is_set():
            undone = chance.random() < 0.2
            with connection.transaction(force_rollback=undone):
                for _ in range(chance.choice((1, 1, 3, 20))):
                    connection.execute(write, (str(uuid.uuid4()), f"w{number}-{chance.randrange(5)}"))
                    if chance.random() < 0.2:
                        time.sleep(chance.random() * 0.02)
            result.rolled_back += undone


def _read_naively(dsn: str, namespace: str, over: threading.Event, result: Result) -> None:
    """A reader as one would write it without knowing better."""
    last = 0
    with psycopg.connect(dsn, autocommit=True) as connection:
        while True:
            done = over.is_set()
            found = _rows(connection, namespace, last)
            result.naive += found
            last = found[-1][0] if found else last
            if done:
                return
            over.wait(_EVERY)


def _rows(connection: psycopg.Connection, namespace: str, after: int) -> list[Row]:
    query = sql.SQL(
        "SELECT global_position, id::text, stream_name FROM {} WHERE global_position > %s ORDER BY global_position"
    ).format(sql.Identifier(namespace, "messages"))
    return connection.execute(query, (after,)).fetchall()
