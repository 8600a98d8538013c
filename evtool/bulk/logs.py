"""What workers log: events with fields, as lines for people or as JSON objects, one a line.

The standard library's logging, so that a program that embeds a worker gets its events where it has all others. An
event is a word or two (`batch`, `job ended`); what belongs to it is in fields: `extra=fields(job=7, total=1000)`.
"""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

NAME = "evtool.bulk"
"""The logger of everything here."""

_ATTRIBUTE = "evtool_fields"


def fields(**given: Any) -> Mapping[str, Any]:
    """What belongs to an event, for `extra=`; None is left out."""
    return {_ATTRIBUTE: {name: value for name, value in given.items() if value is not None}}


def configure(stream: TextIO, form: str, *, verbose: bool = False) -> logging.Logger:
    """Sends the events of evtool.bulk to a stream, and nowhere else.

    Args:
        stream: where to.
        form: `text` or `json`.
        verbose: batches too, not only jobs; and the traceback of a fault.
    """
    logger = logging.getLogger(NAME)
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter(verbose=verbose) if form == "json" else TextFormatter(verbose=verbose))
    logger.handlers[:] = [handler]
    logger.setLevel(logging.DEBUG if verbose else logging.INFO)
    logger.propagate = False
    return logger


class _Formatter(logging.Formatter):
    def __init__(self, *, verbose: bool) -> None:
        super().__init__()
        self._verbose = verbose

    def _fields(self, record: logging.LogRecord) -> dict[str, Any]:
        found = dict(getattr(record, _ATTRIBUTE, {}))
        if record.exc_info and self._verbose:
            found["traceback"] = "".join(traceback.format_exception(*record.exc_info))
        return found

    @staticmethod
    def _time(record: logging.LogRecord) -> str:
        return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class JsonFormatter(_Formatter):
    """An object a line: time, level, event, and the event's fields."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever the fields hold."""
        head = {"time": self._time(record), "level": record.levelname.lower(), "event": record.getMessage()}
        return json.dumps(head | self._fields(record), ensure_ascii=False, default=str)


class TextFormatter(_Formatter):
    """A line for people: time, level, event, and the fields as name=value."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, but for a traceback."""
        found = self._fields(record)
        trace = found.pop("traceback", None)
        told = " ".join(f"{name}={_shown(value)}" for name, value in found.items())
        line = f"{self._time(record)} {record.levelname.lower():<7} {record.getMessage()}  {told}".rstrip()
        return f"{line}\n{trace}" if trace else line


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return json.dumps(text, ensure_ascii=False) if not text or any(c <= " " or c in '"=' for c in text) else text
