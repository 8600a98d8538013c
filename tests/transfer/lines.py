"""Lines of export files, right and wrong ones."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from typing import Any


def line(gpos: Any = 1, /, **fields: Any) -> bytes:
    """A line; fields are JSON values, or bytes to stand there as they are; `...` leaves a field out."""
    number = gpos if isinstance(gpos, int) else 1
    record = {
        "id": str(uuid.uuid5(uuid.NAMESPACE_OID, str(gpos))),
        "stream": "account-1",
        "type": "Deposited",
        "pos": number - 1,
        "gpos": gpos,
        "data": {"amount": number},
        "meta": None,
        "time": "2025-07-15T10:00:00.000000Z",
        **fields,
    }
    parts = (
        json.dumps(name).encode() + b":" + (value if isinstance(value, bytes) else _json(value))
        for name, value in record.items()
        if value is not ...
    )
    return b"{" + b",".join(parts) + b"}\n"


def lines(positions: Iterable[int], **fields: Any) -> bytes:
    """Lines at these global positions."""
    return b"".join(line(position, **fields) for position in positions)


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
