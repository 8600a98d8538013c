"""What a DBA asks of a PostgreSQL database: see `Administration` for what each method does."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import timedelta

from evtool.administration import Administration, Listener, Member, Right
from evtool.findings import Diagnosis, Mended
from evtool.model import MigrationPlan, MigrationStep
from evtool.stores.postgres import notifications, registry, roles
from evtool.stores.postgres.connection import Connection, Connector
from evtool.stores.postgres.translation import translated


class PostgresAdministration(Administration):
    """On the connections of a store."""

    def __init__(self, connector: Connector) -> None:
        self._connector = connector

    def migrate(self, plan: MigrationPlan) -> Iterator[MigrationStep]:
        """See `Administration.migrate`."""
        from evtool.stores.postgres import fleet

        with translated():
            yield from fleet.migrate(self._connector, plan)

    def grant(self, name: str, role: str, right: Right) -> bool:
        """See `Administration.grant`."""
        with self._open() as connection:
            return roles.grant(connection, registry.get(connection, name).schema, role, right)

    def revoke(self, name: str, role: str) -> bool:
        """See `Administration.revoke`."""
        with self._open() as connection:
            return roles.revoke(connection, registry.get(connection, name).schema, role)

    def grant_script(self, name: str, role: str, right: Right | None) -> str:
        """See `Administration.grant_script`."""
        with self._open() as connection:
            return roles.script(connection, registry.get(connection, name).schema, role, right)

    def members(self, name: str) -> list[Member]:
        """See `Administration.members`."""
        with self._open() as connection:
            return roles.members(connection, registry.get(connection, name).schema)

    def notify(self, name: str, *, on: bool) -> bool:
        """See `Administration.notify`."""
        with self._open() as connection:
            return notifications.switch(connection, registry.get(connection, name).schema, on=on)

    def notifies(self, name: str) -> bool:
        """See `Administration.notifies`."""
        with self._open() as connection:
            return notifications.are_on(connection, registry.get(connection, name).schema)

    def notification_script(self, name: str, *, on: bool) -> str:
        """See `Administration.notification_script`."""
        with self._open() as connection:
            return notifications.script(registry.get(connection, name).schema, on=on)

    def listen(self, name: str) -> Listener:
        """See `Administration.listen`."""
        connection = self._connector.open()
        try:
            with translated():
                return notifications.PostgresListener(connection, registry.get(connection, name).schema)
        except BaseException:
            connection.close()
            raise

    def adopt(self, schema: str, name: str, wait: timedelta) -> Iterator[str]:
        """See `Administration.adopt`."""
        from evtool.stores.postgres import adoption

        with self._open() as connection:
            yield from adoption.adopt(connection, schema, name, wait)

    def adoption_script(self, schema: str, name: str) -> str:
        """See `Administration.adoption_script`."""
        from evtool.stores.postgres import adoption

        with self._open() as connection:
            return adoption.script(connection, schema, name)

    def diagnose(self, name: str | None, busy: timedelta) -> Diagnosis:
        """See `Administration.diagnose`."""
        from evtool.stores.postgres import doctor

        with self._open() as connection:
            return doctor.diagnose(connection, name, busy)

    def mend(self, name: str | None) -> Iterator[Mended]:
        """See `Administration.mend`."""
        from evtool.stores.postgres import doctor

        with self._open() as connection:
            yield from doctor.mend(connection, name)

    @contextlib.contextmanager
    def _open(self) -> Iterator[Connection]:
        connection = self._connector.open()
        try:
            with translated():
                yield connection
        finally:
            connection.close()
