"""`evtool copy`."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import click

from evtool import settings
from evtool.cli import exits, options, output
from evtool.cli.options import not_empty, open_store
from evtool.cli.selecting import selection_options

if TYPE_CHECKING:
    from evtool.model import Selection

_DSN = "[env: EVTOOL_DSN, else the PG* variables]"


@click.command()
@click.option("--from", "source_dsn", metavar="DSN", callback=not_empty, help=f"The database to copy from. {_DSN}")
@click.option("--to", "target_dsn", metavar="DSN", callback=not_empty, help=f"The database to copy to. {_DSN}")
@click.option("-n", "--namespace", metavar="NAME", help="The namespace on both sides. [default: message_store]")
@click.option("--from-namespace", metavar="NAME", help="The namespace to copy from, where they differ.")
@click.option("--to-namespace", metavar="NAME", help="The namespace to copy to, where they differ.")
@selection_options
@click.option(
    "--on-conflict",
    type=click.Choice(["error", "skip"]),
    default="error",
    show_default=True,
    help="What to do with a message that is there: refuse the copy, or leave out what is identical.",
)
@click.option("--force", is_flag=True, help="Remove all messages of the target first, in the same transaction. Asks.")
@click.option("--yes", is_flag=True, help="With --force: don't ask.")
@click.option("--dry-run", is_flag=True, help="Check everything against the target and keep nothing.")
@options.progress
@options.verbose
def copy(
    source_dsn: str | None,
    target_dsn: str | None,
    namespace: str | None,
    from_namespace: str | None,
    to_namespace: str | None,
    selection: Selection,
    on_conflict: str,
    force: bool,
    yes: bool,
    dry_run: bool,
    progress: str,
) -> None:
    """Copy messages from one namespace into another, at their exact positions, without a file in between.

    Between any two stores. One snapshot of the source, chosen by the filters of an export; all or nothing in the
    target, by the rules of an import. What is there already is refused, or left alone with --on-conflict skip if it is
    identical. There are no batches to resume: a copy that was interrupted has left nothing and is begun again, and
    what is too large for that goes by a file (evtool export, evtool import --resume).

    \b
    Example:
      evtool copy --from postgresql://prod/shop --to postgresql://localhost/shop --categories order
      evtool copy --from postgresql://prod/shop --to sqlite:///home/me/shop --since 2025-07-01 --on-conflict skip
      evtool copy --from-namespace orders --to-namespace debug --force --yes
    """
    if (source_dsn, target_dsn) == (None, None) and from_namespace == to_namespace:
        raise click.UsageError("Give --from DSN or --to DSN, or two namespaces: --from-namespace and --to-namespace.")
    if yes and not force:
        raise click.UsageError("--yes goes with --force.")
    asks = force and not yes and not dry_run
    if asks and not options.can_ask():
        raise click.UsageError("--force asks for confirmation, and there is no terminal: add --yes.")

    from evtool.copying import copy_messages
    from evtool.imports import ImportPlan, OnConflict

    plan = ImportPlan(on_conflict=OnConflict(on_conflict), replace=force, dry_run=dry_run)
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(open_store(source_dsn, from_namespace or namespace))
        name = to_namespace or namespace
        if settings.dsn(source_dsn) == settings.dsn(target_dsn):
            target = source.in_namespace(settings.namespace(name))
        else:
            target = stack.enter_context(open_store(target_dsn, name))
        if asks:
            _ask(source.namespace, target.namespace)
        meter = output.Meter(progress, "copied")
        try:
            summary = copy_messages(source, target, selection, plan, progress=meter)
        finally:
            meter.close()
    skipped = summary.skipped if plan.on_conflict is OnConflict.SKIP else None
    meter.done(summary.imported, summary.last_position, skipped=skipped, dry_run=dry_run)
    if not summary.imported and not summary.skipped and progress != "none" and not output.wants_json_events():
        output.talk("evtool: no message matches; see: evtool categories, evtool stats")


def _ask(source: str, target: str) -> None:
    """Asks before the target's messages are replaced.

    Raises:
        click.exceptions.Exit: the answer is no.
    """
    question = f'Replace every message of the namespace "{target}" by those of "{source}"?'
    if not click.confirm(question, err=True):
        output.talk("Nothing was changed.")
        raise click.exceptions.Exit(exits.FAILED)
