"""What is known of an export, in a file beside it: enough to check it, and to go on with what comes next.

The last field, `seal`, is the sha256 of all the others as they stand in the file, so that a manifest that was cut off
or changed is told from one that was written so.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from evtool import __version__, files, times
from evtool.errors import FileError, InvalidArgument, ManifestUnusable
from evtool.model import Namespace, Selection, Watermark

FORMAT = 1
_SEAL = "seal"


class Filters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The selection of an export, as the options say it. Names are sorted, each once."""

    categories: list[str]
    streams: list[str]
    types: list[str]
    correlation: str | None
    since: str | None
    until: str | None
    from_position: int | None
    to_position: int | None


class Mark(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The watermark of an export: see `model.Watermark`."""

    position: int
    imports: int


class Origin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The namespace that was exported, and what kept it."""

    name: str
    created_at: str
    store: str
    structure: str


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A manifest.

    Attributes:
        format: of the manifest itself.
        evtool: the version that wrote it.
        file: the export's name, without folders; None for standard output.
        size: the export's bytes.
        sha256: of these bytes.
        compression: none, gzip or zstd.
        count: how many messages.
        first_position: the global position of the first; None where there are none.
        last_position: of the last.
        after: the global position behind which it begins: that of the previous export's watermark, or 0.
        filters: which messages.
        watermark: up to where it is complete.
        namespace: where from.
        started_at: when the export began.
        finished_at: when it was complete.
        previous: the sha256 of the manifest that it goes on from; None for a first export.
    """

    format: int
    evtool: str
    file: str | None
    size: int
    sha256: str
    compression: str
    count: int
    first_position: int | None
    last_position: int | None
    after: int
    filters: Filters
    watermark: Mark
    namespace: Origin
    started_at: str
    finished_at: str
    previous: str | None


def place(named: str, output: str) -> Path:
    """Where a manifest is written that is to lie elsewhere, or to be standard output: looked at before the export.

    Args:
        named: where to.
        output: the export's.

    Raises:
        InvalidArgument: both are one file or one stream, and the second would be all that is left of the two.
        FileError: it is a folder, or in none.
    """
    if files.are_one(named, output):
        raise InvalidArgument(
            f"the manifest and the export can't both be written to {named}", hint="give --manifest another name"
        )
    folder = files.target_of(named).parent
    if named != files.STANDARD and not folder.is_dir():
        raise FileError(f"can't write the manifest {named}: there is no folder {folder}", hint="make it first")
    if Path(named).is_dir():
        raise FileError(f"can't write the manifest {named}: it is a folder", hint="name a file in it")
    return Path(named)


def filters_of(selection: Selection) -> Filters:
    """A selection as a manifest has it."""
    return Filters(
        categories=sorted(set(selection.categories)),
        streams=sorted(set(selection.streams)),
        types=sorted(set(selection.types)),
        correlation=selection.correlation,
        since=None if selection.since is None else times.render(selection.since),
        until=None if selection.until is None else times.render(selection.until),
        from_position=selection.from_position,
        to_position=selection.to_position,
    )


def selection_of(filters: Filters) -> Selection:
    """The selection that a manifest has."""
    return Selection(
        categories=tuple(filters.categories),
        streams=tuple(filters.streams),
        types=tuple(filters.types),
        correlation=filters.correlation,
        since=None if filters.since is None else datetime.fromisoformat(filters.since),
        until=None if filters.until is None else datetime.fromisoformat(filters.until),
        from_position=filters.from_position,
        to_position=filters.to_position,
    )


def origin_of(namespace: Namespace, store: str, structure: str) -> Origin:
    """A namespace as a manifest has it."""
    return Origin(namespace.name, times.render(namespace.created_at), store, structure)


def mark_of(watermark: Watermark) -> Mark:
    """A watermark as a manifest has it."""
    return Mark(watermark.position, watermark.imports)


def now() -> str:
    """This moment, as a manifest has it."""
    return times.render(datetime.now(UTC))


def render(manifest: Manifest) -> bytes:
    """The bytes of a manifest's file."""
    fields = msgspec.to_builtins(manifest)
    fields[_SEAL] = _seal(fields)
    return (json.dumps(fields, ensure_ascii=False, indent=2) + "\n").encode()


def write(manifest: Manifest, path: Path) -> None:
    """Writes a manifest; it appears when it is complete.

    Raises:
        FileError: it can't be written.
    """
    try:
        with files.open_output(str(path)) as file:
            file.write(render(manifest))
    except FileError as error:
        raise FileError(
            f"{error.message}: it is the manifest",
            hint="the export itself is complete; name another place with --manifest",
        ) from error


def read(path: str) -> tuple[Manifest, str]:
    """Reads a manifest.

    Returns:
        The manifest, and the sha256 of its file, by which the next one names it.

    Raises:
        FileError: it can't be read.
        ManifestUnusable: it is of a newer format, was cut off or changed, or is none at all.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise FileError(
            f"can't read the manifest {path}: {error.strerror or error}",
            hint=f"it lies beside its export: FILE{files.MANIFEST_SUFFIX}",
        ) from error
    try:
        fields = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _unusable(path, "is no manifest of an export, or was cut off") from error
    if not isinstance(fields, dict) or not isinstance(fields.get("format"), int):
        raise _unusable(path, "is no manifest of an export")
    if fields["format"] > FORMAT:
        raise ManifestUnusable(
            f"{path} has format {fields['format']}, and this evtool {__version__} knows {FORMAT} at the most",
            hint="a newer evtool wrote it: upgrade evtool",
        )
    seal = fields.pop(_SEAL, None)
    if seal != _seal(fields):
        raise _unusable(path, "was changed, or is damaged: its seal doesn't fit")
    try:
        manifest = msgspec.convert(fields, Manifest)
        # a time or a category that can't be
        selection_of(manifest.filters)
    except (msgspec.ValidationError, ValueError) as error:
        raise _unusable(path, "is no manifest of an export") from error
    return manifest, hashlib.sha256(content).hexdigest()


def _seal(fields: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(fields, ensure_ascii=False, sort_keys=True).encode(errors="replace")).hexdigest()


def _unusable(path: str, what: str) -> ManifestUnusable:
    return ManifestUnusable(
        f"{path} {what}", hint=f"name an export's FILE{files.MANIFEST_SUFFIX}, or export everything anew"
    )
