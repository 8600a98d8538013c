"""A store in PostgreSQL: each method is one call of the stored procedure of the same name."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import psycopg
from psycopg import sql

from evtool import contract, json_values, settings
from evtool.errors import MigrationFailed, WrongExpectedVersion
from evtool.imports import ImportPlan, ImportRecord, ImportSummary
from evtool.model import (
    Breakdown,
    CategoryInfo,
    ExportBlock,
    Message,
    MigrationPlan,
    MigrationStep,
    Namespace,
    NamespaceState,
    NewMessage,
    Selection,
    StreamInfo,
    Unit,
    Watermark,
    json_text,
)
from evtool.ndjson import Record
from evtool.store import Ability, Store
from evtool.stores.postgres import cloning, exporting, importing, parallel, registry, rows, selecting, statistics
from evtool.stores.postgres.administration import PostgresAdministration
from evtool.stores.postgres.connection import Connection, Connector
from evtool.stores.postgres.locks import Lock
from evtool.stores.postgres.translation import translate, translated
from evtool.tallying import unit_for

_WRITE = "SELECT {ns}.write_message(%s, %s, %s, %s::jsonb, %s::jsonb, %s)"
_WRITE_BATCH = (
    "SELECT * FROM {ns}.write_messages(%s::varchar[], %s, %s::varchar[], %s::text[]::jsonb[], %s::text[]::jsonb[], %s)"
)
_STREAM = "SELECT * FROM {ns}.get_stream_messages(%s, %s, %s, %s)"
_CATEGORY = "SELECT * FROM {ns}.get_category_messages(%s, %s, %s, %s, %s, %s, %s)"
_ALL = "SELECT * FROM {ns}.get_all_messages(%s, %s)"
_LAST = "SELECT * FROM {ns}.get_last_stream_message(%s, %s)"
_VERSION = "SELECT {ns}.stream_version(%s)"
_STREAMS = "SELECT * FROM {ns}.list_streams(%s, %s, %s)"
_CATEGORIES = "SELECT * FROM {ns}.list_categories()"
_LAST_POSITION = "SELECT max(global_position) FROM {ns}.messages"
_WATERMARK = "SELECT {ns}.watermark()"
_STRUCTURE = "SELECT version_num FROM {ns}.evtool_version"
_LAST_IMPORT = "SELECT coalesce(max(number), 0) FROM {ns}.imports"
_IMPORTS = """
    SELECT number, imported_at, source, fingerprint, options, last_line, imported, skipped, first_position,
      last_position, replaced, complete
    FROM {ns}.imports WHERE number > %s AND (%s::text IS NULL OR fingerprint = %s) ORDER BY number
"""
# The moment at which a server was started is its own, which its system identifier, shared with its clones, is not.
_IDENTITY = """
    SELECT extract(epoch FROM pg_postmaster_start_time())::text, d.oid, n.oid FROM pg_database d, pg_namespace n
    WHERE d.datname = current_database() AND n.nspname = %s
