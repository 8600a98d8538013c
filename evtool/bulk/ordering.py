"""In which order resources are imported: what others refer to comes first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import TypeVar

from evtool.bulk.resource import Resource

_Item = TypeVar("_Item")


def ordered(items: Sequence[_Item], resource_of: Callable[[_Item], Resource]) -> list[_Item]:
    """Items in the order of their resources' references; those that don't refer to each other stay as they are.

    Resources that refer to each other in a circle stay in the given order: no order would be right.
    """
    tables = [(resource_of(item).schema, resource_of(item).table) for item in items]
    sorter: TopologicalSorter[int] = TopologicalSorter({number: set() for number in range(len(items))})
    for number, item in enumerate(items):
        resource = resource_of(item)
        for reference in resource.references:
            parent = (reference.schema or resource.schema, reference.table)
            for other, table in enumerate(tables):
                if table == parent != tables[number]:
                    sorter.add(number, other)
    try:
        sorter.prepare()
    except CycleError:
        return list(items)
    found: list[_Item] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        found += [items[number] for number in ready]
        sorter.done(*ready)
    return found
