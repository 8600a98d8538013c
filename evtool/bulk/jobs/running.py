"""Does a job that is held: looks at its request once more, and hands it to whoever does its kind."""

from __future__ import annotations

from evtool.bulk.jobs import exports, imports, requests
from evtool.bulk.jobs.holding import Hold
from evtool.bulk.jobs.model import State
from evtool.bulk.jobs.options import Options


def run(hold: Hold, dsn: str, options: Options) -> State:
    """Does a job to its end; returns the state that it is in then.

    Args:
        hold: the job.
        dsn: of the database, for who needs a connection of its own.
        options: of the worker.

    Raises:
        JobRefused: the request is not one.
        JobLost, Cancelled, Stopped: it was interrupted.
        EvtoolError: it failed.
    """
    requests.check(hold.claim.kind, hold.claim.request)
    if hold.claim.kind == "export":
        return exports.run(hold, dsn, options)
    return imports.run(hold, options)
