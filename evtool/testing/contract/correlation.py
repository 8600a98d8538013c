"""Laws of correlation: a category's messages that were caused by streams of another category."""

from __future__ import annotations

import json
from typing import Any

import pytest

from evtool.errors import InvalidCorrelation
from evtool.store import Store
from evtool.testing.contract.helping import append, record


def correlated(store: Store, with_: str, **arguments: Any) -> list[int]:
    """Positions in thing-1 of what is correlated with a category."""
    return [m.position for m in store.get_category_messages("thing", correlation=with_, **arguments)]


def test_only_messages_correlated_with_the_category_are_read(store: Store) -> None:
    """The category of metadata's correlationStreamName decides; messages without one are left out."""
    for name in ("order-1", "order", "order-", "orders-1", "invoice-1", None):
        metadata = None if name is None else {"correlationStreamName": name, "other": "order-1"}
        store.write_message(None, "thing-1", "Happened", {}, metadata)
    append(store, "other-1", metadata={"correlationStreamName": "order-1"})
    assert correlated(store, "order") == [0, 1, 2]
    assert correlated(store, "invoice") == [4]
    assert correlated(store, "nothing") == []
    assert len(store.get_category_messages("thing")) == 6


# What Message DB's metadata->>'correlationStreamName' makes of a value, up to its first hyphen.
VALUES = [
    ('"order-1"', "order"),
    ('"-1"', ""),
    ('""', ""),
    ('"\\u006frder-1"', "order"),
    ("12", "12"),
    ("1.50", "1.50"),
    ("1E5", "100000"),
    ("12345678901234567890123", "12345678901234567890123"),
    ("true", "true"),
    ("false", "false"),
    ("[1,2]", "[1, 2]"),
    ('{"bb":1,"a":"x"}', '{"a": "x", "bb": 1}'),
]


def both_ways(store: Store, metadata: list[str]) -> None:
    """Writes messages with each metadata, and then imports the same."""
    for one in metadata:
        store.write_message(None, "thing-1", "Happened", {}, one)
    start = len(metadata)
    store.import_batch(record(100 + n, pos=start + n, meta=one.encode()) for n, one in enumerate(metadata))


def test_any_value_counts_as_its_text(store: Store) -> None:
    """A number, a boolean, an array as correlationStreamName counts as the text that PostgreSQL has for it."""
    both_ways(store, [f'{{"correlationStreamName": {written}}}' for written, _ in VALUES])
    categories = [category for _, category in VALUES] * 2
    for category in categories:
        assert correlated(store, category) == [n for n, one in enumerate(categories) if one == category], category


def test_metadata_without_the_key_is_correlated_with_nothing(store: Store) -> None:
    """Only a key of the metadata itself counts, and null is none."""
    both_ways(
        store,
        ['{"correlationStreamName": null}', "{}", "[]", '["correlationStreamName"]', '"correlationStreamName"', "1",
         "null", '{"correlationstreamname": "order-1"}', '{"a": {"correlationStreamName": "order-1"}}'],
    )  # fmt: skip
    for category in ("order", "", "null", "None", "1"):
        assert correlated(store, category) == []


def test_the_key_is_read_as_json(store: Store) -> None:
    """The key may be written with escapes, and if it is there twice the last counts."""
    both_ways(
        store,
        [
            r'{"correlation\u0053treamName": "order-1"}',
            '{"correlationStreamName": "x-1", "correlationStreamName": "order-1"}',
        ],
    )
    assert correlated(store, "order") == [0, 1, 2, 3]


def test_a_page_is_full_as_long_as_there_is_more(store: Store) -> None:
    """The correlation is filtered before the page is cut."""
    for number in range(40):
        metadata = {"correlationStreamName": f"order-{number}"} if number % 4 == 0 else None
        store.write_message(None, "thing-1", "Happened", {}, metadata)
    assert correlated(store, "order", batch_size=6) == [0, 4, 8, 12, 16, 20]
    assert correlated(store, "order", position=22, batch_size=6) == [24, 28, 32, 36]


def test_correlation_and_group_hold_together(store: Store) -> None:
    """Given both, a message must fit both."""
    for number in range(12):
        metadata = json.dumps({"correlationStreamName": "order-1" if number % 2 else "invoice-1"})
        store.write_message(None, f"thing-{number}", "Happened", {}, metadata)
    read = [
        message.stream_name
        for member in range(3)
        for message in store.get_category_messages(
            "thing", correlation="order", consumer_group_member=member, consumer_group_size=3
        )
    ]
    assert sorted(read) == sorted(f"thing-{number}" for number in range(1, 12, 2))


def test_a_correlation_must_be_a_category(store: Store) -> None:
    """The name of a stream is refused in Message DB's words."""
    with pytest.raises(InvalidCorrelation) as caught:
        store.get_category_messages("thing", correlation="order-1")
    assert caught.value.code == "INVALID_CORRELATION"
    assert caught.value.message == "Correlation must be a category (Correlation: order-1)"
