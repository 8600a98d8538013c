"""The one place that decides an exit code, and how an error is shown.

0 done, 1 failed, 2 usage, 3 store unreachable, 4 conflict or difference, 5 some records rejected, 130 interrupted,
129 and 143 ended by SIGHUP and SIGTERM.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from types import FrameType

import click

from evtool.cli import output
from evtool.errors import (
    EvtoolError,
    FileError,
    IdempotencyKeyTaken,
    ImportRefused,
    IncrementRefused,
    InvalidArgument,
    NamespaceExists,
    StoreUnreachable,
    WriteConflict,
)

DONE = 0
FAILED = 1
USAGE = 2
UNREACHABLE = 3
CONFLICT = 4
REJECTED = 5
BATCHES_STAY = "the batches that were committed are kept: the same command goes on from there"
SIGNALLED = 128
"""And the number of the signal: 130 for Ctrl-C, as shells have it."""

_CODES: tuple[tuple[type[EvtoolError], int], ...] = (
    (StoreUnreachable, UNREACHABLE),
    (WriteConflict, CONFLICT),
    (NamespaceExists, CONFLICT),
    (IdempotencyKeyTaken, CONFLICT),
    (IncrementRefused, CONFLICT),
    (InvalidArgument, USAGE),
)

# The signal that interrupts: this one, SIGTERM or SIGHUP.
_ended_by = signal.SIGINT
_left_behind = "nothing is half done"


def end_orderly() -> None:
    """From now on SIGTERM and SIGHUP end the program as Ctrl-C does: nothing stays half done, no temporary file."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        # what was told to ignore it, as by nohup, goes on ignoring it
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _interrupt)


def when_interrupted(what: str) -> None:
    """Says what an interruption leaves behind, where it isn't that nothing is half done; "" says nothing."""
    global _left_behind
    _left_behind = what


def _interrupt(number: int, _frame: FrameType | None) -> None:
    global _ended_by
    _ended_by = signal.Signals(number)
    raise KeyboardInterrupt


def code_of(error: EvtoolError) -> int:
    """The exit code of an error."""
    if isinstance(error, ImportRefused):
        return CONFLICT if error.code.endswith("_EXISTS") else FAILED
    return code_of_class(type(error))


def code_of_class(error: type[EvtoolError]) -> int:
    """The exit code of an error's class, where it hangs on nothing else."""
    return next((code for kind, code in _CODES if issubclass(error, kind)), FAILED)


def show(error: EvtoolError) -> int:
    """Prints an error on one line of stderr, or as the event that `--progress json` promises; returns its exit code."""
    line = error.line if isinstance(error, ImportRefused) else None
    if output.wants_json_events():
        where = {} if line is None else {"line": line}
        output.talk(output.event(error=error.code, message=error.message, **where))
    else:
        output.talk(f"evtool: {one_line(error)}")
    return code_of(error)


def _show_usage(error: click.UsageError) -> None:
    if output.wants_json_events():
        output.talk(output.event(error="USAGE", message=error.format_message()))
    else:
        error.show(file=sys.stderr)


def _show_other(code: str, message: str, line: str) -> None:
    """Prints what is no error of ours: as an event under a code, or as a line."""
    output.talk(output.event(error=code, message=message) if output.wants_json_events() else f"evtool: {line}")


def one_line(error: EvtoolError) -> str:
    """An error as it is shown: its code, what happened, and what to do next."""
    line = error.line if isinstance(error, ImportRefused) else None
    where = f" line {line}:" if line is not None else ""
    hint = f" — {error.hint}" if error.hint else ""
    return f"{error.code}:{where} {error.message}{hint}"


def run(command: click.Command) -> int:
    """Runs the command line and returns its exit code; whatever happens is one line, and no traceback without -v."""
    code = _run(command)
    try:
        output.flush()
    except (OSError, FileError):
        # what could not be written has been told of; Python's own flush at exit must not complain a second time
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def _run(command: click.Command) -> int:
    try:
        result = command.main(standalone_mode=False)
        output.flush()
        return result if isinstance(result, int) else DONE
    except click.UsageError as error:
        _show_usage(error)
        return USAGE
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        _show_other("FAILED", error.format_message(), error.format_message())
        return FAILED
    except (KeyboardInterrupt, click.Abort):
        if sys.stderr.isatty() and not output.wants_json_events():
            # behind the ^C that the terminal shows
            click.echo(err=True)
        what = "interrupted" if _ended_by == signal.SIGINT else f"ended by {_ended_by.name}"
        what = f"{what}; {_left_behind}" if _left_behind else what
        _show_other("INTERRUPTED", what, what)
        return SIGNALLED + _ended_by
    except BrokenPipeError:
        # whoever read our output has seen enough, as `head` does
        return FAILED
    except EvtoolError as error:
        if output.is_verbose():
            traceback.print_exc()
        return show(error)
    except OSError as error:
        if output.is_verbose():
            traceback.print_exc()
        what = f"{error.filename}: " if error.filename else ""
        what = f"{what}{error.strerror or error}"
        _show_other("FILE", what, f"FILE: {what} — check the path and the free space")
        return FAILED
    except Exception as error:  # noqa: BLE001 - the last border: no traceback without -v
        if output.is_verbose():
            traceback.print_exc()
        what = f"internal error ({type(error).__name__})"
        _show_other("INTERNAL", what, f"{what} — run it again with -v and report what it prints")
        return FAILED
