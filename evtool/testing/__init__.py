"""What tests need: fixtures for pytest, a container that is ready, and a PostgreSQL server wherever one can be had.

With evtool installed, pytest knows the fixtures `evtool_store`, `evtool_namespace` and `evtool_dsn`; see
`evtool.testing.plugin`. Without pytest:

from evtool.testing import EventStoreContainer, start_server

with start_server() as server:
    print(server.describe(), server.dsn)
with EventStoreContainer() as events:
    events.store().write_message(None, "order-1", "OrderPlaced", {"total": 10})
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evtool.testing.servers import RUNGS, DatabaseServer, start_server

if TYPE_CHECKING:
    from evtool.testing.container import EventStoreContainer

__all__ = ["RUNGS", "DatabaseServer", "EventStoreContainer", "start_server"]


def __getattr__(name: str) -> Any:
    """Imports the container when it is first used: testcontainers takes half a second."""
    if name != "EventStoreContainer":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from evtool.testing.container import EventStoreContainer

    return EventStoreContainer
