"""How a worker works."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from evtool.bulk.remote import Limits


@dataclass(frozen=True, slots=True)
class Options:
    """How a worker works.

    Attributes:
        name: for people.
        lease: how long a job stays a worker's that says nothing.
        poll_seconds: after so long the queue is asked, notified or not.
        drain: end when no job is left.
        folders: below which sources and outputs of jobs may lie.
        spool: where remote sources are kept while they are imported.
        limits: of remote sources.
        allow_private: whether they may come from private addresses.
    """

    name: str = "worker"
    lease: timedelta = timedelta(seconds=30)
    poll_seconds: float = 5.0
    drain: bool = False
    folders: tuple[Path, ...] = ()
    spool: Path = Path()
    limits: Limits = field(default_factory=Limits)
    allow_private: bool = False
