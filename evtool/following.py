"""Following what is written: a stream, a category or all, each message once and in order, as it comes.

What is read is gap-safe: within a stream or a category commits come in the order of positions, and reading all waits
for writers that are busy. Only an import can place messages behind what was read: it is on record, and told.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass

from evtool import increments
from evtool.administration import Listener
from evtool.errors import InvalidArgument, StoreError, StoreTimeout, StoreUnreachable
from evtool.imports import ImportRecord
from evtool.model import MAX_POSITION, Message
from evtool.resuming import Teller, Tries
from evtool.store import Ability, Store

INTERVAL = 1.0
"""How many seconds pass between two looks."""

LISTENING_INTERVAL = 30.0
"""The same where notifications come: it only bounds what a lost one costs."""

_PAGE = 1000
_WINDOW = 100
_WIDER = 10
# How long nobody looks whether the messages are still wanted.
_LONGEST_WAIT = 1.0


@dataclass(frozen=True, slots=True)
class Followed:
    """What is followed; all messages, where neither a stream nor a category is given.

    Attributes:
        stream: a stream.
        category: a category.
        correlation: of the category, only what is correlated with this one.
        consumer_group_member: of the category, only this member's share, from 0.
        consumer_group_size: how many members there are.
    """

    stream: str | None = None
    category: str | None = None
    correlation: str | None = None
    consumer_group_member: int | None = None
    consumer_group_size: int | None = None

    def __post_init__(self) -> None:
        """Refuses what could only be a mistake.

        Raises:
            InvalidArgument: a stream and a category, or a part of a category without one.
        """
        if self.stream is not None and self.category is not None:
            raise InvalidArgument("a stream and a category can't be followed at once", hint="give one of them")
        part = (self.correlation, self.consumer_group_member, self.consumer_group_size)
        if self.category is None and part != (None, None, None):
            raise InvalidArgument("a correlation and a consumer group are a category's", hint="give a category")

    @property
    def first(self) -> int:
        """The first position that there can be: streams count from 0, all else goes by global positions, from 1."""
        return 0 if self.stream is not None else 1

    def position(self, message: Message) -> int:
        """The position of a message by which it is followed."""
        return message.position if self.stream is not None else message.global_position

    def read(self, store: Store, position: int) -> list[Message]:
        """A page from a position on; a page that isn't full is the last for now."""
        if position > MAX_POSITION:
            return []
        if self.stream is not None:
            return store.get_stream_messages(self.stream, position, _PAGE)
        if self.category is not None:
            group = (self.consumer_group_member, self.consumer_group_size)
            return store.get_category_messages(self.category, position, _PAGE, self.correlation, *group)
        return store.get_all_messages(position, _PAGE)

    def end(self, store: Store) -> int | None:
        """A position at or above that of the last message; None where there is none."""
        return store.last_position() if self.stream is None else store.stream_version(self.stream)


ALL = Followed()


def follow(
    store: Store,
    followed: Followed = ALL,
    *,
    position: int | None = None,
    last: int = 0,
    interval: float | None = None,
    listen: bool = False,
    until_idle: float | None = None,
    retries: int | None = None,
    tell: Teller = lambda _: None,
    waiting: Callable[[], None] = lambda: None,
    begun: Callable[[int], None] = lambda _: None,
) -> Generator[Message, None, None]:
    """The messages of a stream, of a category, or all, as they come; each once, in order, however long it takes.

    A lost connection is taken up again behind the last message. Close the iterator if it isn't read to its end.

    Args:
        store: where from.
        followed: what.
        position: the first position wanted; None begins with `last`.
        last: without a position, how many of the messages that are there already come first.
        interval: how many seconds pass between two looks; None is 1, or 30 with `listen`.
        listen: be woken up by the writers' notifications, which have to be switched on for the namespace.
        until_idle: end when nothing has come for so many seconds; 0 ends with what is there. None goes on for ever.
        retries: how often a lost connection is tried again; None is for ever. One that can't be made at first is not.
        tell: hears of lost connections, of writers that are waited for, and of imports behind what was read.
        waiting: called when there is nothing to hand on, at least once a second; what it raises ends it.
        begun: told once, when what is there has been looked at, the position of what comes behind it.

    Raises:
        NotAble: `listen`, and the store has no notifications.
        ServerUnsuitable: `listen`, and they don't come here; or all are followed on a standby.
        InvalidArgument: `listen`, and they are not switched on.
        StoreError: the namespace was deleted and made anew.
        StoreTimeout: writers stay busy, and there is to be an end.
        EvtoolError: what the store raises.
    """
    # what can't be reached at first is a wrong address more often than a lost connection: said at once
    namespace = store.get_namespace(store.namespace)
    place = _Place(store, followed, position, last, tell)
    tries = Tries(retries, tell)
    told, is_begun = "", False
    came = time.monotonic()
    with contextlib.closing(_Pause(store, waiting, interval, listen=listen)) as pause:
        while True:
            try:
                # before the read: what is written between the two wakes up
                pause.begin()
                found, full = place.look()
                if store.get_namespace(store.namespace) != namespace:
                    raise StoreError(
                        f'the namespace "{namespace.name}" was deleted and made anew meanwhile',
                        hint="its positions begin anew: follow it again",
                    )
            except StoreUnreachable as error:
                pause.close()
                tries.again(error)
                continue
            except StoreTimeout as error:
                if until_idle is not None:
                    raise
                if told != error.message:
                    told = error.message
                    tell(f"{told}; going on waiting")
                found, full = [], False
            tries.begin_anew()
            if not is_begun:
                is_begun = True
                begun(place.next)
            yield from found
            if found:
                came, told = time.monotonic(), ""
            if full:
                continue
            left = None if until_idle is None else came + until_idle - time.monotonic()
            if left is not None and left <= 0:
                return
            try:
                pause.wait(left)
            except StoreUnreachable as error:
                pause.close()
                tries.again(error)


