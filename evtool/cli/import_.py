"""`evtool import`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from evtool.cli import exits, options, output
from evtool.cli.options import open_store

_BATCH_SIZE = 10_000


@click.command("import")
@click.option("-i", "--input", "path", metavar="FILE", default="-", help="Where from. [default: stdin]")
@click.option(
    "--on-conflict",
    type=click.Choice(["error", "skip"]),
    default="error",
    show_default=True,
    help="What to do with a message whose place is taken: refuse it, or leave it out if the one that is there is "
    "identical in every field.",
)
@click.option("--force", is_flag=True, help="Remove every message of the namespace first, in the same transaction.")
@click.option("--yes", is_flag=True, help="Don't ask, with --force.")
@click.option("--dry-run", is_flag=True, help="Check everything, against the namespace too, and keep nothing.")
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    metavar="N",
    help=f"Commit after every N messages. [default with --resume: {_BATCH_SIZE}]",
)
@click.option("--resume", is_flag=True, help="Go on where this very command was interrupted.")
@options.progress
@options.namespaced
def import_(
    path: str,
    on_conflict: str,
    force: bool,
    yes: bool,
    dry_run: bool,
    batch_size: int | None,
    resume: bool,
    progress: str,
    dsn: str | None,
    namespace: str | None,
) -> None:
    """Write the messages of an export file into a namespace, at the positions that they bring.

    All or nothing: a line that is wrong, or that clashes with a message that is there, is named, and the namespace is
    as it was. Compression is recognised by content. Afterwards new messages get positions above the imported ones.

    With --batch-size each batch is kept for itself, and with --resume the same command goes on behind the last one.
    -v says which way the messages take.

    \b
    Example:
      evtool import -i slice.ndjson.gz
      evtool import -i slice.ndjson.gz --dry-run
      evtool import -i tomorrow.ndjson.gz --on-conflict skip
      evtool import -i slice.ndjson.gz --force -n debug
      evtool import -i everything.ndjson.zst --batch-size 100000 --resume
      evtool export --dsn postgresql://prod/shop --categories order | evtool import -n debug
    """
    from evtool.importing import import_file, import_in_batches
    from evtool.imports import ImportPlan, ImportSummary, OnConflict

    _check(path, force=force, yes=yes, dry_run=dry_run, in_batches=resume or batch_size is not None)
    plan = ImportPlan(on_conflict=OnConflict(on_conflict), replace=force, dry_run=dry_run)
    size = Path(path).stat().st_size if Path(path).is_file() else None
    note = ""
    with open_store(dsn, namespace) as store:
        if force and not yes and not dry_run:
            _ask(store.namespace, path)
        if resume:
            exits.when_interrupted(exits.BATCHES_STAY)
        meter = output.Meter(progress, "imported", total_bytes=size)
        try:
            if resume or batch_size is not None:
                done = import_in_batches(store, path, batch_size or _BATCH_SIZE, plan, resume=resume, progress=meter)
                summary: ImportSummary = done
                if done.was_complete:
                    note = ": this file was imported before, to its last line"
                elif done.resumed_behind:
                    note = f"; it went on behind line {done.resumed_behind}"
            else:
                summary = import_file(store, path, plan, progress=meter)
        finally:
            meter.close()
    skipped = summary.skipped if plan.on_conflict is OnConflict.SKIP else None
    meter.done(summary.imported, summary.last_position, skipped=skipped, dry_run=dry_run, note=note)
    if not note and size is not None:
        _compare(path, summary.imported + summary.skipped)


def _compare(path: str, count: int) -> None:
    """Says so where the manifest beside a file has another count, as of one that was cut off at the end of a line."""
    from evtool import files, manifest
    from evtool.errors import EvtoolError

    beside = files.manifest_beside(path)
    try:
        said = manifest.read(str(beside))[0].count if beside.is_file() else count
    except EvtoolError:
        # of something else by now: `evtool verify` says what
        return
    if said != count:
        text = f"{beside.name} says {said:,} messages, and the file had {count:,}: see evtool verify {path}"
        output.talk(output.event(warning=text) if output.wants_json_events() else f"evtool: {text}")


def _check(path: str, *, force: bool, yes: bool, dry_run: bool, in_batches: bool) -> None:
    if path == "-" and (sys.stdin is None or options.can_ask()):
        raise click.UsageError("Give a file with -i FILE, or pipe one in.")
    if path.endswith(".manifest.json"):
        raise click.UsageError(f"{path} is a manifest, which tells of an export: import the file beside it.")
    for given, name in ((force, "--force"), (dry_run, "--dry-run")):
        if given and in_batches:
            raise click.UsageError(f"{name} is one transaction: leave out --batch-size and --resume.")
    if yes and not force:
        raise click.UsageError("--yes goes with --force.")
    if force and not yes and not dry_run and not options.can_ask():
        raise click.UsageError("--force asks for confirmation, and there is no terminal: add --yes.")


def _ask(namespace: str, path: str) -> None:
    question = f'Replace every message of the namespace "{namespace}" by those of {path}?'
    if not click.confirm(question, err=True):
        output.talk("Nothing was changed.")
        raise click.exceptions.Exit(exits.FAILED)
