"""What the commands print: data to stdout, talk to stderr, progress as a bar, as events or not at all."""

from __future__ import annotations

import contextlib
import io
import json
import os
import select
import stat
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, TextIO

import click

from evtool import times
from evtool.errors import FileError

if TYPE_CHECKING:
    from tqdm import tqdm

    from evtool.progress import Progress

_verbose = False
_json_events = False
_bar: tqdm[Any] | None = None


def be_verbose() -> None:
    """From now on errors come with their traceback, and what the stores tell of their work is shown."""
    import logging

    global _verbose
    if _verbose:
        return
    _verbose = True

    class Told(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if not _json_events:
                talk(f"evtool: {record.getMessage()}")

    stores = logging.getLogger("evtool")
    stores.addHandler(Told())
    stores.setLevel(logging.INFO)


def is_verbose() -> bool:
    """Whether -v was given."""
    return _verbose


def tell_json_events(*, wanted: bool) -> None:
    """Whether progress and errors are JSON from now on, one event a line."""
    global _json_events
    _json_events = wanted


def wants_json_events() -> bool:
    """Whether progress and errors are to be JSON, one event a line."""
    return _json_events


def talk(text: str) -> None:
    """Prints a line for people, on stderr."""
    if _bar is not None:
        # it is drawn again, below the line
        _bar.clear()
    click.echo(text, err=True)


def note(text: str) -> None:
    """Tells what is good to know, be it as an event."""
    talk(event(note=text) if _json_events else f"evtool: {text}")


def event(**fields: object) -> str:
    """An event of `--progress json`: one line of JSON."""
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))


def data(text: str) -> None:
    """Prints a line of the result, on stdout: in UTF-8 wherever it isn't for eyes, for it may be NDJSON."""
    stream = _stdout()
    with _writing():
        if stream.isatty():
            click.echo(text)
        else:
            stream.buffer.write(text.encode(errors="surrogateescape") + b"\n")


def buffer_stdout() -> None:
    """Keeps lines until they are asked for, be it that Python runs with -u.

    Without a buffer a line may be written in part; and by the time somebody has read it, the command would not know yet
    that it was printed.
    """
    stream = sys.stdout
    if stream is not None and isinstance(stream.buffer, io.RawIOBase) and not stream.isatty():
        sys.stdout = io.TextIOWrapper(io.BufferedWriter(stream.buffer), stream.encoding, stream.errors)


def flush() -> None:
    """Writes out what `data` has kept.

    Raises:
        BrokenPipeError: nobody reads it any more.
        FileError: it can't be written.
    """
    if sys.stdout is not None:
        with _writing():
            sys.stdout.flush()


@contextlib.contextmanager
def _writing() -> Iterator[None]:
    """Names what it is that can't be written. Who reads a pipe may go, though; the command line then ends quietly."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        from evtool.files import unwritable

        raise unwritable("standard output", error) from error


def is_read() -> bool:
    """Whether whoever reads the result is still there; `head` goes when it has seen enough."""
    stream = _stdout()
    with contextlib.suppress(OSError, ValueError):
        if stat.S_ISFIFO(os.fstat(stream.fileno()).st_mode) or stat.S_ISSOCK(os.fstat(stream.fileno()).st_mode):
            reader = select.poll()
            reader.register(stream.fileno(), 0)
            return not reader.poll(0)
    return True


def _stdout() -> TextIO:
    # Python has none where it was closed: evtool read … >&-
    if sys.stdout is None:
        raise FileError("standard output is closed", hint="send it to a file or a pipe")
    return sys.stdout


def counted(count: int, noun: str) -> str:
    """A number of things: `1 event`, `2 events`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def as_json(value: Any) -> None:
    """Prints a result as JSON; moments are as in an export."""
    data(json.dumps(value, ensure_ascii=False, indent=2, default=_plain))


def facts(values: Mapping[str, Any]) -> None:
    """Prints names and their values, a line each; a moment is as in an export, and what isn't there is -."""
    width = max(map(len, values)) + 2
    for name, value in values.items():
        shown = "-" if value is None else _plain(value) if isinstance(value, datetime) else value
        data(f"{name + ':':<{width}}{shown}")


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints rows in columns as wide as they need."""
    widths = [max(len(cell) for cell in column) for column in zip(headings, *rows, strict=True)]
    for row in (headings, *rows):
        data("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _plain(value: Any) -> str:
    if isinstance(value, datetime):
        return times.render(value)
    raise TypeError(type(value).__name__)


class Meter:
    """Shows how far an export or an import has come, on stderr.

    `auto` is a bar on a terminal and nothing elsewhere; `json` prints the events that the seeds of evtool define:
    {"imported":1000,"gpos":1523}, then {"done":true,"imported":3456,"elapsed":"2.3s"}.
    """

    def __init__(self, mode: str, verb: str, *, total_bytes: int | None = None) -> None:
        """Starts the clock.

        Args:
            mode: auto, json or none.
            verb: "imported" or "exported".
            total_bytes: of the input, for a bar that knows its end.
        """
        global _bar
        self._json = mode == "json"
        self._verb = verb
        self._quiet = mode == "none"
        self._by_bytes = total_bytes is not None
        self._start = time.monotonic()
        if mode == "auto" and (sys.stderr is not None and sys.stderr.isatty()):
            from tqdm import tqdm

            unit = "B" if self._by_bytes else " events"
            _bar = tqdm(total=total_bytes, file=sys.stderr, desc=verb, leave=False, unit=unit, unit_scale=True)

    def __call__(self, progress: Progress) -> None:
        """Shows a moment."""
        if self._json:
            talk(f'{{"{self._verb}":{progress.count},"gpos":{progress.position}}}')
        elif _bar is not None:
            value = (progress.bytes_read or 0) if self._by_bytes else progress.count
            if self._by_bytes:
                rate = progress.count / max(time.monotonic() - self._start, 0.001)
                _bar.set_postfix_str(f"{progress.count:,} events, {rate:,.0f}/s", refresh=False)
            _bar.update(value - _bar.n)

    def close(self) -> None:
        """Takes the bar away."""
        global _bar
        if _bar is not None:
            _bar.close()
            _bar = None

    def done(
        self, count: int, position: int | None, *, skipped: int | None = None, dry_run: bool = False, note: str = ""
    ) -> None:
        """Says what was done.

        Args:
            count: how many messages.
            position: the greatest global position among them.
            skipped: how many were there already, where that was asked.
            dry_run: whether none of it was kept.
            note: what else people should know.
        """
        self.close()
        elapsed = f"{time.monotonic() - self._start:.1f}s"
        if self._json:
            left_out = "" if skipped is None else f'"skipped":{skipped},'
            tried = '"dry_run":true,' if dry_run else ""
            talk(f'{{"done":true,"{self._verb}":{count},{left_out}{tried}"elapsed":"{elapsed}"}}')
        elif not self._quiet:
            last = f", the last at global position {position}" if position is not None else ""
            left_out = f", {skipped} were there already" if skipped is not None else ""
            if dry_run:
                talk(
                    f"Dry run: {counted(count, 'event')} would be {self._verb}{last}{left_out}; nothing was kept{note}."
                )
            else:
                talk(f"Done. {counted(count, 'event')} {self._verb} in {elapsed}{last}{left_out}{note}.")
