"""What an export asks of a database, whichever it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from evtool.bulk.selecting import Plan, Table
from evtool.bulk.writers import Format


@dataclass(frozen=True, slots=True)
class Request:
    """A table to look up.

    Attributes:
        table: its name, with a schema or without.
        resource: the resource that describes it; None where the catalog does.
        columns: the types that the resource declares, by name, in order; empty for all that there are.
        order: the resource's, as `field` or `field desc`.
    """

    table: str
    resource: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    order: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Block:
    """Some records.

    Attributes:
        count: how many.
        text: the records as `writers.frame` has them.
    """

    count: int
    text: bytes


@dataclass(frozen=True, slots=True)
class Estimate:
    """How much an export will write.

    Attributes:
        records: how many.
        bytes: how large, before compression.
        exact: whether the records were counted.
    """

    records: int
    bytes: int
    exact: bool


class Source(Protocol):
    """A database in one snapshot. Use it in `with`."""

    @property
    def file(self) -> Path | None:
        """The file that the database is; None where it is a server's."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...

    def snapshot(self) -> dict[str, Any]:
        """What tells this snapshot from others."""

    def table(self, request: Request) -> Table:
        """The table that is asked for."""

    def check(self, plan: Plan) -> None:
        """Refuses a condition whose value its field can't have."""

    def estimate(self, plan: Plan, format: Format) -> Estimate:
        """How much there will be."""

    def blocks(self, plan: Plan, format: Format, batch: int) -> Iterator[Block]:
        """The records, some at a time, in the plan's order."""
