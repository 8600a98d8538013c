"""`evtool bulk import`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from evtool import settings
from evtool.cli import exits, options, output
from evtool.cli.bulk.export_meter import RecordMeter

if TYPE_CHECKING:
    from evtool.bulk.importing import ImportProgress
    from evtool.bulk.opening import Source
    from evtool.bulk.reports import ImportReport

_FORMATS = ["csv", "ndjson", "json"]


@click.command("import", no_args_is_help=True)
@click.argument("what", metavar="[RESOURCE] FILE...", nargs=-1, required=True)
@click.option("--table", metavar="TABLE", help="A table, described by its catalog: name or schema.name.")
@click.option("--schema", metavar="SCHEMA", default="public", show_default=True, help="Where the tables are.")
@click.option("--format", "form", type=click.Choice(_FORMATS), help="Of the files. [default: found out by looking]")
@click.option("--columns", metavar="LIST", help="The columns of a CSV without a header, separated by commas.")
@click.option("--ignore-unknown", is_flag=True, help="Pass over columns and keys that the table doesn't have.")
@click.option(
    "--mode",
    type=click.Choice(["insert", "upsert"]),
    default="insert",
    show_default=True,
    help="Whether a record whose key is there is refused, or replaces the one that is.",
)
@click.option("--batch-size", "batch", metavar="N", type=click.IntRange(min=1), default=1000, show_default=True,
              help="How many records are committed together.")  # fmt: skip
@click.option("--atomic", is_flag=True, help="One transaction for everything; with --max-errors 0, all or nothing.")
@click.option("--max-errors", metavar="N|P%", help="Stop when more records, or more of a hundred, are refused.")
@click.option("--dry-run", is_flag=True, help="Report everything, keep nothing.")
@click.option("--restart", is_flag=True, help="Don't go on with an import that was interrupted: begin anew.")
@click.option("--reject-file", metavar="FILE", help="Where refused records go: CSV if it ends in .csv, else NDJSON.")
@click.option("--report", type=click.Choice(["text", "json"]), default="text", show_default=True, help="On stdout.")
@options.progress
@options.on_server
def import_(what: tuple[str, ...], progress: str, dsn: str | None, report: str, **given: Any) -> int:
    """Import records of files into tables: each is accepted, or in the report.

    RESOURCE is users, articles, comments, posts, or the path of a resource file (.toml); with --table any table will
    do. Several resources may follow each other, each with its files; what others refer to is imported first. FILE is
    CSV with a header, NDJSON or a JSON array, perhaps compressed; - is standard input, and it may be an http(s) URL.

    Every batch is committed with its verdicts. After an interruption the same command goes on where it was. When
    records were refused, the exit code is 5.

    \b
    Example:
      evtool bulk import users users.csv --reject-file refused.csv
      evtool bulk import users https://example.org/users.csv.gz
      evtool bulk import users u.csv articles a.ndjson.gz comments c.json --report json
      evtool bulk import --table shop.orders orders.csv --mode upsert --dry-run
    """
    from evtool.bulk.framing import Format
    from evtool.bulk.importing import ImportOptions, import_files

    max_rejects, max_percent = _limit(given["max_errors"])
    chosen = ImportOptions(
        upsert=given["mode"] == "upsert",
        batch=given["batch"],
        atomic=given["atomic"],
        max_rejects=max_rejects,
        max_percent=max_percent,
        dry_run=given["dry_run"],
        restart=given["restart"],
        format=Format(given["form"]) if given["form"] else None,
        columns=tuple(given["columns"].split(",")) if given["columns"] else None,
        ignore_unknown=given["ignore_unknown"],
    )
    groups: list[tuple[str | None, list[str]]] = [(None, list(what))] if given["table"] else _groups(what)
    sources = _sources(groups, given["table"], given["schema"], dsn)
    if given["reject_file"]:
        _check_rejects(given["reject_file"], groups)
    if not (chosen.atomic or chosen.dry_run):
        exits.when_interrupted(exits.BATCHES_STAY)
    meter = RecordMeter(progress, "imported")
    refused = 0

    def show(moment: ImportProgress) -> None:
        if moment.continued and moment.records - chosen.batch <= moment.continued:
            output.note(
                f"goes on with an import that was interrupted after {output.counted(moment.continued, 'record')}"
            )
        meter.show(moment.records, of=moment.resource)

    def tell(reports: list[ImportReport]) -> None:
        nonlocal refused
        meter.close()
        for one in reports:
            refused += one.rejected
            output.data(json.dumps(one.as_json(), ensure_ascii=False, separators=(",", ":")) if report == "json"
                        else _text(one, dry_run=chosen.dry_run))  # fmt: skip
        output.flush()

        if refused and report == "text" and given["reject_file"] is None:
            output.talk("evtool: --reject-file FILE and --report json say which records were refused, and why")

    try:
        import_files(dsn, sources, chosen, reject_file=given["reject_file"], progress=show, on_report=tell)
    finally:
        meter.close()
    return exits.REJECTED if refused else exits.DONE


def _limit(text: str | None) -> tuple[int | None, float | None]:
    """--max-errors as a number of records, or as a share of them."""
    if text is None:
        return None, None
    try:
        if text.endswith("%"):
            percent = float(text.removesuffix("%"))
            if 0 <= percent <= 100:
                return None, percent
        elif int(text) >= 0:
            return int(text), None
    except ValueError:
        pass
    raise click.UsageError("--max-errors is a number of records, such as 10, or a share, such as 2.5%.")


def _groups(what: tuple[str, ...]) -> list[tuple[str | None, list[str]]]:
    """The resources that were named, each with the files behind it."""
    from evtool.bulk.resource import SHIPPED

    groups: list[tuple[str | None, list[str]]] = []
    for word in what:
        if word in SHIPPED or word.endswith(".toml"):
            groups.append((word, []))
        elif not groups:
            raise click.UsageError(
                f'"{word}" is no resource: give {", ".join(SHIPPED)}, the path of a .toml file, or --table.'
            )
        else:
            groups[-1][1].append(word)
    for name, paths in groups:
        if not paths:
            raise click.UsageError(f"Give a file for {name}; - is standard input.")
    if sum(path == "-" for _, paths in groups for path in paths) > 1:
        raise click.UsageError("Standard input can be read once.")
    return groups


def _sources(
    groups: list[tuple[str | None, list[str]]], table: str | None, schema: str, dsn: str | None
) -> list[Source]:
    from evtool.bulk.importing import described
    from evtool.bulk.opening import Source
    from evtool.bulk.resource import find

    if table is not None:
        return [Source(described(settings.dsn(dsn), table, schema=schema), tuple(groups[0][1]))]
    return [Source(find(name or "").in_schema(schema), tuple(paths)) for name, paths in groups]


def _check_rejects(path: str, groups: list[tuple[str | None, list[str]]]) -> None:
    """Refuses rejects that would take the place of a resource file; those over an imported file are refused anyway."""
    from evtool import files

    for name in (name for name, _ in groups if name is not None):
        if (name.endswith(".toml") or "/" in name) and files.is_read_as(name, path):
            raise click.UsageError(f"The rejects would be written over the resource file {name}.")


def _text(report: ImportReport, *, dry_run: bool) -> str:
    """A report for people."""
    would = "would be " if dry_run else ""
    parts = [f"{report.inserted} {would}inserted"]
    if report.updated:
        parts.append(f"{report.updated} {would}updated")
    parts.append(f"{report.rejected} rejected")
    lines = [
        f"{report.resource}: {output.counted(report.total, 'record')} in {report.elapsed:.1f}s: {', '.join(parts)}"
    ]
    width = max((len(str(count)) for count in report.by_code.values()), default=0)
    lines += [f"  {count:>{width}}  {code}" for code, count in report.by_code.items()]
    lines += [
        f"  batch {one.batch} (lines {one.first_line} to {one.last_line}) failed: SQLSTATE {one.code}"
        for one in report.failed_batches
    ]
    return "\n".join(lines)
