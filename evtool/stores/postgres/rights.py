"""Which privilege is missing, for whoever is told that permission was denied."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from evtool import names
from evtool.errors import PermissionDenied
from evtool.stores.postgres.connection import Connection
from evtool.stores.postgres.translation import PERMISSION_HINT, one_line

if TYPE_CHECKING:
    # what only reads need not import
    from evtool.stores.postgres.migration import Target

# A schema that isn't there needs CREATE on the database.
_CREATE_SCHEMA = """
    SELECT format('CREATE on the database: GRANT CREATE ON DATABASE %%I TO %%I', current_database(), current_user)
    WHERE to_regnamespace(%(schema)s) IS NULL
      AND NOT has_database_privilege(current_user, current_database(), 'CREATE')
    UNION
"""
# A schema of evtool's needs to belong, with all in it that evtool replaces, to a role of which the caller is a member.
_MISSING = f"""{_CREATE_SCHEMA}
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

# Tables may stand in a schema of others, beside theirs; what evtool made there before is its owner's to change.
_MISSING_FOR_TABLES = f"""{_CREATE_SCHEMA}
    SELECT format('membership in %%I, who owns %%s: GRANT %%1$I TO %%3$I',
      pg_get_userbyid(relowner), oid::regclass, current_user)
    FROM pg_class
    WHERE relnamespace = to_regnamespace(%(schema)s) AND relname = 'evtool_version'
      AND NOT pg_has_role(relowner, 'USAGE')
    UNION
    SELECT format('CREATE on the schema: GRANT CREATE ON SCHEMA %%I TO %%I', nspname, current_user)
    FROM pg_namespace
    WHERE oid = to_regnamespace(%(schema)s) AND NOT has_schema_privilege(oid, 'CREATE')
    ORDER BY 1
"""


def explained(connection: Connection, target: Target) -> AbstractContextManager[None]:
    """Names what the caller lacks for migrating the registry or a namespace.

    Raises:
        PermissionDenied: instead of psycopg's error.
    """
    return _explained(connection, _MISSING, target.schema, f"{target.what} can't be migrated")


def explained_for_tables(connection: Connection, schema: str, failure: str) -> AbstractContextManager[None]:
    """Names what the caller lacks for making tables in a schema.

    Raises:
        PermissionDenied: `failure`, instead of psycopg's error.
    """
    return _explained(connection, _MISSING_FOR_TABLES, schema, failure)


def explained_for_namespace(
    connection: Connection, name: str, schema: str | None, what: str
) -> AbstractContextManager[None]:
    """Names what the caller lacks for a namespace to be "made" or "removed".

    Raises:
        PermissionDenied: instead of psycopg's error.
        NamespaceRefused: it can't be called so.
    """
    here = names.schema_name(name) if schema is None else schema
    return _explained(connection, _MISSING, here, f'the namespace "{name}" can\'t be {what}')


@contextlib.contextmanager
def _explained(connection: Connection, query: str, schema: str, failure: str) -> Iterator[None]:
    try:
        yield
    except (psycopg.errors.InsufficientPrivilege, PermissionDenied) as error:
        # the transaction has been rolled back by now
        diagnosed = error.diag.message_primary if isinstance(error, psycopg.Error) else error.message
        name = sql.Identifier(schema).as_string(connection)
        lacks = [row[0] for row in connection.execute(query, {"schema": name}).fetchall()]
        hint = f"what is missing: {'; and '.join(lacks)}" if lacks else PERMISSION_HINT
        raise PermissionDenied(f"{failure}: {one_line(diagnosed or str(error))}", hint=hint) from error
