"""What a job asks for: the words of a request, checked by whoever submits it and by whoever does it.

docs/bulk-jobs.md lists them. Anybody who may submit can write a request by psql, so a worker trusts none of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from evtool.bulk import remote
from evtool.bulk.resource import Resource
from evtool.errors import JobRefused

_IMPORT: dict[str, type | tuple[type, ...]] = {
    "source": str,
    "sha256": str,
    "schema": str,
    "table": str,
    "format": str,
    "mode": str,
    "batch_size": int,
    "max_errors": (int, str),
}
_EXPORT: dict[str, type | tuple[type, ...]] = {
    "output": str,
    "schema": str,
    "table": str,
    "format": str,
    "columns": list,
    "where": list,
    "since": str,
    "until": str,
    "time_field": str,
    "order_by": list,
    "bom": bool,
}
_FORMATS = ("csv", "ndjson", "json")
_MODES = ("insert", "upsert")
_MAX_ERRORS = re.compile(r"\d{1,12}|\d{1,3}(\.\d+)?%")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LARGEST_BATCH = 100_000


def check(kind: str, request: Mapping[str, Any]) -> None:
    """Makes sure that a request says what it must, and nothing else.

    Raises:
        JobRefused: it doesn't.
        SourceRefused: its URL can't be a source.
    """
    known = _IMPORT if kind == "import" else _EXPORT
    for word, value in request.items():
        if word not in known:
            raise _refused(f'an {kind} has no "{word}"', f"it has {', '.join(known)}")
        wanted = known[word]
        if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
            raise _refused(f'"{word}" of an {kind} has the wrong type', "see docs/bulk-jobs.md")
        if isinstance(value, list) and not all(isinstance(one, str) for one in value):
            raise _refused(f'"{word}" of an {kind} is a list of texts', "see docs/bulk-jobs.md")
        if isinstance(value, str) and "\0" in value:
            raise _refused(f'"{word}" holds a NUL', "see docs/bulk-jobs.md")
    place = "source" if kind == "import" else "output"
    if not request.get(place):
        raise _refused(f'an {kind} needs a "{place}"', "name a file")
    if remote.is_url(request[place]) and kind == "import":
        remote.check_url(request[place])
    elif not request[place].startswith("/"):
        # whose current folder?
        raise _refused(f'"{place}" is a path from / on', "or, of an import, an http(s) URL")
    _one_of("format", request.get("format"), _FORMATS)
    _one_of("mode", request.get("mode"), _MODES)
    if not 1 <= request.get("batch_size", 1) <= _LARGEST_BATCH:
        raise _refused(f"a batch has 1 to {_LARGEST_BATCH} records", "the default is 1000")
    if "max_errors" in request and not _MAX_ERRORS.fullmatch(str(request["max_errors"])):
        raise _refused('"max_errors" is a number of records, or a share such as 5%', "see docs/bulk-jobs.md")
    if "sha256" in request and not _SHA256.fullmatch(request["sha256"]):
        raise _refused('"sha256" has 64 hexadecimal digits', "see: sha256sum FILE")


def max_errors(request: Mapping[str, Any]) -> tuple[int | None, float | None]:
    """How many records may be rejected, and which share of all: one of them, or neither."""
    given = request.get("max_errors")
    if given is None:
        return None, None
    if str(given).endswith("%"):
        return None, float(str(given)[:-1]) / 100
    return int(given), None


def target(resource: Resource | None, table: str | None, schema: str) -> str:
    """The table of a job, as PostgreSQL reads a name."""
    if resource is not None:
        return _qualified(resource.schema or schema, resource.table)
    assert table is not None
    # a table is written as SQL writes it, a schema as it is
    return table if "." in table else f"{_quoted(schema)}.{table}"


def references(resource: Resource | None) -> tuple[str, ...]:
    """The tables that a resource refers to, whether or not by foreign keys."""
    if resource is None:
        return ()
    return tuple(
        dict.fromkeys(_qualified(one.schema or resource.schema or "public", one.table) for one in resource.references)
    )


def _qualified(schema: str, table: str) -> str:
    return f"{_quoted(schema)}.{_quoted(table)}"


def _quoted(name: str) -> str:
    return '"{}"'.format(name.replace('"', '""'))


def _one_of(word: str, value: Any, known: tuple[str, ...]) -> None:
    if value is not None and value not in known:
        raise _refused(f'"{word}" is one of {", ".join(known)}', "see docs/bulk-jobs.md")


def _refused(message: str, hint: str) -> JobRefused:
    return JobRefused(message, hint=hint)
