"""The privileges in a namespace, held against what evtool.grant_namespace gives."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from psycopg import sql

from evtool.findings import Severity
from evtool.stores.postgres import scripts
from evtool.stores.postgres.connection import Connection, Notices
from evtool.stores.postgres.doctor.checking import Found, ask, found, statement
from evtool.stores.postgres.migration import Target

_TOLD = 3


class Difference(NamedTuple):
    """Where a privilege is not what it should be.

    Attributes:
        wrong: "public", "group" (a group has more than its part), "missing", "direct" (a role may write around the
            functions), "no group", "no look" (a group may not look up namespaces), or "role" (a group can do what no
            group may).
        what: the object.
        role: who has it, or should.
        privileges: which; None for a role that is missing.
        revoke: the statement that takes it back; None where something is missing.
    """

    wrong: str
    what: str
    role: str
    privileges: str | None
    revoke: str | None


def differences(connection: Connection, schema: str) -> list[Difference]:
    """Where the privileges in a schema are not what they should be."""
    return [Difference(*row) for row in ask(connection, "grants", schema)]


def check(connection: Connection, target: Target) -> Iterator[Found]:
    """Wide and missing grants."""
    sorted_: dict[str, list[Difference]] = defaultdict(list)
    for one in differences(connection, target.schema):
        sorted_[one.wrong].append(one)
    regrant = statement("SELECT evtool.grant_namespace({})", sql.Literal(target.schema))

    def mend(connection: Connection) -> str:
        return _grant(connection, target.schema)

    for wrong, code, told, severity in (
        ("public", "public-grant", "everybody (PUBLIC) has privileges on", Severity.PROBLEM),
        ("group", "wide-grant", "a group role has more than its part on", Severity.PROBLEM),
        ("missing", "missing-grant", "a group role lacks its privileges on", Severity.PROBLEM),
        ("no group", "missing-role", "group roles are missing:", Severity.WARNING),
        ("no look", "missing-grant", "members can't look up which schema the namespace has:", Severity.WARNING),
    ):
        if sorted_[wrong]:
            yield found(severity, code, target, f"{told} {_some(sorted_[wrong])}", regrant, mend)
    for one in sorted_["role"]:
        what = f"the {one.what}, and a group only gives its members what they may in the namespace"
        yield found(Severity.PROBLEM, "wide-role", target, what, one.revoke or "")
    for one in sorted_["direct"]:
        # somebody gave it on purpose, and may be at work with it
        what = f"the role {one.role} may write around the functions: {one.privileges} on {one.what}"
        yield found(Severity.PROBLEM, "direct-write", target, what, one.revoke or "")


def _some(those: list[Difference]) -> str:
    names = list(dict.fromkeys(one.what for one in those))
    more = f" and {len(names) - _TOLD} more" if len(names) > _TOLD else ""
    return ", ".join(names[:_TOLD]) + more


def _grant(connection: Connection, schema: str) -> str:
    with Notices(connection) as notes, connection.transaction():
        connection.execute(scripts.lock(schema))
        connection.execute(scripts.SHORT_WAIT)
        connection.execute("SELECT evtool.grant_namespace(%s)", (schema,))
    return "; ".join(["the privileges were given anew", *notes])
