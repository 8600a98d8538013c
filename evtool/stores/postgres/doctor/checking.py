"""What all checks share: how a finding is made, and how the queries of sql/doctor are asked."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from evtool import sqltext
from evtool.findings import Finding, Severity
from evtool.stores.postgres import scripts
from evtool.stores.postgres.connection import Connection
from evtool.stores.postgres.migration import Target

Mend = Callable[[Connection], str]
"""Mends something and returns what it did; its connection is in autocommit."""


@dataclass(frozen=True, slots=True)
class Found:
    """A finding, and what mends it where that loses nothing."""

    finding: Finding
    mend: Mend | None = None


def found(
    severity: Severity, code: str, target: Target | None, what: str, cure: str, mend: Mend | None = None
) -> Found:
    """A finding about a namespace, or about what all share."""
    name = None if target is None else target.name
    return Found(Finding(severity, code, name, " ".join(what.split()), cure, fixable=mend is not None), mend)


def ask(connection: Connection, path: str, schema: str = "", **variables: str) -> list[tuple[Any, ...]]:
    """The rows of a query in sql/doctor."""
    return connection.execute(filled(path, schema, **variables)).fetchall()


def filled(path: str, schema: str, **variables: str) -> sql.Composed:
    """A text of sql/doctor for a schema."""
    return scripts.fill(sqltext.read(f"doctor/{path}.sql"), {"ns": schema, **variables})


def shell(*words: str) -> str:
    """A command as a shell takes it."""
    return shlex.join(words)


def statement(text: str, *names: str | sql.Composable) -> str:
    """A statement as a cure, with its names quoted."""
    parts = [sql.Identifier(name) if isinstance(name, str) else name for name in names]
    # the texts are constants of these modules
    return sql.SQL(text).format(*parts).as_string()
