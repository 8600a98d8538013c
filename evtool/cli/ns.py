"""`evtool ns`: namespaces."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from evtool import settings
from evtool.cli import exits, options, output
from evtool.cli.options import open_store
from evtool.errors import NamespaceNotFound, PermissionDenied

if TYPE_CHECKING:
    from evtool.administration import Right
    from evtool.model import Namespace
    from evtool.store import Store


@click.group()
def ns() -> None:
    """Make, adopt, list, show and delete namespaces, and say who may use them.

    A namespace is a schema of its own, with its own table of messages, functions, views and group roles; in SQLite and
    LMDB a file or a folder of its own.

    \b
    Example:
      evtool ns create orders
      evtool ns grant orders --to shop --write
      evtool ns list
    """


@ns.command()
@click.argument("name")
@click.option("--schema", metavar="SCHEMA", help="The schema to make. [default: the name, sanitised]")
@click.option("--like", metavar="OTHER", help="Begin with the messages of this namespace, at their positions.")
@options.database
@options.show_sql
def create(name: str, schema: str | None, like: str | None, dsn: str | None, sql: bool) -> None:
    """Make the namespace NAME, empty or as a copy of another.

    Its schema is NAME in lower case, with _ for everything but letters and digits. A schema that exists is refused.

    \b
    Example:
      evtool ns create orders
      evtool ns create "Orders (EU)" --schema orders_eu
      evtool ns create try-it --like debug
    """
    if sql and like is not None:
        raise click.UsageError("--sql and --like don't go together: messages are copied, not printed.")
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
        made = store.create_namespace(name, schema, like=like)
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
    """Show the namespace NAME: its schema, its version, the state of its functions, and who may use it.

    \b
    Example:
      evtool ns show orders
    """
    with open_store(dsn) as store:
        facts = _facts(store, name)
    if json_:
        output.as_json(facts)
        return
    members = facts.pop("members", [])
    output.facts(facts)
    for member in members:
        through = f" through {member['through']}" if member["through"] else ""
        login = "" if member["login"] else " (can't log in)"
        output.data(f"{'member:':<12}{member['role']} may {member['right']}{through}{login}")


def _facts(store: Store, name: str) -> dict[str, Any]:
    from evtool.store import Ability

    facts = _plain(store.get_namespace(name))
    try:
        if Ability.ADMINISTRATION in store.abilities:
            facts["notify"] = "on" if store.administration().notifies(name) else "off"
            facts["members"] = [dataclasses.asdict(member) for member in store.administration().members(name)]
        state = next(state for state in store.migration_status() if state.name == name)
    except StopIteration:
        raise NamespaceNotFound(f'there is no namespace "{name}"', hint="see: evtool ns list") from None
    except PermissionDenied:
        # a reader may know where a namespace is, not who else may use it or how it was installed
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
            if not options.can_ask():
                raise click.UsageError("Deleting asks for confirmation, and there is no terminal: add --yes.")
            question = f'Delete the namespace "{name}" (schema {namespace.schema}) and every message in it?'
            if not click.confirm(question, err=True):
                output.talk("Nothing was deleted.")
                raise click.exceptions.Exit(exits.FAILED)
        store.delete_namespace(name)
    output.data(f'namespace "{name}": deleted (schema {namespace.schema})')


@ns.command()
@click.argument("schema")
@click.option("--as", "name", metavar="NAME", help="What to call the namespace. [default: as the schema]")
@click.option(
    "--wait",
    metavar="SECONDS",
    type=click.FloatRange(min=0, max=86400),
    default=60,
    show_default=True,
    help="How long to wait for transactions that were running before a step.",
)
@options.database
@options.show_sql
def adopt(schema: str, name: str | None, wait: float, dsn: str | None, sql: bool) -> None:
    """Make a namespace of what is in SCHEMA, in place: a store of Message DB 1.3.0, or a restored schema of evtool's.

    Clients go on reading and writing meanwhile; no table is rewritten, and no message touched. Those who could write
    become members of the namespace's writers. Killed or timed out, it is finished by running it again.

    \b
    Example:
      evtool ns adopt message_store
      evtool ns adopt orders --as "Orders (EU)"
      evtool ns adopt message_store --sql | less
    """
    name = schema if name is None else name
    with open_store(dsn) as store:
        if sql:
            output.data(store.administration().adoption_script(schema, name).rstrip())
            return
        for line in store.administration().adopt(schema, name, timedelta(seconds=wait)):
            output.talk(line)
    output.data(f'namespace "{name}": adopted (schema {schema})')


@ns.command()
@click.argument("name")
@click.option("--to", "role", metavar="ROLE", required=True, help="The database role.")
@click.option("--read", "right", flag_value="read", help="It may read.")
@click.option("--write", "right", flag_value="write", help="It may read and write.")
@options.database
@options.show_sql
def grant(name: str, role: str, right: Right | None, dsn: str | None, sql: bool) -> None:
    """Let a database role read, or write, the namespace NAME.

    It becomes a member of the group <schema>_reader or <schema>_writer.

    \b
    Example:
      evtool ns grant orders --to shop --write
      evtool ns grant orders --to analyst --read
    """
    if right is None:
        raise click.UsageError("Say what it may do: --read or --write.")
    with open_store(dsn) as store:
        if sql:
            output.data(store.administration().grant_script(name, role, right).rstrip())
            return
        is_new = store.administration().grant(name, role, right)
    output.data(f'namespace "{name}": {role} may {right}' + ("" if is_new else ", as before"))


@ns.command()
@click.argument("name")
@click.option("--from", "role", metavar="ROLE", required=True, help="The database role.")
@options.database
@options.show_sql
def revoke(name: str, role: str, dsn: str | None, sql: bool) -> None:
    """End what a database role may do in the namespace NAME.

    \b
    Example:
      evtool ns revoke orders --from analyst
    """
    with open_store(dsn) as store:
        if sql:
            output.data(store.administration().grant_script(name, role, None).rstrip())
            return
        had_any = store.administration().revoke(name, role)
        through = [member.through for member in store.administration().members(name) if member.role == role]
    if through:
        output.talk(f"note: {role} still has a right through {through[0]}, of which it is a member")
    output.data(f'namespace "{name}": {role} ' + ("may nothing any more" if had_any else "had no right of its own"))


@ns.command()
@click.argument("name")
@click.option("--on", "on", flag_value="on", help="Writers notify.")
@click.option("--off", "on", flag_value="off", help="They don't, and pay nothing.")
@options.database
@options.show_sql
def notify(name: str, on: str | None, dsn: str | None, sql: bool) -> None:
    """Have the writers of the namespace NAME wake up those who listen: `evtool tail --listen`, or LISTEN in SQL.

    The channel is called as the schema, and the notification is empty. It is off at first: a NOTIFY makes all commits
    of a database that notify wait for each other, and whoever looks once a second needs none.

    \b
    Example:
      evtool ns notify orders --on
      evtool ns notify orders --off
    """
    if on is None:
        raise click.UsageError("Say which: --on or --off.")
    with open_store(dsn) as store:
        if sql:
            output.data(store.administration().notification_script(name, on=on == "on").rstrip())
            return
        is_new = store.administration().notify(name, on=on == "on")
    output.data(f'namespace "{name}": notifications are {on}' + ("" if is_new else ", as before"))
