"""What stands beside an exported file: what it holds, and of which moment."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from evtool import files
from evtool.errors import FileError


@dataclass(frozen=True, slots=True)
class BulkManifest:
    """What a file holds.

    Attributes:
        table: the table, as the source names it.
        resource: the resource that described it; None where the catalog did.
        format: ndjson, json or csv.
        compression: none, gzip or zstd.
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
    compression: str
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
    return files.manifest_beside(path)


def write(manifest: BulkManifest, path: Path) -> None:
    """Writes a manifest; it appears when it is complete.

    Raises:
        FileError: it can't be written.
    """
    text = json.dumps(asdict(manifest), ensure_ascii=False, indent=2) + "\n"
    try:
        with files.replaced(path) as file:
            file.write(text.encode())
    except OSError as error:
        raise FileError(
            f"can't write the manifest {path}: {error.strerror or error}", hint="the export itself is complete"
        ) from error
