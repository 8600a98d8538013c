"""What belongs to a namespace: schema, version, functions, tables and indexes."""

from __future__ import annotations

import re
from collections.abc import Iterator

from psycopg import sql

from evtool.errors import EvtoolError
from evtool.findings import Severity
from evtool.model import NamespaceState
from evtool.stores.postgres import migration
from evtool.stores.postgres.connection import Connection
from evtool.stores.postgres.doctor import shapes
from evtool.stores.postgres.doctor.checking import Found, Mend, ask, found, shell, statement
from evtool.stores.postgres.migration import Target

# What REINDEX CONCURRENTLY leaves behind when it fails.
_LEFT_OVER = re.compile(r"_cc(new|old)\d*$")
_PRIMARY_KEYS = {"messages_pkey": "messages", "imports_pkey": "imports", "evtool_version_pkc": "evtool_version"}


def check_orphans(connection: Connection) -> Iterator[Found]:
    """Schemas without a row in the registry, and rows of the registry without a namespace."""
    for kind, schema in ask(connection, "orphans"):
        if kind == "schema":
            what = f"the schema {schema} holds a namespace that the registry does not know"
            yield found(Severity.WARNING, "orphan-schema", None, what, shell("evtool", "ns", "adopt", schema))
        else:
            cure = statement("DELETE FROM evtool.behaviours WHERE schema_name = {}", sql.Literal(schema))
            what = f"the registry knows functions of the schema {schema}, which is no namespace's"
            yield found(Severity.NOTE, "orphan-row", None, what, cure, _run("the row was deleted", cure))


def registry_functions_missing() -> Found:
    """What is found where the registry's functions are so damaged that nothing can be asked of them."""
    what = "a function of the registry, by which the others are known, is missing"
    cure = shell("evtool", "migrate")
    return found(Severity.PROBLEM, "functions-missing", migration.REGISTRY, what, cure, _replace(migration.REGISTRY))


def check_state(target: Target, state: NamespaceState) -> Iterator[Found]:
    """A schema that is gone, a structure that is behind, and functions that are not what was installed."""
    name = target.name
    migrate = shell("evtool", "migrate") if name is None else shell("evtool", "migrate", "--namespace", name)
    if state.structure is None:
        what = f"the schema {target.schema} is gone, or lacks its tables"
        cure = "restore it from a backup" + ("" if name is None else ", or: " + shell("evtool", "ns", "delete", name))
        yield found(Severity.PROBLEM, "schema-gone", target, what, cure)
    elif state.note is not None:
        yield found(Severity.WARNING, "too-new", target, state.note, "upgrade evtool")
    elif state.pending:
        what = f"the structure is {state.structure}, and still to come is {', '.join(state.pending)}"
        yield found(Severity.WARNING, "structure-behind", target, what, migrate)
    elif state.functions != "current":
        told = {
            "changed": "a function or view was changed, added or dropped by hand",
            "outdated": "the functions are of another version of evtool",
            "missing": "the registry does not know that the functions were installed",
        }
        severity = Severity.WARNING if state.functions == "outdated" else Severity.PROBLEM
        yield found(severity, f"functions-{state.functions}", target, told[state.functions], migrate, _replace(target))


def check_shape(connection: Connection, target: Target) -> Iterator[Found]:
    """Tables, columns, indexes and the like that are missing, other, or too many."""
    for one in shapes.differences(connection, target.scope, target.schema):
        if one.kind == "index":
            yield _index(target, one)
        elif one.kind == "constraint" and one.found is None and one.name.partition(".")[2] in _PRIMARY_KEYS:
            # its index is told, and brings it along
            continue
        elif one.kind == "rule":
            table, _, rule = one.name.partition(".")
            what = f"there is a rule {one.name}, which rewrites what is done to the table: {_definition(one)}"
            cure = statement("DROP RULE {} ON {}", rule, sql.Identifier(target.schema, table))
            yield found(Severity.PROBLEM, "foreign-rule", target, what, cure)
        elif one.kind == "trigger" or one.expected is None:
            what = f"there is a {one.kind} {one.name} that is not evtool's: {_definition(one)}"
            severity = Severity.WARNING if one.kind in {"trigger", "constraint"} else Severity.NOTE
            cure = "drop it if nobody needs it: it is paid for by every write" if severity == Severity.WARNING else "-"
            yield found(severity, f"foreign-{one.kind}", target, what, cure)
        else:
            is_ = "missing" if one.found is None else f"{_definition(one)!r}"
            what = f"the {one.kind} {one.name} is {is_} instead of {one.expected!r}"
            if one.found is None:
                what = f"the {one.kind} {one.name} is missing: {one.expected}"
            cure = "change it back by ALTER, or restore the namespace from an export or a backup"
            yield found(Severity.PROBLEM, f"{one.kind}-drift", target, what, cure)


