"""`evtool migrate`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import click

from evtool import settings
from evtool.cli import options, output
from evtool.cli.options import open_store

if TYPE_CHECKING:
    from evtool.model import MigrationStep, NamespaceState


@click.group(invoke_without_command=True)
@options.database
@options.show_sql
@click.pass_context
def migrate(context: click.Context, dsn: str | None, sql: bool) -> None:
    """Bring a database to what this version ships.

    A fresh database gets the registry (schema evtool) and the namespace message_store, with the roles
    message_store_reader and message_store_writer, and the LOGIN role message_store that Message DB's clients use. Run
    again, it does nothing and says so. Two at once: one waits.

    \b
    Example:
      evtool migrate --dsn postgresql://localhost/shop
      evtool migrate status
      evtool migrate --sql > migration.sql      # without a DSN: for a fresh database
    """
    if context.invoked_subcommand is not None:
        context.obj = dsn
        return
    if sql:
        from evtool import migrating

        output.data(migrating.script(None if settings.dsn_is_default(dsn) else settings.dsn(dsn)).rstrip())
        return
    with open_store(dsn) as store:
        steps = store.migrate()
    _show_steps(steps)


@migrate.command()
@options.database
@options.as_json
@click.pass_obj
def status(outer_dsn: str | None, dsn: str | None, json_: bool) -> None:
    """Show the version of the registry and of each namespace, what is pending, and whether functions differ.

    \b
    Example:
      evtool migrate status --dsn postgresql://localhost/shop
    """
    with open_store(dsn if dsn is not None else outer_dsn) as store:
        states = store.migration_status()
    if json_:
        output.as_json([{**dataclasses.asdict(state), "current": state.current} for state in states])
        return
    output.table(
        ("NAMESPACE", "SCHEMA", "STRUCTURE", "PENDING", "FUNCTIONS", "ROLES"), [_status_row(state) for state in states]
    )
    for state in states:
        if state.note:
            output.talk(f"{state.name or 'registry'}: {state.note}")
    if any(not (state.current and state.roles) and not state.note for state in states):
        output.talk("To bring it up to date: evtool migrate")


def _status_row(state: NamespaceState) -> tuple[str, ...]:
    roles = "-" if state.name is None else "yes" if state.roles else "missing"
    return (
        state.name or "(registry)",
        state.schema,
        state.structure or "-",
        ", ".join(state.pending) or "-",
        state.functions,
        roles,
    )


def _show_steps(steps: list[MigrationStep]) -> None:
    changed = [step for step in steps if step.action != "current"]
    for step in steps:
        for note in step.notes:
            output.talk(f"note: {note}")
    for step in changed:
        what = "registry" if step.name is None else f'namespace "{step.name}"'
        version = f", structure {step.structure}" if step.structure else ""
        output.data(f"{what}: {step.action} (schema {step.schema}{version})")
    if not changed:
        namespaces = len(steps) - 1
        output.data(f"Nothing to do: the registry and {namespaces} namespace{'s' * (namespaces != 1)} are current.")
