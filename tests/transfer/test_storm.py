"""Increments under eight writers: each message in one of them, and in one only. scripts/soak-increments goes on longer."""

from __future__ import annotations

import pytest

from evtool.stores.postgres import PostgresStore
from tests.transfer import storm

_SECONDS = 8


@pytest.fixture(scope="module")
def result(dsn: str, shared_store: PostgresStore, tmp_path_factory: pytest.TempPathFactory) -> storm.Result:
    """What a storm left."""
    namespace = shared_store.create_namespace("test_storm").name
    return storm.run(dsn, namespace, tmp_path_factory.mktemp("storm"), _SECONDS)


def test_the_storm_was_one(result: storm.Result) -> None:
    """There were many increments, many messages, and gaps in their positions: else the laws below would say little."""
    positions = [row[0] for row in result.table]
    assert result.increments >= 25
    assert len(positions) > 1000
    assert result.rolled_back > 20
    assert positions[-1] > len(positions) + 100
    assert {row[2].split("-")[0] for row in result.table} == {f"w{n}" for n in range(storm.WRITERS)}


def test_increments_of_all_messages_are_the_table(result: storm.Result) -> None:
    """One after the other they hold every message once, in global order, and none that was rolled back."""
    assert result.all == result.table


def test_increments_of_a_category_are_the_category(result: storm.Result) -> None:
    """So do those with a filter."""
    assert result.chosen == [row for row in result.table if row[2].startswith(f"{storm.CHOSEN}-")]
    assert result.chosen


def test_without_the_watermark_messages_are_missed(result: storm.Result) -> None:
    """The same reader without it passes by what commits late: the storm is one that would show a fault."""
    missed = set(result.table) - set(result.naive)
    assert missed
    assert set(result.naive) < set(result.table)
