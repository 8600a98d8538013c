"""How messages are to be imported, and what is kept on record of it."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime


class OnConflict(enum.StrEnum):
    """What to do with a message whose global position, id, or stream and position is taken."""

    ERROR = "error"
    """Refuse the import."""

    SKIP = "skip"
    """Leave out a message that is there already, identical in every field; refuse one that differs."""


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """How a batch of records is to be imported.

    Attributes:
        on_conflict: what to do with what is there already.
        replace: remove all messages of the namespace first, in the same transaction.
        dry_run: check everything against the namespace and keep nothing.
        source: what the record calls the file: its name, without folders.
        fingerprint: which file it is, where the import is to be resumable; None where it is not.
        options: what else must be the same for an import to be resumed, as text.
        first_line: the number of the batch's first record, for errors and the record.
        complete: whether this batch is the file's last.
    """

    on_conflict: OnConflict = OnConflict.ERROR
    replace: bool = False
    dry_run: bool = False
    source: str = ""
    fingerprint: str | None = None
    options: str = ""
    first_line: int = 1
    complete: bool = True


@dataclass(frozen=True, slots=True)
class ImportSummary:
    """What an import did.

    Attributes:
        imported: how many messages.
        last_position: the greatest global position among them; None where there were none.
        skipped: how many were there already.
    """

    imported: int
    last_position: int | None
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class ImportRecord:
    """A batch that was imported, as the namespace has it on record: written in the batch's own transaction.

    Attributes:
        number: from 1, in the order of commits.
        imported_at: when, UTC.
        source: the file's name, without folders.
        fingerprint: which file it was, if the import was resumable.
        options: of a resumable import.
        last_line: the number of the file's records that are in the namespace, this batch included.
        imported: how many messages this batch placed.
        skipped: how many it found there already.
        first_position: the smallest global position that it placed; None where it placed none.
        last_position: the greatest.
        replaced: whether it removed all messages first.
        complete: whether it was the file's last.
    """

    number: int
    imported_at: datetime
    source: str
    fingerprint: str | None
    options: str
    last_line: int
    imported: int
    skipped: int
    first_position: int | None
    last_position: int | None
    replaced: bool
    complete: bool
