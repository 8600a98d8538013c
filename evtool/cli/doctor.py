"""`evtool doctor`."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from evtool.cli import exits, options, output
from evtool.cli.options import open_store

if TYPE_CHECKING:
    from evtool.findings import Diagnosis, Finding, Mended


@click.command()
@click.option(
    "-n", "--namespace", "name", metavar="NAME", help="Only this namespace, and what it shares. [default: all]"
)
@click.option(
    "--fix", is_flag=True, help="Mend first what can be mended without losing anything, and say what was done."
)
@click.option(
    "--busy",
    type=click.IntRange(min=0),
    default=30,
    show_default=True,
    metavar="SECONDS",
    help="Tell transactions that are open for longer.",
)
@options.as_json
@options.database
def doctor(name: str | None, fix: bool, busy: int, json_: bool, dsn: str | None) -> None:
    """Look a database over: what is wrong, why it matters, and how to mend it.

    Looks at the sequence and the positions, functions, tables, indexes and grants, the plans of the reads, vacuum, busy
    transactions and the server's settings. Changes nothing unless --fix is given. Exit code 4 when there is a problem
    or a warning; notes are worth knowing only. What the role may not see is told on stderr.

    --fix moves a sequence up, builds indexes concurrently, gives grants anew, replaces functions that were changed by
    hand, and vacuums. It never deletes a message.

    \b
    Example:
      evtool doctor --dsn postgresql://localhost/shop
      evtool doctor -n orders --json
      evtool doctor --fix
    """
    from evtool import diagnosing
    from evtool.store import Ability

    with open_store(dsn) as store:
        store.require(Ability.DOCTOR)
        mended = []
        for one in diagnosing.mend(store, name) if fix else ():
            mended.append(one)
            if not json_:
                _show_mended(one)
        diagnosis = diagnosing.examine(store, name, timedelta(seconds=busy))
    if json_:
        output.as_json(_plain(diagnosis, mended))
    else:
        _show(diagnosis)
    if diagnosis.wrong:
        raise click.exceptions.Exit(exits.CONFLICT)


def _show_mended(one: Mended) -> None:
    what = f"{one.finding.code} ({one.finding.namespace or 'database'})"
    output.data(f"mended   {what}: {one.done}" if one.error is None else f"failed   {what}: {_line(one.error)}")


def _show(diagnosis: Diagnosis) -> None:
    for finding in diagnosis.findings:
        output.data(f"{finding.severity:<8} {finding.code} ({finding.namespace or 'database'}): {_line(finding.what)}")
        for number, line in enumerate(finding.cure.split("\n")):
            output.data(f"{'' if number else 'cure:':>15} {_line(line)}")
    for line in diagnosis.unseen:
        output.talk(f"not looked at: {_line(line)}")
    if not diagnosis.findings:
        output.data("Nothing is wrong." if not diagnosis.unseen else "Nothing is wrong, as far as could be seen.")
    elif any(finding.fixable for finding in diagnosis.findings):
        output.talk("To mend what can be mended without losing anything: evtool doctor --fix")


def _line(text: str) -> str:
    # names may hold what moves a terminal's cursor
    return "".join(character if character.isprintable() else "?" for character in text)


def _plain(diagnosis: Diagnosis, mended: list[Mended]) -> dict[str, Any]:
    def told(finding: Finding) -> dict[str, Any]:
        return dataclasses.asdict(finding)

    return {
        "findings": [told(one) for one in diagnosis.findings],
        "unseen": list(diagnosis.unseen),
        "mended": [{"finding": told(one.finding), "done": one.done, "error": one.error} for one in mended],
        "wrong": diagnosis.wrong,
    }
