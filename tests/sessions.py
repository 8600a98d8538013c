"""Sessions of the tests' stores that have seen many namespaces are exchanged for new ones.

A session of PostgreSQL keeps the plans of every function that it has called, those of dropped namespaces as well, and each
table or function that anybody makes or drops has it look at all of them: after some hundred namespaces that was a fifth of
what the machine did.
"""

from __future__ import annotations

from evtool.store import Store
from evtool.stores.postgres import PostgresStore

NAMESPACES_OF_A_SESSION = 25


def renew_sessions(store: Store) -> None:
    """Closes the sessions of a store of PostgreSQL, and of those that share them; the next call opens others."""
    if isinstance(store, PostgresStore):
        store._connector.close()
