"""`evtool ns`: namespaces."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from evtool import settings
from evtool.cli import exits, options, output
from evtool.cli.options import open_store
from evtool.errors import NamespaceNotFound, PermissionDenied

if TYPE_CHECKING:
    from evtool.model import Namespace
    from evtool.store import Store


@click.group()
def ns() -> None:
    """Make, list, show and delete namespaces.

    A namespace is a schema of its own, with its own table of messages, functions, views and group roles; in SQLite and
    LMDB a file or a folder of its own.
    """


@ns.command()
@click.argument("name")
@click.option("--schema", metavar="SCHEMA", help="The schema to make. [default: the name, sanitised]")
@options.database
@options.show_sql
def create(name: str, schema: str | None, dsn: str | None, sql: bool) -> None:
    """Make the namespace NAME.

    Its schema is NAME in lower case, with _ for everything but letters and digits. A schema that exists is refused.

    \b
    Example:
      evtool ns create orders
      evtool ns create "Orders (EU)" --schema orders_eu
    """
    if sql:
        from evtool import namespaces
        from evtool.store import Ability

        if not settings.dsn_is_default(dsn):
            with open_store(dsn) as store:
                store.require(Ability.SQL_SCRIPTS)
                # the script needs the registry: says so where there is none
                store.list_namespaces()
        output.data(namespaces.creation_script(name, schema).rstrip())
        return
    with open_store(dsn) as store:
        made = store.create_namespace(name, schema)
    for note in made.notes:
        output.talk(f"note: {note}")
    output.data(f'namespace "{made.name}": created (schema {made.schema})')


@ns.command("list")
@options.database
@options.as_json
def list_(dsn: str | None, json_: bool) -> None:
    """List the namespaces of the database.

    \b
    Example:
      evtool ns list --json
    """
    with open_store(dsn) as store:
        namespaces = store.list_namespaces()
    if json_:
        output.as_json([_plain(namespace) for namespace in namespaces])
    elif namespaces:
        rows = [(one.name, one.schema, f"{one.created_at:%Y-%m-%d %H:%M:%S}Z") for one in namespaces]
        output.table(("NAMESPACE", "SCHEMA", "CREATED"), rows)
    else:
        output.talk("There is no namespace. Make one: evtool ns create NAME")


def _plain(namespace: Namespace) -> dict[str, Any]:
    return {"name": namespace.name, "schema": namespace.schema, "created_at": namespace.created_at}


@ns.command()
@click.argument("name")
@options.database
@options.as_json
def show(name: str, dsn: str | None, json_: bool) -> None:
    """Show the namespace NAME: its schema, its version, the state of its functions.

    \b
    Example:
      evtool ns show orders
    """
    with open_store(dsn) as store:
        facts = _facts(store, name)
    if json_:
        output.as_json(facts)
        return
    output.facts(facts)


def _facts(store: Store, name: str) -> dict[str, Any]:
    facts = _plain(store.get_namespace(name))
    try:
        state = next(state for state in store.migration_status() if state.name == name)
    except StopIteration:
        raise NamespaceNotFound(f'there is no namespace "{name}"', hint="see: evtool ns list") from None
    except PermissionDenied:
        # a reader may know where a namespace is, not how it was installed
        return facts
    pending = ", ".join(state.pending)
    return {**facts, "structure": state.structure, "pending": pending or None, "functions": state.functions}


@ns.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Don't ask.")
@options.database
@options.show_sql
def delete(name: str, yes: bool, dsn: str | None, sql: bool) -> None:
    """Delete the namespace NAME, with every message in it.

    \b
    Example:
      evtool ns delete orders
      evtool ns delete orders --yes
    """
    with open_store(dsn) as store:
        if sql:
            from evtool import namespaces

            output.data(namespaces.deletion_script(store, name).rstrip())
            return
        namespace = store.get_namespace(name)
        if not yes:
            if not sys.stdin.isatty():
                raise click.UsageError("Deleting asks for confirmation, and there is no terminal: add --yes.")
            question = f'Delete the namespace "{name}" (schema {namespace.schema}) and every message in it?'
            if not click.confirm(question, err=True):
                output.talk("Nothing was deleted.")
                raise click.exceptions.Exit(exits.FAILED)
        store.delete_namespace(name)
    output.data(f'namespace "{name}": deleted (schema {namespace.schema})')
