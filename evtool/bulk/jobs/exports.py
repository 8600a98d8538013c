"""An export as a job: written beside its place, and put there by the transaction that ends the job."""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from evtool import times
from evtool.bulk import exporting, manifest
from evtool.bulk.jobs import places
from evtool.bulk.jobs.holding import Hold
from evtool.bulk.jobs.model import Claim, State
from evtool.bulk.jobs.options import Options
from evtool.bulk.resource import shipped
from evtool.bulk.selecting import TIME_FIELD, BulkSelection, Condition
from evtool.bulk.writers import Format
from evtool.compression import by_suffix


def run(hold: Hold, dsn: str, options: Options) -> State:
    """Does an export; returns the state that the job is in then.

    Raises:
        JobLost, Cancelled, Stopped: it was interrupted, and nothing of it is left.
        EvtoolError: it failed, likewise.
    """
    claim, request = hold.claim, hold.claim.request
    output = places.writable(request["output"], options.folders)
    # a name of this claim's own: a worker that was stopped for a while writes to another
    written = output.with_name(f".{output.name}.{claim.job}-{claim.token}")
    started = time.monotonic()
    _tidy(output, claim)
    try:
        exporting.export_file(
            dsn,
            request.get("table") or shipped(claim.resource),
            str(written),
            _selection(request),
            format=_format(request),
            bom=request.get("bom", False),
            compression=by_suffix(output.name),
            schema=request.get("schema", "public"),
            progress=lambda _: hold.check(),
        )
        hold.check()
        described = json.loads(manifest.path_of(str(written)).read_text("utf-8"))
        with hold.queue.connection.transaction():
            # holds the job to the commit: no other worker can have it while the file takes its place
            state = hold.queue.finish(claim, described, took=timedelta(seconds=time.monotonic() - started))
            # what stands there describes the file that was there before
            manifest.path_of(str(output)).unlink(missing_ok=True)
            os.replace(written, output)
            os.replace(manifest.path_of(str(written)), manifest.path_of(str(output)))
    finally:
        for left in (written, manifest.path_of(str(written))):
            with contextlib.suppress(OSError):
                Path(left).unlink()
    hold.metrics.exported(claim, described["count"], time.monotonic() - started)
    return state


def _tidy(output: Path, claim: Claim) -> None:
    """Removes what this job's earlier workers left when they were killed; one that was merely stopped is fenced."""
    # one dot where it was written already, and two while it was
    mark = re.compile(rf"\.?\.{re.escape(output.name)}\.{claim.job}-(\d{{1,19}})(\..*)?")
    with contextlib.suppress(OSError):
        for left in output.parent.iterdir():
            if (found := mark.fullmatch(left.name)) and int(found[1]) < claim.token:
                left.unlink(missing_ok=True)


def _format(request: dict[str, Any]) -> Format:
    if "format" in request:
        return Format(request["format"])
    return Format.of(request["output"])


def _selection(request: dict[str, Any]) -> BulkSelection:
    since, until = request.get("since"), request.get("until")
    return BulkSelection(
        columns=tuple(request.get("columns", ())),
        where=tuple(Condition.parse(one) for one in request.get("where", ())),
        since=times.parse_bound(since) if since is not None else None,
        until=times.parse_bound(until) if until is not None else None,
        order_by=tuple(request.get("order_by", ())),
        time_field=request.get("time_field", TIME_FIELD),
    )
