"""What the laws share: messages to write, records to import, values to compare."""

from __future__ import annotations

import io
import json
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from decimal import Decimal
from typing import Any, TypeVar

import msgspec

from evtool import ndjson
from evtool.errors import EvtoolError
from evtool.model import Message, NewMessage, Selection
from evtool.ndjson import Record
from evtool.store import Store

OpenStore = Callable[..., Store]
MakeNamespace = Callable[[], str]

MAX_BIGINT = 2**63 - 1
TIME = "2025-07-15T10:00:00.000000Z"
DEADLINE = 60.0
"""Seconds after which what was waited for is taken to never come."""

_T = TypeVar("_T")


def append(store: Store, stream_name: str, count: int = 1, **fields: Any) -> list[int]:
    """Writes some messages to a stream, as one batch; returns their positions."""
    return store.write_messages(stream_name, [NewMessage(**{"type": "Happened", **fields}) for _ in range(count)])


def spread(store: Store, streams: Sequence[str], rounds: int = 1) -> list[str]:
    """Writes a message to each stream in turn, some rounds; returns the streams in global order."""
    order = [name for _ in range(rounds) for name in streams]
    for name in order:
        store.write_message(None, name, "Happened", {})
    return order


def everything(store: Store) -> list[Message]:
    """All messages of the namespace, in global order."""
    return store.get_all_messages(batch_size=-1)


def value(text: str | bytes | None) -> Any:
    """JSON as a value to compare: numbers exact, and equal as PostgreSQL's numeric has them; keys in no order."""
    return None if text is None else json.loads(text, parse_float=Decimal, parse_int=Decimal)


def facts(message: Message) -> tuple[Any, ...]:
    """What two stores must agree on in a message. JSON's null and no value are the same in a file."""
    return (
        message.id,
        message.stream_name,
        message.type,
        message.position,
        message.global_position,
        value(message.data),
        value(message.metadata),
        message.time,
    )


def new_id() -> str:
    """A fresh UUID."""
    return str(uuid.uuid4())


def record(gpos: int, stream: str = "thing-1", pos: int = 0, **fields: Any) -> Record:
    """A record to be imported; everything but the position has a default."""
    data, meta = (raw if isinstance(raw, bytes) else json.dumps(raw).encode() for raw in (
        fields.get("data", {}), fields.get("meta")
    ))  # fmt: skip
    return Record(
        id=fields.get("id") or new_id(),
        stream=stream,
        type=fields.get("type", "Happened"),
        pos=pos,
        gpos=gpos,
        data=msgspec.Raw(data),
        meta=msgspec.Raw(meta),
        time=fields.get("time", TIME),
    )


def records(file: bytes) -> Iterator[Record]:
    """The records of an export file."""
    return ndjson.read(io.BytesIO(file))


def file_of(store: Store, selection: Selection | None = None) -> bytes:
    """The file of an export."""
    return b"".join(block.lines for block in store.export(selection or Selection()))


def lines_of(store: Store, selection: Selection | None = None) -> list[dict[str, Any]]:
    """The lines of an export, as values to compare."""
    return [value(line) for line in file_of(store, selection).splitlines()]


def positions_of(lines: Iterable[dict[str, Any]]) -> list[int]:
    """The global positions of an export's lines."""
    return [int(line["gpos"]) for line in lines]


def together(calls: Sequence[Callable[[], _T]]) -> list[Future[_T]]:
    """Runs calls at the same time, a thread each, and returns their finished futures."""
    start = threading.Barrier(len(calls))
    futures: list[Future[_T]] = [Future() for _ in calls]

    def run(call: Callable[[], _T], future: Future[_T]) -> None:
        try:
            start.wait(DEADLINE)
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001 - the future carries it
            future.set_exception(error)

    threads = [threading.Thread(target=run, args=pair, daemon=True) for pair in zip(calls, futures, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
        assert not thread.is_alive(), "a call never ended"
    return futures


def outcomes(calls: dict[str, Callable[[], object]]) -> dict[str, str]:
    """What each call ends in: the code of an error of evtool's, the class of any other, or "done"."""
    ends = {}
    for name, call in calls.items():
        try:
            call()
        except EvtoolError as error:
            ends[name] = error.code
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told
            ends[name] = type(error).__name__
        else:
            ends[name] = "done"
    return ends


def every_call(store: Store) -> dict[str, Callable[[], object]]:
    """Every method that works in the namespace of a store, ready to be called."""
    return {
        "write_message": lambda: store.write_message(None, "thing-1", "Happened", {}),
        "write_messages": lambda: append(store, "thing-1"),
        "get_stream_messages": lambda: store.get_stream_messages("thing-1"),
        "get_category_messages": lambda: store.get_category_messages("thing"),
        "get_all_messages": store.get_all_messages,
        "get_last_stream_message": lambda: store.get_last_stream_message("thing-1"),
        "stream_version": lambda: store.stream_version("thing-1"),
        "list_streams": store.list_streams,
        "list_categories": store.list_categories,
        "export": lambda: file_of(store),
        "import_batch": lambda: store.import_batch([record(1_000, "imported-1")]),
    }
