"""The imports on record in an environment: a key of a number, the record as JSON, in the transaction of the batch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime

from evtool import times
from evtool.imports import ImportRecord
from evtool.stores.lmdb import layout
from evtool.stores.lmdb.environment import Transaction

_IMPORTS = b"\0imports"


def add(transaction: Transaction, record: ImportRecord) -> None:
    """Writes a record."""
    row = asdict(record) | {"imported_at": times.render(record.imported_at)}
    transaction.put(_IMPORTS + layout.number(record.number), json.dumps(row).encode())


def copy(source: Transaction, target: Transaction) -> None:
    """Copies all records into another environment."""
    for key, value in layout.entries(source, _IMPORTS):
        target.put(_IMPORTS + key, value)


def last(transaction: Transaction) -> int:
    """The number of the last record; 0 where there is none."""
    number = 0
    for key, _ in layout.entries(transaction, _IMPORTS):
        number = layout.unnumber(key)
    return number


def records(transaction: Transaction, after: int, fingerprint: str | None) -> Iterator[ImportRecord]:
    """The records, in order; see `Store.import_records`."""
    for _, value in layout.entries(transaction, _IMPORTS, after + 1):
        row = json.loads(value)
        if fingerprint is None or row["fingerprint"] == fingerprint:
            yield ImportRecord(**row | {"imported_at": datetime.fromisoformat(row["imported_at"])})
