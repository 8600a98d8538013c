"""A state machine drives each store and a model of dictionaries side by side."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from evtool import contract
from evtool.errors import ImportRefused, MessageExists, WrongExpectedVersion
from evtool.model import CategoryInfo, Message, NewMessage, Selection, StreamInfo
from evtool.names import category
from evtool.store import Store
from evtool.testing.contract.helping import everything, facts, file_of, new_id, record, records, value
from tests.contract.kinds import KINDS, Kind, Place
from tests.thoroughness import examples

_numbers = itertools.count(1)

IDS = [f"00000000-0000-4000-8000-{number:012}" for number in range(6)]
STREAMS = [
    "a-1",
    "a-2",
    "a-1+x",
    "a-2+y-z",
    "a",
    "",
    "-1",
    "b-1",
    "b-",
    "é-1",
    "a+b-1",
    f"{'l' * 600}-1",
    f"{'l' * 600}-2",
]
CATEGORIES = sorted({category(stream) for stream in STREAMS} | {"none"})
JSON = [None, "null", "{}", '{"n": 9007199254740993}', "[1e400, -0, 0.10]", '"é\\n\\u0001"', "{}"]
METADATA = [
    None,
    "{}",
    '{"correlationStreamName": "b-1"}',
    '{"correlationStreamName": "a"}',
    '{"correlationStreamName": 7}',
]

namespaces = st.sampled_from([0, 1])
streams = st.sampled_from(STREAMS)
types = st.sampled_from(["A", "B", ""])
ids = st.none() | st.sampled_from(IDS)
positions = st.integers(-1, 40) | st.none()
sizes = st.integers(0, 6) | st.sampled_from([-1, None, 1000])
expectations = st.sampled_from(["any", "right", "wrong"])
new_messages = st.builds(NewMessage, types, st.sampled_from(JSON), st.sampled_from(METADATA), ids)


@dataclass
class Line:
    """A record of an import, before it is known where it lands."""

    above: int
    stream: str
    skip: int
    id: str | None
    metadata: str | None


lines = st.builds(
    Line, st.integers(-3, 4), streams, st.integers(-1, 2), ids, st.sampled_from([one or "null" for one in METADATA])
)


@dataclass
class Model:
    """A namespace: its messages by global position."""

    messages: dict[int, Message] = field(default_factory=dict)

    def all(self) -> list[Message]:
        """In global order."""
        return [self.messages[position] for position in sorted(self.messages)]

    def stream(self, name: str) -> list[Message]:
        """In the order of positions."""
        return sorted((m for m in self.messages.values() if m.stream_name == name), key=lambda m: m.position)

    def category(self, name: str, correlation: str | None, member: int, size: int) -> list[Message]:
        """In global order; a size of 0 is no consumer group."""
        return [
            message
            for message in self.all()
            if category(message.stream_name) == name
            and (correlation is None or contract.correlation_of(message.metadata) == correlation)
            and (not size or contract.in_consumer_group(message.stream_name, member, size))
        ]

    def version(self, name: str) -> int:
        """-1 where there is none."""
        return max((m.position for m in self.messages.values() if m.stream_name == name), default=-1)

    def ids(self) -> set[str]:
        """All that are taken."""
        return {m.id for m in self.messages.values()}

    def greatest(self) -> int:
        """The greatest global position."""
        return max(self.messages, default=0)


def told(messages: list[Message]) -> list[tuple[Any, ...]]:
    """Messages as values that can be compared."""
    return [facts(message) for message in messages]


def limited(messages: list[Message], size: int | None) -> list[Message]:
    """The first of them, as many as batch_size says."""
    return messages if size == -1 else messages[: 1000 if size is None else size]


class StoreMachine(RuleBasedStateMachine):
    """What happens to a store happens to the model, and all that can be read is equal."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.place = place
        self.stores: list[Store] = []
        self.models: list[Model] = []

    @initialize()
    def begin(self) -> None:
        """Two namespaces of this run's own."""
        for _ in range(2):
            name = self.place.store().create_namespace(f"model_{next(_numbers)}").name
            self.stores.append(self.place.store(name))
            self.models.append(Model())

    @rule(n=namespaces, stream=streams, batch=st.lists(new_messages, max_size=4), single=st.booleans(), expect=expectations,
          by=st.integers(1, 3))  # fmt: skip
    def write(self, n: int, stream: str, batch: list[NewMessage], single: bool, expect: str, by: int) -> None:
        """Writes one message or a batch, with a right, a wrong or no expected version."""
        store, model = self.stores[n], self.models[n]
        batch = batch[:1] or [NewMessage("A")] if single else batch
        version = model.version(stream)
        expected = {"any": None, "right": version, "wrong": version + by}[expect]

        def write() -> list[int]:
            if single:
                (one,) = batch
                return [store.write_message(one.id, stream, one.type, one.data, one.metadata, expected)]
            return store.write_messages(stream, batch, expected)

        given = [message.id for message in batch if message.id is not None]
        if expect == "wrong":
            with pytest.raises(WrongExpectedVersion) as conflict:
                write()
            assert conflict.value.stream_version == version
        elif len(set(given)) < len(given) or model.ids() & set(given):
            with pytest.raises(MessageExists):
                write()
        else:
            assert write() == list(range(version + 1, version + 1 + len(batch)))
            self.take_over(n, stream, batch, version + 1)

    def take_over(self, n: int, stream: str, batch: list[NewMessage], first: int) -> None:
        """Reads what was written behind everything else, compares it, and enters it into the model."""
        model = self.models[n]
        written = self.stores[n].get_all_messages(model.greatest() + 1, -1)
        assert len(written) == len(batch)
        for number, (message, new) in enumerate(zip(written, batch, strict=True)):
            assert (message.stream_name, message.position, message.type) == (stream, first + number, new.type)
            assert value(message.data) == value(new.data)
            assert value(message.metadata) == value(new.metadata)
            assert new.id in {None, message.id}
            model.messages[message.global_position] = message
        assert [m.global_position for m in written] == sorted(m.global_position for m in written)

    @rule(n=namespaces, batch=st.lists(lines, min_size=1, max_size=6))
    def import_some(self, n: int, batch: list[Line]) -> None:
        """Imports records around the greatest position: gaps, lines in any order, and clashes."""
        store, model = self.stores[n], self.models[n]
        start = model.greatest() + 3
        given, copy, refusal = [], Model(dict(model.messages)), None
        for number, line in enumerate(batch, 1):
            position = max(copy.version(line.stream) + 1 + line.skip, 0)
            one = record(max(start + 2 * number + line.above, 1), line.stream, position, id=line.id,
                         data={"n": number}, meta=(line.metadata or "null").encode())  # fmt: skip
            given.append(one)
            code = None
            if one.gpos in copy.messages:
                code = "POSITION_EXISTS"
            elif one.id in copy.ids():
                code = "ID_EXISTS"
            elif one.pos in {m.position for m in copy.stream(one.stream)}:
                code = "STREAM_POSITION_EXISTS"
            if code is not None and refusal is None:
                refusal = (code, number)
            (message,) = _messages([one])
            copy.messages.setdefault(one.gpos, message)
        if refusal is not None:
            with pytest.raises(ImportRefused) as caught:
                store.import_batch(given)
            assert (caught.value.code, caught.value.line) == refusal
        else:
            summary = store.import_batch(given)
            assert (summary.imported, summary.last_position) == (len(given), max(one.gpos for one in given))
            model.messages = copy.messages

    @rule(n=namespaces, stream=streams.filter(lambda name: "-" in name), position=positions, size=sizes)
    def read_stream(self, n: int, stream: str, position: int | None, size: int | None) -> None:
        """A page of a stream is the model's."""
        expected = [m for m in self.models[n].stream(stream) if m.position >= (position or 0)]
        assert told(self.stores[n].get_stream_messages(stream, position, size)) == told(limited(expected, size))

    @rule(n=namespaces, name=st.sampled_from(CATEGORIES), position=positions, size=sizes,
          correlation=st.sampled_from([None, None, "a", "b", "7", "none"]), group=st.sampled_from([0, 0, 1, 2, 3]),
          member=st.integers(0, 2))  # fmt: skip
    def read_category(
        self,
        n: int,
        name: str,
        position: int | None,
        size: int | None,
        correlation: str | None,
        group: int,
        member: int,
    ) -> None:
        """A page of a category, with a correlation and a consumer group or without, is the model's."""
        expected = self.models[n].category(name, correlation, member % group if group else 0, group)
        expected = [m for m in expected if m.global_position >= (1 if position is None else position)]
        members = (member % group, group) if group else (None, None)
        read = self.stores[n].get_category_messages(name, position, size, correlation, *members)
        assert told(read) == told(limited(expected, size))

    @rule(n=namespaces)
    def read_every_category(self, n: int) -> None:
        """Every category there is, with every correlation and every member of a group, is the model's."""
        for name in {category(message.stream_name) for message in self.models[n].all()}:
            for correlation in (None, "a", "b", "7"):
                for member, size in ((0, 0), (0, 2), (1, 2)):
                    members = (member, size) if size else (None, None)
                    read = self.stores[n].get_category_messages(name, 1, -1, correlation, *members)
                    assert told(read) == told(self.models[n].category(name, correlation, member, size))

    @rule(n=namespaces, position=positions, size=sizes)
    def read_all(self, n: int, position: int | None, size: int | None) -> None:
        """A page of everything is the model's."""
        expected = [m for m in self.models[n].all() if m.global_position >= (1 if position is None else position)]
        assert told(self.stores[n].get_all_messages(position, size)) == told(limited(expected, size))

    @rule(n=namespaces, stream=streams, type_=types | st.none())
    def read_last(self, n: int, stream: str, type_: str | None) -> None:
        """The last message, and the version, are the model's."""
        found = [m for m in self.models[n].stream(stream) if type_ in {None, m.type}][-1:]
        read = self.stores[n].get_last_stream_message(stream, type_)
        assert told([] if read is None else [read]) == told(found)
        version = self.models[n].version(stream)
        assert self.stores[n].stream_version(stream) == (None if version < 0 else version)

    @rule(
        n=namespaces,
        prefix=st.sampled_from(["", "a", "a-", "b", "é", "l" * 600]),
        after=streams | st.none(),
        size=sizes,
    )
    def list_streams(self, n: int, prefix: str, after: str | None, size: int | None) -> None:
        """A page of the list of streams is the model's."""
        names = sorted({m.stream_name for m in self.models[n].all()}, key=str.encode)
        names = [
            name for name in names if name.startswith(prefix) and (after is None or name.encode() > after.encode())
        ]
        limit = 1000 if size is None else size
        expected = [StreamInfo(name, self.models[n].version(name)) for name in names]
        assert self.stores[n].list_streams(prefix, after, limit) == (expected if limit == -1 else expected[:limit])

    @rule(n=namespaces)
    def list_categories(self, n: int) -> None:
        """The list of categories is the model's."""
        counted: dict[str, list[str]] = {}
        for message in self.models[n].all():
            counted.setdefault(category(message.stream_name), []).append(message.stream_name)
        assert self.stores[n].list_categories() == [
            CategoryInfo(name, len(set(counted[name])), len(counted[name])) for name in sorted(counted, key=str.encode)
        ]

    @rule(n=namespaces, chosen=st.lists(st.sampled_from(CATEGORIES), max_size=3))
    def export(self, n: int, chosen: list[str]) -> None:
        """The lines of an export are the model's messages."""
        expected = [m for m in self.models[n].all() if not chosen or category(m.stream_name) in chosen]
        exported = list(_messages(records(file_of(self.stores[n], Selection(tuple(chosen))))))
        assert told(exported) == told(
            [replace(m, data=_no_null(m.data), metadata=_no_null(m.metadata)) for m in expected]
        )

    @rule(n=namespaces)
    def make_anew(self, n: int) -> None:
        """A namespace that is deleted and made again is empty."""
        name = self.stores[n].namespace
        self.stores[n].delete_namespace(name)
        self.stores[n].create_namespace(name)
        self.models[n] = Model()

    @invariant()
    def nothing_else_is_there(self) -> None:
        """Everything in both namespaces is the model's."""
        for store, model in zip(self.stores, self.models, strict=True):
            assert told(everything(store)) == told(model.all())

    def teardown(self) -> None:
        """Leaves no namespace behind."""
        for store in self.stores:
            store.delete_namespace(store.namespace)