"""
_GAP_SAFE = {_ALL, _WATERMARK}

_PLAN = ImportPlan()

# invalid schema name, undefined function, undefined table, and a table that is dropped at this moment
_SCHEMA_IS_GONE = frozenset({"3F000", "42883", "42P01", "XX000"})


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
        self._owns_connector = connector is None
        self._lock = Lock()
        self._queries: dict[str, sql.Composed] = {}
        self._schema: str | None = None

    @property
    def namespace(self) -> str:
        """The namespace that the messages are in."""
        return self._namespace

    @property
    def abilities(self) -> frozenset[Ability]:
        """All of them."""
        return frozenset(Ability)

    @property
    def kind(self) -> str:
        """PostgreSQL."""
        return "postgresql"

    def structure_version(self) -> str:
        """See `Store.structure_version`."""
        return str(self._call(_STRUCTURE, ())[0][0])

    def identity(self) -> str:
        """See `Store.identity`: a server, a database of it, a schema of that."""
        with translated(self._namespace), self._connector.pooled() as connection:
            row = connection.execute(_IDENTITY, (self._find_schema_anew(connection),)).fetchone()
        return f"postgres {row}"

    def in_namespace(self, name: str) -> PostgresStore:
        """A store of another namespace on the same connections."""
        return PostgresStore(self._dsn, name, connector=self._connector)

    def close(self) -> None:
        """Gives back all connections; those of another store, which are shared, stay."""
        if self._owns_connector:
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
        contract.check_names(identifier, stream_name, type)
        contract.check_bigints(expected_version)
        values = (identifier, stream_name, type, _json(data), _json(metadata), expected_version)
        return int(self._call(_WRITE, values, stream_name, expected_version)[0][0])

    def write_messages(
        self, stream_name: str, messages: Sequence[NewMessage], expected_version: int | None = None
    ) -> list[int]:
        """See `Store.write_messages`."""
        contract.check_names(stream_name, *(text for message in messages for text in (message.id, message.type)))
        contract.check_bigints(expected_version)
        values = (
            [str(uuid.uuid4()) if message.id is None else message.id for message in messages],
            stream_name,
            [message.type for message in messages],
            [_json(message.data) for message in messages],
            [_json(message.metadata) for message in messages],
            expected_version,
        )
        return [row[0] for row in self._call(_WRITE_BATCH, values, stream_name, expected_version)]

    def get_stream_messages(
        self, stream_name: str, position: int | None = 0, batch_size: int | None = 1000, condition: str | None = None
    ) -> list[Message]:
        """See `Store.get_stream_messages`."""
        contract.check_names(stream_name, condition)
        contract.check_bigints(position, batch_size)
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
        contract.check_names(category, correlation, condition)
        contract.check_bigints(position, batch_size, *group)
        return self._messages(_CATEGORY, (category, position, batch_size, correlation, *group, condition))

    def get_all_messages(self, position: int | None = 1, batch_size: int | None = 1000) -> list[Message]:
        """See `Store.get_all_messages`."""
        contract.check_bigints(position, batch_size)
        return self._messages(_ALL, (position, batch_size))

    def get_last_stream_message(self, stream_name: str, type: str | None = None) -> Message | None:
        """See `Store.get_last_stream_message`."""
        contract.check_names(stream_name, type)
        messages = self._messages(_LAST, (stream_name, type))
        return messages[0] if messages else None

    def stream_version(self, stream_name: str) -> int | None:
        """See `Store.stream_version`."""
        contract.check_names(stream_name)
        return self._call(_VERSION, (stream_name,))[0][0]  # type: ignore[no-any-return]

    def list_streams(self, prefix: str = "", after: str | None = None, limit: int = 1000) -> list[StreamInfo]:
        """See `Store.list_streams`."""
        contract.check_names(prefix, after)
        contract.check_bigints(limit)
        return [StreamInfo(*row) for row in self._call(_STREAMS, (prefix, after, limit))]

    def list_categories(self) -> list[CategoryInfo]:
        """See `Store.list_categories`."""
        return [CategoryInfo(*row) for row in self._call(_CATEGORIES, ())]

    def breakdown(self, unit: Unit | None = None, longest: int = 10) -> Breakdown:
        """See `Store.breakdown`."""
        whole = self.statistics()
        connection = self._connector.open()
        try:
            with translated(self._namespace):
                schema = self._find_schema_anew(connection)
                return statistics.read(connection, schema, unit or unit_for(whole.first_time, whole.last_time), longest)
        finally:
            connection.close()

    def last_position(self) -> int | None:
        """See `Store.last_position`."""
        return self._call(_LAST_POSITION, ())[0][0]  # type: ignore[no-any-return]

    def watermark(self) -> Watermark:
        """See `Store.watermark`."""
        position: int = self._call(_WATERMARK, ())[0][0]
        # afterwards: an import that ends in between is in an export up to that position, and on record before it
        return Watermark(position, self._call(_LAST_IMPORT, ())[0][0])

    def export(
        self, selection: Selection, watermark: Watermark | None = None, *, jobs: int = 1
    ) -> Iterator[ExportBlock]:
        """See `Store.export`."""
        contract.check_names(*selection.texts)
        try:
            with self._connector.lent() as connection, translated(self._namespace):
                schema = self._find_schema_anew(connection)
                registry.check_structure(connection, schema)
                mark = self._watermark(connection, schema) if watermark is None else watermark
                with exporting.snapshot(connection):
                    exporting.hold(connection, schema, mark.imports)
                    chosen = selecting.choose(connection, schema, selection, mark.position)
                    yield from parallel.export(connection, self._connector.open, chosen, jobs)
        except MigrationFailed:
            with translated(), self._connector.pooled() as connection:
                # raises where it isn't broken: somebody has deleted it meanwhile
                self._find_schema_anew(connection)
            raise

    def import_batch(self, records: Iterable[Record], plan: ImportPlan = _PLAN) -> ImportSummary:
        """See `Store.import_batch`."""
        connection = self._connector.open()
        try:
            with translated(self._namespace):
                schema = self._find_schema_anew(connection)
                registry.check_structure(connection, schema)
                return importing.import_batch(connection, schema, records, plan)
        finally:
            connection.close()

    def import_records(self, after: int = 0, fingerprint: str | None = None) -> list[ImportRecord]:
        """See `Store.import_records`."""
        contract.check_bigint(after)
        contract.check_names(fingerprint)
        return [rows.record(*row) for row in self._call(_IMPORTS, (after, fingerprint, fingerprint))]

    def list_namespaces(self) -> list[Namespace]:
        """See `Store.list_namespaces`."""
        with translated(), self._connector.pooled() as connection:
            return registry.list_namespaces(connection)

    def get_namespace(self, name: str) -> Namespace:
        """See `Store.get_namespace`."""
        with translated(), self._connector.pooled() as connection:
            return registry.get(connection, contract.namespace_to_find(name))

    def create_namespace(self, name: str, schema: str | None = None, *, like: str | None = None) -> Namespace:
        """See `Store.create_namespace`."""
        with translated(), self._connector.pooled() as connection:
            if like is not None:
                return cloning.clone(connection, contract.namespace_to_find(like), name, schema)
            return registry.create(connection, name, schema)

    def delete_namespace(self, name: str) -> None:
        """See `Store.delete_namespace`."""
        with translated(), self._connector.pooled() as connection:
            registry.delete(connection, contract.namespace_to_find(name))

    def administration(self) -> PostgresAdministration:
        """See `Store.administration`."""
        return PostgresAdministration(self._connector)

    def migrate(self) -> list[MigrationStep]:
        """See `Store.migrate`."""
        steps = list(self.administration().migrate(MigrationPlan()))
        for step in steps:
            if step.error is not None:
                raise step.error
        return steps

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
        from evtool.stores.postgres import migration_scripts

        connection = self._connector.open()
        try:
            with translated():
                return migration_scripts.script(connection)
        finally:
            connection.close()

    def _watermark(self, connection: Connection, schema: str) -> Watermark:
        found: list[int] = []
        for query in (_WATERMARK, _LAST_IMPORT):
            with connection.transaction():
                row = connection.execute(sql.SQL(query).format(ns=sql.Identifier(schema))).fetchone()
            assert row is not None
            found += row
        return Watermark(*found)

    def _messages(self, query: str, values: tuple[Any, ...]) -> list[Message]:
        return [rows.message(*row) for row in self._call(query, values)]

    def _call(
        self, query: str, values: tuple[Any, ...], stream_name: str = "", expected_version: int | None = None
    ) -> list[tuple[Any, ...]]:
        with self._connector.pooled() as connection:
            for tried in (False, True):
                try:
                    # a transaction of our own where the default isolation of autocommit would not do
                    with connection.transaction() if query in _GAP_SAFE else contextlib.nullcontext():
                        return connection.execute(self._query(connection, query), values).fetchall()
                except psycopg.Error as error:
                    if error.sqlstate in _SCHEMA_IS_GONE:
                        with translated():
                            # raises where somebody has deleted the namespace meanwhile
                            self._find_schema_anew(connection)
                        if not tried:
                            # it may have been made anew in another schema
                            continue
                    raise _translate(error, self._namespace, stream_name, expected_version) from error
            raise AssertionError

    def _query(self, connection: Connection, query: str) -> sql.Composed:
        """A query with the schema in it, made once."""
        composed = self._queries.get(query)
        if composed is None:
            # a % in the name would be taken for a placeholder
            schema = sql.SQL(sql.Identifier(self._find_schema(connection)).as_string().replace("%", "%%"))
            composed = self._queries[query] = sql.SQL(query).format(ns=schema)
        return composed

    def _find_schema(self, connection: Connection) -> str:
        with self._lock:
            if self._schema is None:
                self._schema = registry.get(connection, contract.namespace_to_find(self._namespace)).schema
            return self._schema

    def _find_schema_anew(self, connection: Connection) -> str:
        """Where the namespace is now: somebody may have deleted it, and made it anew elsewhere."""
        with self._lock:
            self._schema = None
            self._queries.clear()
        return self._find_schema(connection)


def _json(value: Any) -> str | None:
    """JSON for the server to check, but for what it would not, or not in the contract's words."""
    text = json_text(value)
    if text is not None:
        contract.check_text(text)
        json_values.check_odd(text)
    return text


def _translate(error: psycopg.Error, namespace: str, stream_name: str, expected_version: int | None) -> Exception:
    if error.diag.constraint_name == "expected_version" and expected_version is not None:
        return WrongExpectedVersion(
            error.diag.message_primary or "",
            stream_name=stream_name,
            expected_version=expected_version,
            stream_version=int(error.diag.column_name or -1),
        )
    return translate(error, namespace=namespace)
