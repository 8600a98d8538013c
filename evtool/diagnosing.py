"""Looking a store over, and mending what can be mended without losing anything."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from evtool.findings import Diagnosis, Mended
from evtool.store import Ability, Store

BUSY = timedelta(seconds=30)
"""How old a transaction is before it is told: as long as a gap-safe read waits for one."""


def examine(store: Store, namespace: str | None = None, busy: timedelta = BUSY) -> Diagnosis:
    """What is wrong with a store. Changes nothing.

    Args:
        store: on the database.
        namespace: only this one, with what it shares with the others; None is all of them.
        busy: transactions that are younger are not told.

    Raises:
        NotAble: the store has no doctor.
        NamespaceNotFound: there is no such namespace.
        EvtoolError: what the store raises.
    """
    store.require(Ability.DOCTOR)
    return store.administration().diagnose(namespace, busy)


def mend(store: Store, namespace: str | None = None) -> Iterator[Mended]:
    """Mends what was found and is fixable, one after the other; a failure doesn't stop the others.

    Args:
        store: on the database.
        namespace: only this one; None is all of them.

    Raises:
        NotAble: the store has no doctor.
        NamespaceNotFound: there is no such namespace.
        EvtoolError: what the store raises.
    """
    store.require(Ability.DOCTOR)
    return store.administration().mend(namespace)
