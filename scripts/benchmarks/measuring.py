"""Two sides in turn, and what came of it."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

_T = TypeVar("_T")


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        what: what was measured.
        unit: of `ours` and `other`.
        ours: the median of our side.
        other: the median of the other side; a limit where there is no other side.
        side: who or what the other side is.
        ratio: by how much ours is the better one, the median of the rounds; above 1 is better.
        spread: the lower and the upper quartile of the rounds' ratios.
        target: what the ratio should at least be; None where it is told for information only.
        note: what else must be known to read the figures.
        samples: (ours, other) of each round.
    """

    what: str
    unit: str
    ours: float
    other: float
    side: str
    ratio: float
    spread: tuple[float, float]
    target: float | None
    note: str = ""
    samples: list[tuple[float, float]] = field(default_factory=list)

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None without one."""
        return None if self.target is None else self.ratio >= self.target


def say(text: str) -> None:
    """A line about what is going on, to stderr."""
    print(text, file=sys.stderr, flush=True)


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def seconds_and_cpu(work: Callable[[], object]) -> tuple[float, float]:
    """How long it takes, and how much of it the processor worked for this process, in all its threads."""
    start, busy = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - start, time.process_time() - busy


def in_turn(
    ours: Callable[[], _T], other: Callable[[], _T], rounds: int, prepare: Callable[[], object] | None = None
) -> list[tuple[_T, _T]]:
    """What both sides return, a pair for each round; they take turns in going first.

    Each of them runs once before without being counted, so that caches and plans are warm. `prepare` runs before every
    single run and is not part of any measurement.
    """
    pairs = []
    for number in range(-1, rounds):
        found = {}
        for side in (ours, other) if number % 2 else (other, ours):
            if prepare is not None:
                prepare()
            found[side] = side()
        if number >= 0:
            pairs.append((found[ours], found[other]))
    return pairs


def compared(
    what: str,
    unit: str,
    samples: Sequence[tuple[float, float]],
    *,
    side: str,
    target: float | None,
    higher_is_better: bool = False,
    note: str = "",
) -> Row:
    """The row that samples add up to.

    The ratio is taken round by round and then its median, for whatever else the machine does at a time hits both runs
    of a round.
    """
    ratios = [ours / other if higher_is_better else other / ours for ours, other in samples]
    quartiles = statistics.quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else [ratios[0]] * 3
    row = Row(
        what,
        unit,
        statistics.median(ours for ours, _ in samples),
        statistics.median(other for _, other in samples),
        side,
        quartiles[1],
        (quartiles[0], quartiles[2]),
        target,
        note,
        list(samples),
    )
    say(f"  {what}: {row.ratio:.2f}")
    return row


def table(rows: Sequence[Row]) -> str:
    """The rows in Markdown, with their notes below."""
    lines = [
        "| what | unit | ours | other side | | ratio | quartiles | target | met? |",
        "|---|---|---:|---:|---|---:|---:|---:|---|",
    ]
    notes = list(dict.fromkeys(row.note for row in rows if row.note))
    for row in rows:
        mark = f" [{notes.index(row.note) + 1}]" if row.note else ""
        met = {None: "—", True: "yes", False: "**no**"}[row.met]
        target = "—" if row.target is None else f"≥ {row.target:g}"
        lines.append(
            f"| {row.what}{mark} | {row.unit} | {_figure(row.ours)} | {_figure(row.other)} | {row.side} "
            f"| {row.ratio:.2f} | {row.spread[0]:.2f}–{row.spread[1]:.2f} | {target} | {met} |"
        )
    lines += [""] * bool(notes) + [f"[{number}] {note}  " for number, note in enumerate(notes, 1)]
    return "\n".join(lines)


def _figure(value: float) -> str:
    return f"{value:.1f}" if value < 99.95 else f"{value:,.0f}"
