"""An export that goes on after the connection was lost: behind the last line that came, up to the same watermark."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator

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
    left = retries
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
                    left = retries
                    rest = increments.begin_after(selection, block.last_position)
                    if rest is None:
                        break
            if lost:
                # what was imported while the last part was read
                _check(store, namespace, watermark)
        except StoreUnreachable as error:
            if left == 0:
                raise StoreUnreachable(
                    f"{error.message} (tried {retries + 1} times)", hint="try again when the server is up"
                ) from error
            pause = _pause(retries - left)
            left -= 1
            lost = True
            tell(f"{error.message}; trying again in {pause:.1f} s ({retries - left} of {retries})")
            time.sleep(pause)
        else:
            return


def _pause(tried: int) -> float:
    """How long to wait before the next try: twice as long each time, and never all at the same moment."""
    return float(min(_FIRST_PAUSE * 2**tried, _LONGEST_PAUSE) * random.uniform(0.5, 1.0))  # noqa: S311 - no secret


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