class _Place:
    """Up to where was read, and what may have been placed behind it meanwhile."""

    def __init__(self, store: Store, followed: Followed, position: int | None, last: int, tell: Teller) -> None:
        self._store = store
        self._followed = followed
        self._last = last
        self._tell = tell
        self._at = position
        # imports below the beginning are none of our business
        self._wanted = 0 if position is None or followed.stream is not None else position
        self._imports: int | None = None
        # the greatest global position that was read, and the same before the last page
        self._greatest = self._passed = 0
        self._start = 0
        self._ids: frozenset[str] = frozenset()

    @property
    def next(self) -> int:
        """The position from which on is read the next time."""
        return self._followed.first if self._at is None else self._at

    def look(self) -> tuple[list[Message], bool]:
        """What has come since, and whether there is more at once. Nothing is lost where it raises."""
        missed = self._look_behind()
        if self._at is None:
            found = self._find_last()
            start = self._followed.first
            shown, full = found[max(len(found) - self._last, 0) :] if self._last else [], False
        else:
            start = self._at
            found = shown = self._followed.read(self._store, start)
            full = len(found) == _PAGE
        self._start, self._passed = start, self._greatest
        self._ids = frozenset(message.id for message in found)
        self._at = self._followed.position(found[-1]) + 1 if found else start
        self._greatest = max([self._greatest, *(message.global_position for message in found)])
        return [*missed, *shown], full

    def _find_last(self) -> list[Message]:
        """The last messages that there are, one at least if there is any: in windows from the end, each wider."""
        first, end = self._followed.first, self._followed.end(self._store) or 0
        wanted = window = max(self._last, 1)
        while True:
            start = max(first, end - max(window, _WINDOW) + 1)
            found: deque[Message] = deque(maxlen=wanted)
            for page in self._pages(start):
                found.extend(page)
            if len(found) == wanted or start == first:
                return list(found)
            window = max(window, _WINDOW) * _WIDER

    def _pages(self, position: int) -> Iterator[list[Message]]:
        while True:
            page = self._followed.read(self._store, position)
            yield page
            if len(page) < _PAGE:
                return
            position = self._followed.position(page[-1]) + 1

    def _look_behind(self) -> list[Message]:
        """Tells of imports behind what was read; returns those of the last page that came while it was read."""
        if self._imports is None:
            self._imports = max((record.number for record in self._store.import_records()), default=0)
            return []
        records = self._store.import_records(self._imports)
        if not records:
            return []
        missed = [] if self._at is None or any(record.replaced for record in records) else self._missed(self._at)
        for record in records:
            if self._is_behind(record):
                self._tell(f"{increments.said(record)}, behind what was followed already: see evtool export")
        self._imports = records[-1].number
        return missed

    def _is_behind(self, record: ImportRecord) -> bool:
        if record.replaced:
            return True
        if record.first_position is None or record.last_position is None:
            return False
        return record.first_position <= self._passed and record.last_position >= self._wanted

    def _missed(self, end: int) -> list[Message]:
        """What is now where the last page was read, and was not then."""
        missed: list[Message] = []
        for page in self._pages(self._start):
            before = [message for message in page if self._followed.position(message) < end]
            missed += (message for message in before if message.id not in self._ids)
            if len(before) < len(page):
                break
        return missed


class _Pause:
    """The time between two looks: slept through, or cut short by a notification."""

    def __init__(self, store: Store, waiting: Callable[[], None], interval: float | None, *, listen: bool) -> None:
        self._store = store
        self._waiting = waiting
        self._interval = interval if interval is not None else LISTENING_INTERVAL if listen else INTERVAL
        self._listens = listen
        self._listener: Listener | None = None
        if listen:
            store.require(Ability.NOTIFICATIONS)
            if not store.administration().notifies(store.namespace):
                raise InvalidArgument(
                    f'the writers of the namespace "{store.namespace}" don\'t notify',
                    hint="switch it on: evtool ns notify NAME --on; or look again and again: no --listen",
                )

    def begin(self) -> None:
        """Listens from here on, if it is to and doesn't yet."""
        if self._listens and self._listener is None:
            self._listener = self._store.administration().listen(self._store.namespace)

    def wait(self, seconds: float | None) -> None:
        """Waits for the next look, and no longer than so many seconds."""
        end = time.monotonic() + (self._interval if seconds is None else min(self._interval, seconds))
        while True:
            self._waiting()
            rest = min(end - time.monotonic(), _LONGEST_WAIT)
            if rest <= 0:
                return
            if self._listener is None:
                time.sleep(rest)
            elif self._listener.wait(rest):
                return

    def close(self) -> None:
        """Listens no more."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()
