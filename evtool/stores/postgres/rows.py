"""Rows of the server as what the contract has: its times have no zone, and are UTC."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from evtool.imports import ImportRecord
from evtool.model import Message


def message(
    id_: str,
    stream_name: str,
    type_: str,
    position: int,
    global_position: int,
    data: str | None,
    metadata: str | None,
    time: datetime,
) -> Message:
    """A row of the SQL type `message`."""
    return Message(id_, stream_name, type_, position, global_position, data, metadata, time.replace(tzinfo=UTC))


def record(number: int, imported_at: datetime, *row: Any) -> ImportRecord:
    """A row of the table `imports`."""
    return ImportRecord(number, imported_at.replace(tzinfo=UTC), *row)
