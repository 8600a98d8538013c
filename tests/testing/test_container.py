"""EventStoreContainer: a container that comes up ready. Where no Docker engine answers, what it says."""

from __future__ import annotations

import gc
import warnings

import pytest

from evtool import settings
from evtool.testing import EventStoreContainer
from evtool.testing.servers import probe_docker


def test_a_container_comes_up_migrated_with_its_namespaces() -> None:
    """Behind `with`, the default namespace and those that were asked for take writes."""
    reason = probe_docker(settings.docker_host() or "unix:///var/run/docker.sock")
    container = EventStoreContainer(namespaces=["orders"]) if reason is None else None
    if container is None:
        # the engine is what is missing, and whoever has none is told so by the library itself
        with warnings.catch_warnings():
            # of a socket with nobody behind it, which the library leaves to the garbage collector
            warnings.simplefilter("ignore", ResourceWarning)
            with pytest.raises(Exception, match=r"(?i)docker|connection"):
                EventStoreContainer(namespaces=["orders"]).start()
            gc.collect()
        return
    with container as events:
        with events.store() as store:
            assert {one.name for one in store.list_namespaces()} == {"message_store", "orders"}
            assert store.write_message(None, "order-1", "OrderPlaced", {"total": 10}) == 0
        with events.store("orders") as store:
            assert store.stream_version("order-1") is None
        assert events.dsn.startswith("postgresql://")
