"""How far an export or a copy of records has come, on stderr."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from evtool.cli import output

if TYPE_CHECKING:
    from tqdm import tqdm


class RecordMeter:
    """A bar on a terminal, events of JSON, or nothing, as `--progress` says.

    The events: {"exported":1000,"total":2500}, where a total that is the planner's guess is called "estimate"; and
    {"done":true,"exported":2500,"elapsed":"0.4s"}.
    """

    def __init__(self, mode: str, verb: str) -> None:
        """Starts the clock.

        Args:
            mode: auto, json or none.
            verb: "exported" or "copied".
        """
        self._mode = mode
        self._verb = verb
        self._bar: tqdm[Any] | None = None
        self._start = time.monotonic()

    def show(self, records: int, total: int | None = None, *, exact: bool = True, of: str | None = None) -> None:
        """Shows a moment.

        Args:
            records: so far.
            total: how many there will be, if that is known.
            exact: whether they were counted.
            of: which table, where there are several.
        """
        if self._mode == "json":
            fields: dict[str, Any] = {self._verb: records}
            if total is not None:
                fields["total" if exact else "estimate"] = total
            if of is not None:
                fields["table"] = of
            output.talk(output.event(**fields))
        elif self._mode == "auto" and sys.stderr is not None and sys.stderr.isatty():
            if self._bar is None:
                from tqdm import tqdm

                self._bar = tqdm(file=sys.stderr, leave=False, unit=" records", unit_scale=True)
            self._bar.set_description_str(f"{self._verb} {of}" if of else self._verb, refresh=False)
            # more than the planner's guess is no reason for a bar beyond its end
            self._bar.total = max(total, records) if total is not None else None
            self._bar.update(records - self._bar.n)

    def close(self) -> None:
        """Takes the bar away."""
        if self._bar is not None:
            self._bar.close()

    def done(self, records: int, where: str = "") -> None:
        """Says what was done."""
        self.close()
        elapsed = f"{time.monotonic() - self._start:.1f}s"
        if self._mode == "json":
            output.talk(f'{{"done":true,"{self._verb}":{records},"elapsed":"{elapsed}"}}')
        elif self._mode != "none":
            output.talk(f"Done. {output.counted(records, 'record')} {self._verb} in {elapsed}{where}.")
