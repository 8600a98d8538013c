"""A namespace that begins with all that another one holds, copied inside the server."""

from __future__ import annotations

from psycopg import sql

from evtool import names
from evtool.model import Namespace
from evtool.stores.postgres import registry
from evtool.stores.postgres.connection import Connection
from evtool.stores.postgres.indexes import Indexes

# From then on indexes that are built afterwards take less time than dropping and describing them does.
_MANY = 10_000

_COUNT = "SELECT count(*) FROM {old}.messages"
_MESSAGES = """
    INSERT INTO {new}.messages (global_position, position, time, stream_name, type, data, metadata, id)
    SELECT global_position, position, time, stream_name, type, data, metadata, id FROM {old}.messages
    ORDER BY global_position
"""
_IMPORTS = """
    INSERT INTO {new}.imports (imported_at, source, fingerprint, options, last_line, imported, skipped, first_position,
      last_position, replaced, complete)
    SELECT imported_at, source, fingerprint, options, last_line, imported, skipped, first_position, last_position,
      replaced, complete
    FROM {old}.imports ORDER BY number
"""
# Writers of the other namespace go on: one that has drawn a position in the meantime may be in the copy.
_SEQUENCE = """
    SELECT setval({sequence}, greatest(s.last_value, m.last), s.is_called OR m.last IS NOT NULL)
    FROM {old}.messages_global_position_seq AS s, (SELECT max(global_position) AS last FROM {new}.messages) AS m
"""


def clone(connection: Connection, like: str, name: str, schema: str | None) -> Namespace:
    """Makes a namespace with the messages of another one, and its imports on record, in one transaction.

    Raises:
        NamespaceNotFound, NotMigrated, NamespaceExists, NamespaceRefused: see `Store.create_namespace`.
    """
    names.check_namespace(name)
    source = registry.get(connection, like)
    registry.check_structure(connection, source.schema)
    with connection.transaction():
        made = registry.create(connection, name, schema)
        new = sql.Identifier(made.schema)
        sequence = sql.Literal(sql.Identifier(made.schema, "messages_global_position_seq").as_string(connection))
        parts = {"old": sql.Identifier(source.schema), "new": new, "sequence": sequence}
        (count,) = connection.execute(sql.SQL(_COUNT).format(**parts)).fetchone() or (0,)
        indexes = Indexes(connection, made.schema)
        if count >= _MANY:
            indexes.lay_aside()
        for statement in (_MESSAGES, _IMPORTS):
            connection.execute(sql.SQL(statement).format(**parts))
        indexes.build()
        connection.execute(sql.SQL(_SEQUENCE).format(**parts))
        if count >= _MANY:
            connection.execute(sql.SQL("ANALYZE {}.messages").format(new))
    return made
