"""`evtool verify`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from evtool.cli import exits, options, output
from evtool.cli.options import open_store
from evtool.cli.selecting import selection_options

if TYPE_CHECKING:
    from evtool.model import Selection
    from evtool.verifying import Difference, Verification


@click.command()
@click.argument("path", metavar="FILE")
@selection_options
@click.option("--manifest", metavar="PATH", help="The manifest of FILE. [default: FILE.manifest.json, if it is there]")
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=100,
    show_default=True,
    metavar="N",
    help="How many differences to print; all are counted.",
)
@options.as_json
@options.progress
@options.namespaced
def verify(
    path: str,
    selection: Selection,
    manifest: str | None,
    limit: int,
    json_: bool,
    progress: str,
    dsn: str | None,
    namespace: str | None,
) -> int:
    """Compare FILE, plain or compressed, with a namespace: what is missing in it, extra, or different.

    Values are compared, not spellings: 1e2 is 100.0, and the order of an object's keys means nothing. The manifest
    beside FILE says which messages of the namespace are to be in it, and what its bytes are; filters say the former
    instead, where they are given. Without either it is everything between the first and the last position in FILE. Exit
    code 0 if nothing differs, 4 if something does.

    \b
    Example:
      evtool verify slice.ndjson.gz -n debug
      evtool verify slice.ndjson --categories order --since 2025-07-01 --json
      evtool export --dsn postgresql://prod/shop | evtool verify - -n debug
    """
    from evtool.model import Selection
    from evtool.verifying import verify_file

    if path == "-" and (sys.stdin is None or options.can_ask()):
        raise click.UsageError("Give a FILE, or pipe one in.")
    size = Path(path).stat().st_size if Path(path).is_file() else None
    given = None if selection == Selection() else selection
    meter = output.Meter(progress, "compared", total_bytes=size)
    try:
        with open_store(dsn, namespace) as store:
            name = store.namespace
            found = verify_file(store, path, given, manifest=manifest, limit=limit, progress=meter)
    finally:
        meter.close()
    if json_:
        output.as_json(_as_json(path, name, found))
    else:
        for fault in found.faults:
            output.data(f"manifest: {fault}")
        for one in found.differences:
            output.data(_line(one))
    if output.wants_json_events():
        meter.done(found.lines, found.to_position)
    elif progress != "none":
        output.talk(_summary(name, found, limit))
    return exits.DONE if found.equal else exits.CONFLICT


def _line(one: Difference) -> str:
    from evtool.ndjson import quoted

    where = "" if one.line is None else f"  line {one.line}"
    fields = f"  {', '.join(one.fields)}" if one.fields else ""
    return f"{one.kind.value:<9}  position {one.position}{where}  {quoted(one.stream)}  {one.id}{fields}"


def _summary(name: str, found: Verification, limit: int) -> str:
    scope = {
        "filters": "the messages that the filters choose",
        "manifest": "the messages that the manifest speaks of",
        "positions": "all messages between the first and the last position in the file",
    }[found.scope.value]
    first = "the first" if found.from_position is None else str(found.from_position)
    last = "the last" if found.to_position is None else str(found.to_position)
    counts = f"{found.same} the same, {found.missing} missing, {found.extra} extra, {found.different} different"
    total = found.missing + found.extra + found.different
    rest = f" The first {limit} are listed." if total > limit else ""
    where = f", {scope} (positions {first} to {last})" if found.lines or total else ": the file is empty"
    return f'Compared {output.counted(found.lines, "message")} with the namespace "{name}"{where}: {counts}.{rest}'


def _as_json(path: str, name: str, found: Verification) -> dict[str, Any]:
    """One object: what was compared, the totals, and the lists."""
    lists: dict[str, list[dict[str, Any]]] = {"missing": [], "extra": [], "different": []}
    for one in found.differences:
        entry = {"gpos": one.position, "line": one.line, "stream": one.stream, "id": one.id}
        lists[one.kind.value].append({**entry, "fields": list(one.fields)} if one.fields else entry)
    return {
        "file": path,
        "namespace": name,
        "equal": found.equal,
        "scope": found.scope.value,
        "from_position": found.from_position,
        "to_position": found.to_position,
        "totals": {
            "compared": found.lines,
            "same": found.same,
            "missing": found.missing,
            "extra": found.extra,
            "different": found.different,
        },
        **lists,
        "listed": len(found.differences),
        "manifest_faults": list(found.faults),
    }
