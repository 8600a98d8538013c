"""A store in memory, of which nothing but the process knows: what others in it delete is gone for everybody."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

import pytest

import evtool
from evtool.connecting import SQLITE_MEMORY
from evtool.errors import NamespaceNotFound
from evtool.testing.contract.helping import append, together

ROUNDS = 200


@pytest.fixture(autouse=True)
def often_interrupted() -> Iterator[None]:
    """Threads take turns at almost every step."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


def test_nobody_writes_on_in_a_namespace_that_was_deleted_meanwhile() -> None:
    """Whoever opens a namespace in the moment in which it is deleted finds it, or doesn't; afterwards nobody does."""
    with evtool.connect(SQLITE_MEMORY) as store:
        for _ in range(ROUNDS):
            store.create_namespace("passing")
            writer = store.in_namespace("passing")

            def write(writer: evtool.Store = writer) -> None:
                with contextlib.suppress(NamespaceNotFound):
                    append(writer, "thing-1")

            for result in together([write, lambda: store.delete_namespace("passing")]):
                result.result()
            with pytest.raises(NamespaceNotFound):
                append(writer, "thing-1")
