"""The messages of a namespace: positions, the plans of the reads, and what vacuum did for them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from psycopg import sql

from evtool.findings import Severity
from evtool.stores.postgres import scripts
from evtool.stores.postgres.connection import Connection
from evtool.stores.postgres.doctor.checking import Found, Mend, ask, filled, found, statement
from evtool.stores.postgres.migration import Target

_PLANS = {
    "stream": "messages_stream",
    "last": "messages_stream",
    "category": "messages_category",
    "all": "messages_pkey",
}
_READS = {"stream": "a stream", "last": "a stream's last message", "category": "a category", "all": "all messages"}
# What the functions have in their headers.
_AS_IN_FUNCTIONS = """
    SELECT set_config('plan_cache_mode', 'force_generic_plan', true), set_config('enable_sort', 'off', true)
"""
# Below that a table is read as fast without being vacuumed.
_PAGES = 1000
_DEAD_ROWS = 10_000
_DEAD_PART = 0.2
_INSERT_PART = 0.05


def check_sequence(connection: Connection, target: Target) -> Iterator[Found]:
    """A sequence that will draw positions that are taken, as a restored or replicated table leaves it."""
    ((greatest, last),) = ask(connection, "sequence", target.schema)
    if greatest <= last:
        return
    sequence = sql.Identifier(target.schema, "messages_global_position_seq").as_string(connection)
    cure = statement("SELECT setval({}, {})", sql.Literal(sequence), sql.Literal(greatest))
    what = (
        f"the sequence of global positions is at {last}, behind the greatest in the table, {greatest}: writes will fail"
    )

    def mend(connection: Connection) -> str:
        with connection.transaction():
            connection.execute(scripts.SHORT_WAIT)
            connection.execute(filled("lock_messages", target.schema))
            row = connection.execute(filled("raise_sequence", target.schema)).fetchone()
        return "it was further already" if row is None else f"the sequence is at {row[0]}"

    yield found(Severity.PROBLEM, "sequence-behind", target, what, cure, mend)


def check_holes(connection: Connection, target: Target) -> Iterator[Found]:
    """Positions that streams lack, by whether an import on record explains them."""
    ((streams, lacking, unexplained, lost, first),) = ask(connection, "holes", target.schema)
    explained = streams - unexplained
    if explained:
        what = (
            f"{explained} streams have holes in their positions, {lacking - lost} messages in all, that imports of a "
            "part of a store left: they are as they should be"
        )
        cure = "to have those streams whole, import all of their messages"
        yield found(Severity.NOTE, "sparse-import", target, what, cure)
    if unexplained:
        what = (
            f"{unexplained} streams have holes in their positions, {lost} messages in all, that no import on record "
            f'explains, the first "{first}": messages were deleted, or came by another way'
        )
        cure = "compare with an export: evtool verify FILE; evtool import --on-conflict skip puts back what it has"
        yield found(Severity.WARNING, "stream-holes", target, what, cure)


def check_plans(connection: Connection, target: Target) -> Iterator[Found]:
    """Reads that would not go by the index that is made for them."""
    connection.execute(_AS_IN_FUNCTIONS)
    for name, index in _PLANS.items():
        query = filled(f"plans/{name}", target.schema)
        connection.execute(sql.SQL("PREPARE evtool_doctor (varchar, bigint, bigint) AS ") + query)
        try:
            row = connection.execute("EXPLAIN (FORMAT JSON) EXECUTE evtool_doctor ('', 0, 1000)").fetchone()
        finally:
            connection.execute("DEALLOCATE evtool_doctor")
        assert row is not None
        nodes = list(_nodes(json.loads(row[0])[0]["Plan"]))
        used = [node["Index Name"] for node in nodes if "Index Name" in node]
        sorts = any("Sort" in node["Node Type"] or node["Node Type"].startswith("Bitmap") for node in nodes)
        # by another of ours it walks past what it doesn't want; one of somebody's that gives the order is as good
        if sorts or len(used) != 1 or used[0] in set(_PLANS.values()) - {index}:
            kinds = ", ".join(node["Node Type"] for node in nodes)
            what = f"the read of {_READS[name]} does not go by the index {index}: {kinds}"
            table = sql.Identifier(target.schema, "messages")
            cure = (
                statement("ANALYZE {}", table) + "; and see what is found about its indexes and the planner's settings"
            )
            yield found(Severity.WARNING, "plan-without-index", target, what, cure)


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from _nodes(below)


def check_vacuum(connection: Connection, target: Target) -> Iterator[Found]:
    """A table that vacuum neglects: reads of an index then visit the table, and the index by time is not kept up."""
    rows = ask(connection, "vacuum", target.schema)
    for pages, visible, counted, dead, live, off, part in rows:
        table = sql.Identifier(target.schema, "messages")
        vacuum = statement("VACUUM (ANALYZE) {}", table)
        if off:
            cure = statement("ALTER TABLE {} RESET (autovacuum_enabled)", table)
            what = "autovacuum is switched off for the table of messages"
            yield found(Severity.WARNING, "autovacuum-off", target, what, cure, _execute(cure))
        if part is None or part > _INSERT_PART:
            cure = statement(
                "ALTER TABLE {} SET (autovacuum_vacuum_insert_scale_factor = {})", table, sql.Literal(_INSERT_PART)
            )
            what = f"autovacuum waits for {'20' if part is None else f'{part * 100:g}'} % new messages, not for 5 %"
            yield found(Severity.WARNING, "insert-scale-factor", target, what, cure, _execute(cure))
        if pages >= _PAGES and (visible * 2 < pages or counted < 0):
            what = (
                f"vacuum has seen {visible} of {pages} pages: reads by an index visit the table as well, and the "
                "index by time has no summaries of the others"
            )
            yield found(Severity.WARNING, "not-vacuumed", target, what, vacuum, _execute(vacuum))
        if dead > _DEAD_ROWS and dead > _DEAD_PART * (dead + live):
            what = f"{dead} dead rows beside {live} live ones take room: deleted, or rolled back"
            yield found(Severity.WARNING, "bloat", target, what, vacuum, _execute(vacuum))


def _execute(command: str) -> Mend:
    def mend(connection: Connection) -> str:
        connection.execute(sql.SQL(command))
        return command

    return mend
