"""What stands beside an exported file: what it holds, and of which moment."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from evtool import files

SUFFIX = ".manifest.json"


@dataclass(frozen=True, slots=True)
class BulkManifest:
    """What a file holds.

    Attributes:
        table: the table, as the source names it.
        resource: the resource that described it; None where the catalog did.
        format: ndjson, json or csv.
        compression: gzip or zstd; None for none.
        bom: whether it begins with a byte-order mark.
        columns: name, type in the source, and kind (how values are written) of each, in order.
        order: the total order of its records.
        filters: the conditions, and since and until with the field that they look at.
        snapshot: the source's.
        count: how many records.
        bytes: the file's size.
        sha256: of the file as it lies on disk.
        evtool: the version that wrote it.
    """

    table: str
    resource: str | None
    format: str
    compression: str | None
    bom: bool
    columns: list[dict[str, str]]
    order: list[str]
    filters: dict[str, Any]
    snapshot: dict[str, Any]
    count: int
    bytes: int
    sha256: str
    evtool: str


def path_of(path: str) -> Path:
    """The manifest of a file."""
    return Path(path + SUFFIX)


def write(manifest: BulkManifest, path: str) -> None:
    """Writes the manifest of a file beside it.

    Raises:
        FileError: it can't be written.
    """
    text = json.dumps(asdict(manifest), ensure_ascii=False, indent=2) + "\n"
    with files.open_output(str(path_of(path)), compress=False) as output:
        output.write(text.encode())


def sha256_of(path: str) -> str:
    """The checksum of a file's bytes on disk."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
