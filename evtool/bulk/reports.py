"""What an import says in the end: counts that add up, and the records that were refused.

A file of rejects can be mended and imported again. As CSV it has the columns of the records, then `_line`, `_errors`
and `_raw`, of several files `_file` before them; an import passes over those. As NDJSON it has an object a reject,
`{"line":…,"errors":[…],"raw":"…"}`, of several files with `file`, and an import takes the JSON that `raw` holds for the
record.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evtool import files
from evtool.bulk.framing import REJECT_COLUMNS, Framer
from evtool.bulk.ledger import FailedBatch, Ledger
from evtool.bulk.loading import Outcome, Reject
from evtool.bulk.records import FAULTS
from evtool.bulk.resource import Resource
from evtool.compression import by_suffix, without_suffix
from evtool.errors import InvalidArgument
from evtool.pumping import Pump


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What became of the records of a resource. total = accepted + rejected, and accepted = inserted + updated.

    Attributes:
        resource: its name.
        total: records in the files.
        accepted: those that are in the table now.
        inserted: those that were new.
        updated: those that replaced a record of the same key.
        rejected: those that are not in the table.
        errors: what was wrong with those; a record may have several.
        by_code: how often each code occurs, the most frequent first.
        failed_batches: batches that failed as a whole.
        elapsed: seconds.
        kept: whether the table has it now: not after a dry run, nor after an atomic import that too many rejects ended.
    """

    resource: str
    total: int = 0
    accepted: int = 0
    inserted: int = 0
    updated: int = 0
    rejected: int = 0
    errors: int = 0
    by_code: dict[str, int] = field(default_factory=dict)
    failed_batches: tuple[FailedBatch, ...] = ()
    elapsed: float = 0.0
    kept: bool = True

    def as_json(self) -> dict[str, Any]:
        """The report as `--report json` prints it."""
        return {
            "resource": self.resource,
            "total": self.total,
            "accepted": self.accepted,
            "inserted": self.inserted,
            "updated": self.updated,
            "rejected": self.rejected,
            "errors": self.errors,
            "by_code": self.by_code,
            "failed_batches": [
                {
                    "batch": one.batch,
                    "first_line": one.first_line,
                    "last_line": one.last_line,
                    "records": one.records,
                    "sqlstate": one.code,
                }
                for one in self.failed_batches
            ],
            "elapsed": f"{self.elapsed:.1f}s",
            "kept": self.kept,
        }


def sum_of(counts: Outcome, more: Outcome) -> Outcome:
    """Two outcomes together."""
    return Outcome(*(a + b for a, b in zip(dataclasses.astuple(counts), dataclasses.astuple(more), strict=True)))


def add(report: ImportReport, ledger: Ledger, elapsed: float) -> ImportReport:
    """A report with another file's counts added."""
    by_code = dict(report.by_code)
    for code, count in ledger.by_code().items():
        by_code[code] = by_code.get(code, 0) + count
    before = Outcome(report.total, report.accepted, report.inserted, report.updated, report.rejected, report.errors)
    return ImportReport(
        report.resource,
        **dataclasses.asdict(sum_of(before, ledger.counts())),
        by_code=dict(sorted(by_code.items(), key=lambda item: (-item[1], item[0]))),
        failed_batches=(*report.failed_batches, *ledger.failed_batches()),
        elapsed=report.elapsed + elapsed,
        kept=report.kept,
    )


def path_of(reject_file: str, resource: Resource | None) -> str:
    """Where the rejects go; of several resources each has its own file, rejects.users.csv."""
    if resource is None or not files.is_regular(reject_file):
        return reject_file
    path = Path(reject_file)
    return str(path.with_name(f"{path.stem}.{resource.name}{path.suffix}"))


