"""Names of any length as keys of LMDB, which end at 511 bytes, in the order of their bytes.

A table of names is a tree. A name is cut into segments of SEGMENT bytes; its last segment, which is shorter and may be
empty, holds the name's value, and each full one before it holds the number of the node in which the name goes on:

    node (8 bytes) + segment of SEGMENT bytes      → the next node (8 bytes)
    node (8 bytes) + last segment, maybe empty     → the value

The root is node 0, and nearly every name is one segment in it. Keys of a node are in the order of their bytes, and what
lies below a full segment begins with it: a walk through the tree meets the names in the order of their bytes too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from evtool.stores.lmdb.environment import Transaction

SEGMENT = 500
NODE = 8
"""Bytes of a node's number."""

_ROOT = bytes(NODE)


def find(transaction: Transaction, table: bytes, name: bytes) -> bytes | None:
    """The value of a name, or None."""
    node = _ROOT
    while len(name) >= SEGMENT:
        found = transaction.get(table + node + name[:SEGMENT])
        if found is None:
            return None
        node, name = found, name[SEGMENT:]
    return transaction.get(table + node + name)


def key_of(transaction: Transaction, table: bytes, name: bytes, new_node: Callable[[], bytes]) -> bytes:
    """The key under which the value of a name is put; makes the nodes that lead to it."""
    node = _ROOT
    while len(name) >= SEGMENT:
        key = table + node + name[:SEGMENT]
        found = transaction.get(key)
        if found is None:
            found = new_node()
            transaction.put(key, found)
        node, name = found, name[SEGMENT:]
    return table + node + name


def walk(transaction: Transaction, table: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
    """All names from `start` on, in the order of their bytes, with their values."""
    cursor = transaction.cursor()
    above: list[tuple[bytes, bytes, bytes]] = []
    node, prefix, rest = table + _ROOT, b"", start
    found = cursor.set_range(node + rest[:SEGMENT])
    while True:
        key = cursor.key() if found else b""
        if not key.startswith(node):
            if not above:
                return
            # this node is through: on behind the segment that led to it
            node, prefix, key = above.pop()
            rest = b""
            found = cursor.set_range(key + b"\0")
            continue
        segment = key[len(node) :]
        if len(segment) < SEGMENT:
            yield prefix + segment, cursor.value()
            found = cursor.next()
        else:
            above.append((node, prefix, key))
            rest = rest[SEGMENT:] if rest[:SEGMENT] == segment else b""
            node, prefix = table + cursor.value(), prefix + segment
            found = cursor.set_range(node + rest[:SEGMENT])
