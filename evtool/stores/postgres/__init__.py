"""The PostgreSQL store: schemas, stored procedures and COPY."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evtool.stores.postgres.store import PostgresStore

__all__ = ["PostgresStore"]


def __getattr__(name: str) -> Any:
    """Imports the store when it is first used: tables are imported and exported without it, and it takes a while."""
    if name != "PostgresStore":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from evtool.stores.postgres.store import PostgresStore

    return PostgresStore
