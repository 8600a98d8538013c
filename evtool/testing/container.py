"""A PostgreSQL container that comes up migrated, for tests with testcontainers."""

from __future__ import annotations

import atexit
import contextlib
import os
from collections.abc import Iterable
from typing import Any, Self

from docker.client import DockerClient
from docker.errors import DockerException, ImageNotFound
from testcontainers.community.postgres import PostgresContainer
from testcontainers.core.config import testcontainers_config

from evtool import settings
from evtool.connecting import open_store
from evtool.errors import NamespaceExists
from evtool.store import Store
from evtool.testing.servers import DEFAULT_IMAGE


class EventStoreContainer(PostgresContainer):
    """PostgreSQL in Docker with evtool's functions in it. Use it as a context manager, or call `start` and `stop`.

    with EventStoreContainer(namespaces=["orders"]) as events:
        with events.store("orders") as store:
            store.write_message(None, "order-1", "OrderPlaced", {"total": 10})
    """

    def __init__(self, image: str = DEFAULT_IMAGE, *, namespaces: Iterable[str] = (), **options: Any) -> None:
        """Starts nothing yet.

        Args:
            image: of PostgreSQL 15 or newer.
            namespaces: made besides `message_store`, which is always there.
            options: as `testcontainers.community.postgres.PostgresContainer` takes them.
        """
        options.setdefault("driver", None)
        super().__init__(image, **options)
        self._namespaces = tuple(namespaces)

    @property
    def dsn(self) -> str:
        """The database URL, for any client."""
        url: str = self.get_connection_url(driver=None)
        return url

    def store(self, namespace: str = settings.DEFAULT_NAMESPACE) -> Store:
        """A store in one of its namespaces. Close it, or use it in `with`."""
        return open_store(self.dsn, namespace)

    def start(self) -> Self:
        """Starts the container, waits until it answers, and migrates its database.

        Raises:
            EvtoolError: the database can't be migrated; the container is stopped.
        """
        # Ryuk removes the containers of a process that was killed. Where its image can't be had, as without a network,
        # what there is must do: the end of `with`, or of the interpreter.
        before = testcontainers_config.ryuk_disabled
        testcontainers_config.ryuk_disabled = before or not _has_image(testcontainers_config.ryuk_image)
        try:
            super().start()
        finally:
            testcontainers_config.ryuk_disabled = before
        atexit.register(self._stop_at_exit, os.getpid())
        try:
            with self.store() as store:
                store.migrate()
                for name in self._namespaces:
                    try:
                        store.create_namespace(name)
                    except NamespaceExists:
                        # an image of one's own may bring it
                        continue
        except BaseException:
            self.stop()
            raise
        return self

    def _stop_at_exit(self, creator: int) -> None:
        # a forked child runs this, too
        if os.getpid() == creator:
            with contextlib.suppress(DockerException):
                self.stop()


def _has_image(name: str) -> bool:
    """Whether the engine has an image, or can pull it."""
    client = DockerClient.from_env()
    try:
        try:
            client.images.get(name)
        except ImageNotFound:
            client.images.pull(name)
    except DockerException:
        return False
    finally:
        client.close()
    return True
