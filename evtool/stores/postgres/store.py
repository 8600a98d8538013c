"""A store in PostgreSQL: each method is one call of the stored procedure of the same name."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC
from typing import Any

import psycopg
from psycopg import sql

from evtool import settings
from evtool.errors import WrongExpectedVersion
from evtool.model import (
    ExportBlock,
    ImportSummary,
    Message,
    MigrationStep,
    Namespace,
    NamespaceState,
    NewMessage,
    Selection,
    json_text,
)
from evtool.ndjson import Record
from evtool.store import Store
from evtool.stores.postgres import copying, registry
from evtool.stores.postgres.connection import Connection, Connector
from evtool.stores.postgres.translation import translate, translated

_WRITE = "SELECT {ns}.write_message(%s, %s, %s, %s::jsonb, %s::jsonb, %s)"
_WRITE_BATCH = (
    "SELECT * FROM {ns}.write_messages(%s::varchar[], %s, %s::varchar[], %s::text[]::jsonb[], %s::text[]::jsonb[], %s)"
)
_STREAM = "SELECT * FROM {ns}.get_stream_messages(%s, %s, %s, %s)"
_CATEGORY = "SELECT * FROM {ns}.get_category_messages(%s, %s, %s, %s, %s, %s, %s)"
_ALL = "SELECT * FROM {ns}.get_all_messages(%s, %s)"
_LAST = "SELECT * FROM {ns}.get_last_stream_message(%s, %s)"
_VERSION = "SELECT {ns}.stream_version(%s)"
_WATERMARK = "SELECT {ns}.watermark()"

# invalid schema name, undefined function, undefined table
_SCHEMA_IS_GONE = frozenset({"3F000", "42883", "42P01"})


class PostgresStore(Store):
    """A namespace of a PostgreSQL database. See `Store` for what its methods do."""

    def __init__(self, dsn: str, namespace: str | None = None, *, connector: Connector | None = None) -> None:
        """Connects when the first method is called.

        Args:
            dsn: postgresql://…, or libpq's key=value, or "" for the PG* variables.
            namespace: its name; None for EVTOOL_NAMESPACE, else message_store.
            connector: the connections of another store of the same DSN, to be shared.

        Raises:
            InvalidDsn: libpq does not understand the DSN.
        """
        self._dsn = dsn
        self._namespace = settings.namespace(namespace)
        self._connector = connector or Connector(dsn)
        self._lock = threading.Lock()
        self._queries: dict[str, sql.Composed] = {}
        self._schema: str | None = None

    @property
    def namespace(self) -> str:
        """The namespace that the messages are in."""
        return self._namespace

    def in_namespace(self, name: str) -> PostgresStore:
        """A store of another namespace on the same connections."""
        return PostgresStore(self._dsn, name, connector=self._connector)

    def close(self) -> None:
        """Gives back all connections."""
        self._connector.close()

    def write_message(
        self,
        id: str | None,
        stream_name: str,
        type: str,
        data: Any,
        metadata: Any = None,
        expected_version: int | None = None,
    ) -> int:
        """See `Store.write_message`."""
        identifier = str(uuid.uuid4()) if id is None else id
        values = (identifier, stream_name, type, json_text(data), json_text(metadata), expected_version)
        return int(self._call(_WRITE, values, stream_name, expected_version)[0][0])

    def write_messages(
        self, stream_name: str, messages: Sequence[NewMessage], expected_version: int | None = None
    ) -> list[int]:
        """See `Store.write_messages`."""
        values = (
            [str(uuid.uuid4()) if message.id is None else message.id for message in messages],
            stream_name,
            [message.type for message in messages],
            [json_text(message.data) for message in messages],
            [json_text(message.metadata) for message in messages],
            expected_version,
        )
        return [row[0] for row in self._call(_WRITE_BATCH, values, stream_name, expected_version)]

    def get_stream_messages(
        self, stream_name: str, position: int | None = 0, batch_size: int | None = 1000, condition: str | None = None
    ) -> list[Message]:
        """See `Store.get_stream_messages`."""
        return self._messages(_STREAM, (stream_name, position, batch_size, condition))

    def get_category_messages(
        self,
        category: str,
        position: int | None = 1,
        batch_size: int | None = 1000,
        correlation: str | None = None,
        consumer_group_member: int | None = None,
        consumer_group_size: int | None = None,
        condition: str | None = None,
    ) -> list[Message]:
        """See `Store.get_category_messages`."""
        group = (consumer_group_member, consumer_group_size)
        return self._messages(_CATEGORY, (category, position, batch_size, correlation, *group, condition))

    def get_all_messages(self, position: int | None = 1, batch_size: int | None = 1000) -> list[Message]:
        """See `Store.get_all_messages`."""
        return self._messages(_ALL, (position, batch_size))

    def get_last_stream_message(self, stream_name: str, type: str | None = None) -> Message | None:
        """See `Store.get_last_stream_message`."""
        messages = self._messages(_LAST, (stream_name, type))
        return messages[0] if messages else None

    def stream_version(self, stream_name: str) -> int | None:
        """See `Store.stream_version`."""
        version: int | None = self._call(_VERSION, (stream_name,))[0][0]
        return version

    def export(self, selection: Selection) -> Iterator[ExportBlock]:
        """See `Store.export`."""
        connection = self._connector.open()
        try:
            with translated(self._namespace):
                schema = self._find_schema(connection)
                query = sql.SQL(_WATERMARK).format(ns=sql.Identifier(schema))
                row = connection.execute(query).fetchone()
                assert row is not None
                yield from copying.export(connection, schema, selection, row[0])
        finally:
            connection.close()

    def import_batch(self, records: Iterable[Record]) -> ImportSummary:
        """See `Store.import_batch`."""
        connection = self._connector.open()
        try:
            with translated(self._namespace):
                return copying.import_batch(connection, self._find_schema(connection), records)
        finally:
            connection.close()

    def list_namespaces(self) -> list[Namespace]:
        """See `Store.list_namespaces`."""
        with translated(), self._connector.pooled() as connection:
            return registry.list_namespaces(connection)

    def get_namespace(self, name: str) -> Namespace:
        """See `Store.get_namespace`."""
        with translated(), self._connector.pooled() as connection:
            return registry.get(connection, name)

    def create_namespace(self, name: str, schema: str | None = None) -> Namespace:
        """See `Store.create_namespace`."""
        with translated(), self._connector.pooled() as connection:
            return registry.create(connection, name, schema)

    def delete_namespace(self, name: str) -> None:
        """See `Store.delete_namespace`."""
        with translated(), self._connector.pooled() as connection:
            registry.delete(connection, name)

    def migrate(self) -> list[MigrationStep]:
        """See `Store.migrate`."""
        from evtool.stores.postgres import migration

        connection = self._connector.open()
        try:
            with translated():
                return list(migration.migrate(connection))
        finally:
            connection.close()

    def migration_status(self) -> list[NamespaceState]:
        """See `Store.migration_status`."""
        from evtool.stores.postgres import migration

        connection = self._connector.open()
        try:
            with translated():
                return migration.status(connection)
        finally:
            connection.close()

    def migration_script(self) -> str:
        """The SQL that `migrate` would run, complete and runnable by psql."""
        from evtool.stores.postgres import migration

        connection = self._connector.open()
        try:
            with translated():
                return migration.script(connection)
        finally:
            connection.close()

    def _messages(self, query: str, values: tuple[Any, ...]) -> list[Message]:
        # the server's time has no zone, and is UTC
        return [Message(*row[:7], row[7].replace(tzinfo=UTC)) for row in self._call(query, values)]

    def _call(
        self, query: str, values: tuple[Any, ...], stream_name: str = "", expected_version: int | None = None
    ) -> list[tuple[Any, ...]]:
        with self._connector.pooled() as connection:
            try:
                return connection.execute(self._query(connection, query), values).fetchall()
            except psycopg.Error as error:
                if error.sqlstate in _SCHEMA_IS_GONE:
                    self._forget_schema()
                    with translated():
                        # raises where somebody has deleted the namespace meanwhile
                        self._find_schema(connection)
                raise _translate(error, self._namespace, stream_name, expected_version) from error

    def _query(self, connection: Connection, query: str) -> sql.Composed:
        """A query with the schema in it, made once."""
        composed = self._queries.get(query)
        if composed is None:
            schema = sql.Identifier(self._find_schema(connection))
            composed = self._queries[query] = sql.SQL(query).format(ns=schema)  # type: ignore[arg-type]
        return composed

    def _find_schema(self, connection: Connection) -> str:
        with self._lock:
            if self._schema is None:
                self._schema = registry.get(connection, self._namespace).schema
            return self._schema

    def _forget_schema(self) -> None:
        with self._lock:
            self._schema = None
            self._queries.clear()


def _translate(error: psycopg.Error, namespace: str, stream_name: str, expected_version: int | None) -> Exception:
    if error.diag.constraint_name == "expected_version" and expected_version is not None:
        return WrongExpectedVersion(
            error.diag.message_primary or "",
            stream_name=stream_name,
            expected_version=expected_version,
            stream_version=int(error.diag.column_name or -1),
        )
    return translate(error, namespace=namespace)
