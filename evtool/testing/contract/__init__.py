"""The contract of a store as tests, so that any store can prove itself: a module per law.

A store proves itself with a conftest that has these fixtures

    store             a Store in a namespace of this test's own
    make_namespace    () -> str: makes one more namespace and returns its name
    open_store        (namespace: str | None = None) -> Store: another Store object of the same database, as another
                      thread or program would have it; by default in the namespace of `store`. The fixture closes it.

and with a test file per module, which takes over its laws:

    from evtool.testing.contract.writing import *  # noqa: F403

Some modules ask for an ability that not every store has, by a fixture more; leave out those that yours lacks:

    processes           location: the DSN by which other processes reach the database
    migrations          fresh_store: a Store of a database that was never migrated, or that migrates itself
    before_migrating    unmigrated_store: a Store of a database that does not migrate itself

The fixtures may be parametrized: tests/contract of evtool runs every law on every one of its stores so.
"""

from __future__ import annotations

import pkgutil

import pytest

MODULES = tuple(module.name for module in pkgutil.iter_modules(__path__))
"""The laws, by the names of their modules; `helping` has none."""

# before the modules are imported: their asserts are to say what they saw
pytest.register_assert_rewrite(*(f"{__name__}.{name}" for name in MODULES))