def check_owners(connection: Connection, target: Target) -> Iterator[Found]:
    """Functions and views that can't do what they are for, because their owner may not."""
    for kind, name, owner, wanted in ask(connection, "owners", target.schema):
        what = f"the {kind.lower()} {name} runs with the rights of {owner}, which lacks those on the table messages"
        # the server has written the name, quoted where it must be
        cure = statement("ALTER {} {} OWNER TO {}", sql.SQL(kind), sql.SQL(name), wanted)
        yield found(Severity.PROBLEM, "owner-drift", target, what, cure, _run(f"{name} was given to {wanted}", cure))


def _definition(one: shapes.Difference) -> str:
    return "" if one.found is None else one.found.definition


def _index(target: Target, one: shapes.Difference) -> Found:
    index = sql.Identifier(target.schema, one.name)
    if one.found is None:
        steps = [_create(target.schema, one.expected or "")]
        table = _PRIMARY_KEYS.get(one.name)
        if table is not None:
            key = "ALTER TABLE {} ADD PRIMARY KEY USING INDEX {}"
            steps.append(statement(key, sql.Identifier(target.schema, table), one.name))
        what = f"the index {one.name} is missing"
        mend = _run(f"built {one.name}", *steps)
        return found(Severity.PROBLEM, "missing-index", target, what, ";\n".join(steps), mend)
    if not one.found.usable:
        what = f"the index {one.name} is invalid: its build failed or was ended"
        if one.expected is None and _LEFT_OVER.search(one.name):
            cure = statement("DROP INDEX CONCURRENTLY {}", index)
            return found(Severity.WARNING, "invalid-index", target, what, cure, _run(f"dropped {one.name}", cure))
        cure = statement("REINDEX INDEX CONCURRENTLY {}", index)
        return found(Severity.PROBLEM, "invalid-index", target, what, cure, _run(f"rebuilt {one.name}", cure))
    if one.expected is None:
        what = f"there is an index {one.name} that is not evtool's: {one.found.definition}"
        return found(Severity.NOTE, "foreign-index", target, what, statement("DROP INDEX CONCURRENTLY {}", index))
    what = f"the index {one.name} is another one: {one.found.definition}"
    cure = statement("DROP INDEX CONCURRENTLY {}", index) + ";\n" + _create(target.schema, one.expected)
    return found(Severity.PROBLEM, "index-drift", target, what, cure)


def _create(schema: str, definition: str) -> str:
    """The statement that builds an index of ours while the table is used; the names in it get their schema back."""
    prefix = sql.Identifier(schema).as_string() + "."
    text = re.sub(r"^CREATE (UNIQUE )?INDEX ", lambda match: match[0] + "CONCURRENTLY ", definition)
    return re.sub(r"(?<= ON )(?=\w)|\b(?=category\()", lambda _: prefix, text)


def _run(done: str, *statements: str) -> Mend:
    def mend(connection: Connection) -> str:
        # one by one: what is CONCURRENTLY refuses to share a transaction
        for one in statements:
            connection.execute(sql.SQL(one))
        return done

    return mend


def _replace(target: Target) -> Mend:
    def mend(connection: Connection) -> str:
        step = migration.migrate_one(connection, target)
        if step.action == "left alone":
            raise EvtoolError("it was deleted meanwhile")
        return "; ".join([step.action, *step.notes])

    return mend
