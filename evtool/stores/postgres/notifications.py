"""Notifications: a namespace's writers wake up whoever listens, where that was switched on."""

from __future__ import annotations

from psycopg import sql

from evtool import sqltext
from evtool.administration import Listener
from evtool.errors import ServerUnsuitable
from evtool.stores.postgres import scripts
from evtool.stores.postgres.connection import BehindPooler, Connection
from evtool.stores.postgres.translation import translated

_STATE = "SELECT tgenabled::text FROM pg_trigger WHERE tgrelid = to_regclass(%s) AND tgname = 'messages_notify'"
_ENABLED = {"O", "A"}


def are_on(connection: Connection, schema: str) -> bool:
    """Whether writers notify."""
    return _state(connection, schema) in _ENABLED


def switch(connection: Connection, schema: str, *, on: bool) -> bool:
    """See `Administration.notify`."""
    with connection.transaction():
        connection.execute(scripts.lock(schema))
        state = _state(connection, schema)
        # one that somebody disabled is neither
        if state in _ENABLED if on else state is None:
            return False
        connection.execute(scripts.SHORT_WAIT)
        connection.execute(_statement(schema, on=on))
    return True


def _state(connection: Connection, schema: str) -> str | None:
    """Whether the trigger is enabled, as PostgreSQL has it; None where there is none."""
    table = sql.Identifier(schema, "messages").as_string(connection)
    row = connection.execute(_STATE, (table,)).fetchone()
    return None if row is None else str(row[0])


def script(schema: str, *, on: bool) -> str:
    """See `Administration.notification_script`."""
    return _statement(schema, on=on).as_string()


def _statement(schema: str, *, on: bool) -> sql.Composed:
    return scripts.fill(sqltext.read(f"namespace/notifications/{'on' if on else 'off'}.sql"), {"ns": schema})


class PostgresListener(Listener):
    """A session of its own that listens to the channel of a schema."""

    def __init__(self, connection: Connection, schema: str) -> None:
        """Listens from here on.

        Args:
            connection: in autocommit; closed with the listener.
            schema: the namespace's.

        Raises:
            ServerUnsuitable: the connection is a pooler's.
        """
        if isinstance(connection, BehindPooler):
            raise ServerUnsuitable(
                "notifications don't come through a pooler", hint="connect to the server itself, or poll: no --listen"
            )
        self._connection = connection
        # a channel is a name: of at most 63 bytes, as the schema's
        connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(schema)))

    def wait(self, seconds: float) -> bool:
        """See `Listener.wait`."""
        with translated():
            # one is enough; those that came with it say the same
            return any(True for _ in self._connection.notifies(timeout=seconds, stop_after=1))

    def close(self) -> None:
        """See `Listener.close`."""
        self._connection.close()