def _messages(given: Any) -> Iterator[Message]:
    """Records as messages, the way an import stores them."""
    for one in given:
        data, meta = (_no_null(bytes(raw).decode()) for raw in (one.data, one.meta))
        time = datetime.fromisoformat(one.time)
        yield Message(one.id.lower(), one.stream, one.type, one.pos, one.gpos, data, meta, time)


def _no_null(text: str | None) -> str | None:
    return None if text == "null" else text


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def place(request: pytest.FixtureRequest, make_database: Callable[[], str], tmp_path: Path) -> Iterator[Place]:
    """A migrated database of each kind."""
    kind: Kind = request.param
    made = Place(kind, make_database, tmp_path / kind.name)
    made.store().migrate()
    yield made
    made.close()


def test_a_store_does_what_its_model_does(place: Place) -> None:
    """Whatever is written, imported, deleted and read, in any order, a store and a dictionary agree."""
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        lambda: StoreMachine(place),
        settings=settings(
            # a server answers more slowly
            max_examples=examples(100 if place.kind.local else 25),
            stateful_step_count=30,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_ids_of_the_model_are_uuids() -> None:
    """The machine's own ids are in the spelling that stores return."""
    assert [contract.canonical_id(one) for one in IDS] == IDS
    assert contract.canonical_id(new_id())
