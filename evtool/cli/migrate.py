"""`evtool migrate`."""

from __future__ import annotations

import collections
import dataclasses
from typing import TYPE_CHECKING, Any

import click

from evtool import settings
from evtool.cli import exits, options, output
from evtool.cli.options import open_store

if TYPE_CHECKING:
    from evtool.model import MigrationStep, NamespaceState

_UNDONE = {"failed", "not tried"}
# The registry, a namespace and what bulk tables need: few enough for sentences, which tell it better than a table.
_FEW = 4
# What is no namespace, by its schema.
_OTHERS = {"evtool_bulk": "bulk imports", "evtool_jobs": "bulk jobs"}


@click.group(invoke_without_command=True)
@click.option("--namespace", "names", metavar="NAME", multiple=True, help="Only this namespace; may be repeated.")
@click.option("--jobs", metavar="N", default=1, show_default=True, help="How many at the same time.")
@click.option(
    "--canary",
    metavar="N",
    default=0,
    help="Migrate N that have something to do first; if one of them fails, leave the others.",
)
@options.database
@options.as_json
@options.show_sql
@click.pass_context
def migrate(
    context: click.Context, names: tuple[str, ...], jobs: int, canary: int, dsn: str | None, json_: bool, sql: bool
) -> None:
    """Bring a database to what this version ships.

    A fresh database gets the registry (schema evtool) and the namespace message_store, with the roles
    message_store_reader and message_store_writer, and the LOGIN role message_store that Message DB's clients use. Run
    again, it does nothing and says so. Two at once: one waits. What bulk imports and jobs need (the schemas evtool_bulk
    and evtool_jobs) is brought up to date where it is installed, but not with --namespace, nor by --sql.

    Each namespace is a transaction of its own, which waits up to 10 seconds for a lock, or as long as the role's
    lock_timeout says. One that fails is reported, and the others go on; then the exit code is 1, and another run does
    what is left.

    \b
    Example:
      evtool migrate --dsn postgresql://localhost/shop
      evtool migrate status
      evtool migrate --jobs 8 --canary 2        # a thousand namespaces
      evtool migrate --namespace orders --namespace payments
      evtool migrate --sql > migration.sql      # without a DSN: for a fresh database
    """
    if context.invoked_subcommand is not None:
        context.obj = dsn
        return
    if sql:
        from evtool import migrating

        if names or jobs != 1 or canary or json_:
            raise click.UsageError("--sql prints everything that is to be done, and takes no other option.")
        output.data(migrating.script(None if settings.dsn_is_default(dsn) else settings.dsn(dsn)).rstrip())
        return
    from evtool.model import MigrationPlan
    from evtool.store import Ability

    plan = MigrationPlan(names, jobs, canary)
    with open_store(dsn) as store:
        many = Ability.ADMINISTRATION in store.abilities
        if plan != MigrationPlan():
            store.require(Ability.ADMINISTRATION)
        steps = list(store.administration().migrate(plan)) if many else store.migrate()
        if many and not names:
            from evtool.bulk.jobs import upgrading

            steps += upgrading.migrate(settings.dsn(dsn))
    if json_:
        output.as_json([_plain(step) for step in steps])
    else:
        _show_steps(steps)
    if any(step.action in _UNDONE for step in steps):
        raise click.exceptions.Exit(exits.FAILED)


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
    from evtool.store import Ability

    given = dsn if dsn is not None else outer_dsn
    with open_store(given) as store:
        states = store.migration_status()
        if Ability.ADMINISTRATION in store.abilities:
            from evtool.bulk.jobs import upgrading

            states += upgrading.status(settings.dsn(given))
    if json_:
        output.as_json([{**dataclasses.asdict(state), "current": state.current} for state in states])
        return
    output.table(
        ("NAMESPACE", "SCHEMA", "STRUCTURE", "PENDING", "FUNCTIONS", "ROLES"), [_status_row(state) for state in states]
    )
    for state in states:
        if state.note:
            output.talk(f"{state.name or _what(state)}: {state.note}")
    if any(not (state.current and state.roles) and not state.note for state in states):
        output.talk("To bring it up to date: evtool migrate")


def _what(one: NamespaceState | MigrationStep) -> str:
    """What something is that is no namespace."""
    return _OTHERS.get(one.schema, "registry")


def _status_row(state: NamespaceState) -> tuple[str, ...]:
    has_roles = state.name is not None or state.schema == "evtool_jobs"
    roles = "-" if not has_roles else "yes" if state.roles else "missing"
    return (
        state.name or f"({_what(state)})",
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
        if step.error is not None:
            what = _what(step) if step.name is None else f'namespace "{step.name}"'
            output.talk(f"{what}: {exits.one_line(step.error)}")
    if not changed:
        namespaces = sum(step.name is not None for step in steps)
        output.data(f"Nothing to do: the registry and {namespaces} namespace{'s' * (namespaces != 1)} are current.")
    elif len(steps) <= _FEW:
        for step in changed:
            what = _what(step) if step.name is None else f'namespace "{step.name}"'
            version = f", structure {step.structure}" if step.structure else ""
            output.data(f"{what}: {step.action} (schema {step.schema}{version})")
    else:
        rows = [_step_row(step) for step in changed]
        output.table(("NAMESPACE", "SCHEMA", "OUTCOME", "STRUCTURE", "SECONDS"), rows)
        counts = collections.Counter(step.action for step in steps if step.name is not None)
        output.talk(", ".join(f"{count} {action}" for action, count in counts.most_common()))
    if any(step.action in _UNDONE for step in steps):
        output.talk("To do what is left: evtool migrate")


def _step_row(step: MigrationStep) -> tuple[str, ...]:
    return (
        step.name or f"({_what(step)})",
        step.schema,
        step.action,
        step.structure or "-",
        f"{step.seconds:.2f}",
    )


def _plain(step: MigrationStep) -> dict[str, Any]:
    error = step.error
    told = None if error is None else {"code": error.code, "message": error.message, "hint": error.hint}
    return {
        "name": step.name,
        "schema": step.schema,
        "outcome": step.action,
        "structure": step.structure,
        "notes": step.notes,
        "seconds": round(step.seconds, 3),
        "error": told,
    }
