"""An export that goes on after the connection was lost: behind the last line that came, up to the same watermark."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from evtool import increments
from evtool.errors import StoreError, StoreUnreachable
from evtool.imports import ImportRecord
from evtool.model import ExportBlock, Namespace, Selection, Watermark
from evtool.store import Store

RETRIES = 5
"""How often a connection is tried again before an export gives up, unless it is told otherwise."""

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0

Teller = Callable[[str], None]
_Answer = TypeVar("_Answer")


def blocks(
    store: Store,
    namespace: Namespace,
    selection: Selection,
    watermark: Watermark,
    *,
    jobs: int = 1,
    retries: int = RETRIES,
    tell: Teller = lambda _: None,
) -> Iterator[ExportBlock]:
    """The blocks of an export, each line once, however often the connection is lost in between.

    Args:
        store: where from.
        namespace: the store's, as it was when the watermark was taken.
        selection: which messages.
        watermark: where it ends.
        jobs: see `Store.export`.
        retries: how often it is tried again without a single block having come.
        tell: hears of each loss.

    Raises:
        StoreUnreachable: the last try failed, too.
        StoreError: the namespace was deleted, or messages were imported below the watermark meanwhile, so that what
            came before the loss and what comes after it don't belong together.
    """
    tries = Tries(retries, tell)
    rest: Selection | None = selection
    lost = False
    while rest is not None:
        # looked into when the server answers again, before any line that it sends then is handed on
        unchecked = lost
        try:
            lines = store.export(rest, watermark, jobs=jobs)
            with contextlib.closing(lines):  # type: ignore[type-var]
                for block in lines:
                    if unchecked:
                        _check(store, namespace, watermark)
                        unchecked = False
                    yield block
                    tries.begin_anew()
                    # where nothing is left, its end comes next, and leaves the store's session as it was
                    rest = increments.begin_after(selection, block.last_position)
            if lost:
                # what was imported while the last part was read
                _check(store, namespace, watermark)
        except StoreUnreachable as error:
            tries.again(error)
            lost = True
        else:
            return


def answer(ask: Callable[[], _Answer], *, retries: int = RETRIES, tell: Teller = lambda _: None) -> _Answer:
    """What a store says that has been reached before, asked anew from the beginning when the connection is lost.

    Args:
        ask: changes nothing.
        retries: how often it is asked again.
        tell: hears of each loss.

    Raises:
        StoreUnreachable: the last try failed, too.
    """
    tries = Tries(retries, tell)
    while True:
        try:
            return ask()
        except StoreUnreachable as error:
            tries.again(error)


class Tries:
    """How often a lost connection has been tried again since something last came."""

    def __init__(self, retries: int | None, tell: Teller) -> None:
        """Nothing is lost yet.

        Args:
            retries: how often it is tried again; None is for ever.
            tell: hears of each loss.
        """
        self._retries = retries
        self._tell = tell
        self._tried = 0

    def begin_anew(self) -> None:
        """Something came."""
        self._tried = 0

    def again(self, error: StoreUnreachable) -> None:
        """Waits before the next try, or raises the error where there is to be none."""
        if self._tried == self._retries:
            raise StoreUnreachable(
                f"{error.message} (tried {self._retries + 1} times)", hint="try again when the server is up"
            ) from error
        pause = _pause(self._tried)
        self._tried += 1
        limit = "" if self._retries is None else f" of {self._retries}"
        self._tell(f"{error.message}; trying again in {pause:.1f} s ({self._tried}{limit})")
        time.sleep(pause)


def _pause(tried: int) -> float:
    """How long to wait before the next try: twice as long each time, and never all at the same moment."""
    # for ever is more than a float can be doubled
    return float(min(_FIRST_PAUSE * 2 ** min(tried, 10), _LONGEST_PAUSE) * random.uniform(0.5, 1.0))  # noqa: S311 - no secret


def _check(store: Store, namespace: Namespace, watermark: Watermark) -> None:
    """Makes sure that what came before a loss and what comes after it belong together."""
    try:
        now, found = _look(store, namespace, watermark)
    except StoreUnreachable:
        # a connection that the store has kept may be one of those that were lost
        now, found = _look(store, namespace, watermark)
    if now != namespace:
        raise StoreError(
            f'the namespace "{namespace.name}" was deleted and made anew while the connection was lost',
            hint="export it again",
        )
    if found is not None:
        raise StoreError(f"{increments.said(found)} while the connection was lost", hint="export it again")


def _look(store: Store, namespace: Namespace, watermark: Watermark) -> tuple[Namespace, ImportRecord | None]:
    found = increments.first_below(store, watermark.imports, watermark.position)
    return store.get_namespace(namespace.name), found
