"""Which privilege is missing, for whoever is told that permission was denied."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import psycopg
from psycopg import sql

from evtool.errors import PermissionDenied
from evtool.stores.postgres.connection import Connection
from evtool.stores.postgres.migration import Target
from evtool.stores.postgres.translation import PERMISSION_HINT, one_line

# A schema that isn't there needs CREATE on the database. One that is there needs to belong, with all in it that evtool
# replaces, to a role of which the caller is a member.
_MISSING = """
    SELECT format('CREATE on the database: GRANT CREATE ON DATABASE %%I TO %%I', current_database(), current_user)
    WHERE to_regnamespace(%(schema)s) IS NULL
      AND NOT has_database_privilege(current_user, current_database(), 'CREATE')
    UNION
    SELECT format('membership in %%I, who owns the schema %%I: GRANT %%1$I TO %%3$I',
      pg_get_userbyid(nspowner), nspname, current_user)
    FROM pg_namespace
    WHERE oid IN (to_regnamespace(%(schema)s), to_regnamespace('evtool')) AND NOT pg_has_role(nspowner, 'USAGE')
    UNION
    SELECT format('membership in %%I, who owns %%s: GRANT %%1$I TO %%3$I',
      pg_get_userbyid(min(object.owner::int)::oid), min(object.what), current_user)
    FROM (
      SELECT relowner AS owner, oid::regclass::text AS what
      FROM pg_class WHERE relnamespace = to_regnamespace(%(schema)s) AND relkind IN ('r', 'v', 'S')
      UNION ALL
      SELECT proowner, oid::regprocedure::text
      FROM pg_proc WHERE pronamespace = to_regnamespace(%(schema)s)
    ) AS object
    WHERE NOT pg_has_role(object.owner, 'USAGE')
    GROUP BY object.owner
    ORDER BY 1
"""


def missing(connection: Connection, schema: str) -> list[str]:
    """What the caller lacks for migrating a schema, each with the command that gives it."""
    name = sql.Identifier(schema).as_string(connection)
    return [row[0] for row in connection.execute(_MISSING, {"schema": name}).fetchall()]


@contextlib.contextmanager
def explained(connection: Connection, target: Target) -> Iterator[None]:
    """Turns a refused permission into one that names what is missing. The transaction has been rolled back by then.

    Raises:
        PermissionDenied: instead of psycopg's error.
    """
    try:
        yield
    except (psycopg.errors.InsufficientPrivilege, PermissionDenied) as error:
        diagnosed = error.diag.message_primary if isinstance(error, psycopg.Error) else error.message
        lacks = missing(connection, target.schema)
        hint = f"what is missing: {'; and '.join(lacks)}" if lacks else PERMISSION_HINT
        message = f"{target.what} can't be migrated: {one_line(diagnosed or str(error))}"
        raise PermissionDenied(message, hint=hint) from error
