"""What the tests of the LMDB store look at, and how they talk to other processes."""

from __future__ import annotations

import subprocess
import uuid

from evtool import contract, names
from evtool.stores.lmdb import LMDBStore, layout, messages
from evtool.stores.lmdb.environment import Environment

SMALL_MAP = 1 << 16
BIG = "x" * 3000
"""Data that fills a small map soon."""


def environment_of(store: LMDBStore) -> Environment:
    """The environment of a store's namespace."""
    return store._open()._env


def map_size(store: LMDBStore) -> int:
    """The size of the map of a store's namespace, which must be open."""
    handle = environment_of(store)._handle
    assert handle is not None
    return handle.map_size


def check(store: LMDBStore) -> int:
    """Compares all that is stored under the keys of a namespace with its messages; returns how many there are."""
    versions: dict[str, int] = {}
    categories: dict[str, tuple[set[str], int]] = {}
    arrivals = set()
    with store._open().reading() as transaction:
        for key, value in layout.entries(transaction, layout.MESSAGES):
            id_, stream, _, position, _, _, metadata, _ = messages.unpack(key, value)
            category = names.category(stream)
            found = layout.find_stream(transaction, stream)
            number = layout.find_category(transaction, category)
            assert found is not None
            assert number is not None
            assert transaction.get(layout.IDS + uuid.UUID(id_).bytes) == key
            assert transaction.get(layout.POSITIONS + found[0] + layout.number(position)) == key
            entry = layout.hash_of(stream) + layout.correlation_entry(contract.correlation_of(metadata))
            assert transaction.get(layout.BY_CATEGORY + number + key) == entry
            versions[stream] = max(versions.get(stream, -1), position)
            streams, count = categories.get(category, (set(), 0))
            categories[category] = ({*streams, stream}, count + 1)
            arrivals.add(messages.arrival_of(value))
        count = len(arrivals)
        for kind in (layout.MESSAGES, layout.IDS, layout.POSITIONS, layout.BY_CATEGORY):
            assert sum(1 for _ in layout.entries(transaction, kind)) == count
        assert layout.arrivals(transaction) == max(arrivals, default=bytes(layout.NUMBER))
    assert {one.stream_name: one.version for one in store.list_streams(limit=-1)} == versions
    listed = {one.category: (one.streams, one.messages) for one in store.list_categories()}
    assert listed == {name: (len(streams), count) for name, (streams, count) in categories.items()}
    return count


def said(process: subprocess.Popen[str]) -> str:
    """The next line that a process says."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def tell(process: subprocess.Popen[str]) -> None:
    """Lets a process that waits go on."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def ended(process: subprocess.Popen[str]) -> list[str]:
    """What a process said until it ended, without an error."""
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return out.splitlines()