def check_reject_file(reject_file: str, sources: Sequence[tuple[Resource, Sequence[str]]]) -> None:
    """Refuses rejects that would take the place of what is imported, which is then nowhere any more.

    Args:
        reject_file: where the rejects are to go.
        sources: the resources of an import, and the paths of their files.

    Raises:
        InvalidArgument: it is one of those files, or would be written twice.
    """
    targets = [path_of(reject_file, resource if len(sources) > 1 else None) for resource, _ in sources]
    if len({*targets}) < len(targets) and files.is_regular(reject_file):
        raise InvalidArgument(
            "two sources of one resource would share a file of rejects", hint="give one source all of their paths"
        )
    for target in targets:
        for path in (path for _, paths in sources for path in paths):
            if files.is_read_as(path, target):
                name = "standard input" if path == files.STANDARD else path
                raise InvalidArgument(
                    f"the rejects would be written over {name}, which is imported", hint="give them another name"
                )


@dataclass(frozen=True, slots=True)
class Refused:
    """A file that was imported, for its rejects.

    Attributes:
        ledger: which has them.
        path: as it is shown.
        framer: which takes them apart again.
    """

    ledger: Ledger
    path: str
    framer: Framer


@contextlib.contextmanager
def reject_file(path: str, *, several: bool) -> Iterator[RejectFile]:
    """Opens a file of rejects: CSV if its name ends so, else NDJSON. It appears when it is complete."""
    with files.open_output(path, compression=by_suffix(path)) as stream:
        as_csv = without_suffix(path).lower().endswith(".csv")
        yield RejectFile(stream, as_csv=as_csv, several=several)


class RejectFile:
    """Writes rejects."""

    def __init__(self, stream: Pump, *, as_csv: bool, several: bool) -> None:
        self._stream = stream
        self._as_csv = as_csv
        self._several = several

    def write(self, refused: Sequence[Refused], resource: Resource) -> None:
        """Writes the rejects of all files of a resource."""
        if self._as_csv:
            columns = self._columns(refused, resource)
            beside = REJECT_COLUMNS if self._several else REJECT_COLUMNS[1:]
            self._stream.write(_csv_line([*columns, *beside]))
            for one in refused:
                for reject in one.ledger.rejects():
                    self._stream.write(self._csv(reject, one, columns))
            return
        for one in refused:
            for reject in one.ledger.rejects():
                found: dict[str, Any] = {"line": reject.line, "errors": reject.errors, "raw": reject.raw}
                if self._several:
                    found = {"file": one.path, **found}
                self._stream.write(_json(found).encode() + b"\n")

    @staticmethod
    def _columns(refused: Sequence[Refused], resource: Resource) -> tuple[str, ...]:
        """Those that the files have. One more would be null when it is imported again, and replace what is there."""
        if len(refused) == 1 and refused[0].framer.is_tabular:
            return refused[0].framer.columns
        given: set[str] = set()
        for one in refused:
            if one.framer.is_tabular:
                given.update(one.framer.columns)
            else:
                for reject in one.ledger.rejects():
                    given.update(_found(reject, one.framer))
                    # what is missing everywhere is what must be filled in
                    given.update(error["field"] for error in reject.errors if error["field"] is not None)
        return tuple(name for name in resource.column_names if name in given or not given)

    def _csv(self, reject: Reject, one: Refused, columns: Sequence[str]) -> bytes:
        found = _found(reject, one.framer)
        beside = [one.path] if self._several else []
        return _csv_line([*map(found.get, columns), *beside, str(reject.line), _json(reject.errors), reject.raw])


def _found(reject: Reject, framer: Framer) -> dict[str, str]:
    """The fields of a reject."""
    # of a record that could not be taken apart, `raw` may be cut short, or show bytes that were something else
    whole = not any(error["field"] is None and error["code"] in FAULTS for error in reject.errors)
    return dict(framer.reread(reject.raw)) if whole else {}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _csv_line(fields: list[str | None]) -> bytes:
    """A line of CSV: nothing between the commas is a missing value, two quotes are an empty text."""
    return ",".join("" if one is None else _quoted(one) for one in fields).encode() + b"\n"


def _quoted(text: str) -> str:
    if text and not any(one in text for one in ',"\r\n'):
        return text
    return '"{}"'.format(text.replace('"', '""'))
