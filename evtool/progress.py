"""How far a journey has come. The journeys count and tell; only the command line shows it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

EVERY = 1000
"""After how many messages a journey tells: the seeds' batch, and seldom enough to cost nothing."""


@dataclass(frozen=True, slots=True)
class Progress:
    """A moment of a journey.

    Attributes:
        count: messages so far.
        position: the global position of the last; None before the first.
        bytes_read: of the input file as it lies on disk; None where that isn't known.
    """

    count: int
    position: int | None
    bytes_read: int | None = None


Listener = Callable[[Progress], None]


def silent(_: Progress) -> None:
    """A listener for those who don't want to know."""
