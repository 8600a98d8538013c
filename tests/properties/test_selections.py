"""Any selection, on any store, by any way that it may be read: the messages that a plain look at each would choose."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evtool.connecting import open_store
from evtool.model import Message, Selection, Watermark
from evtool.store import Ability, Store
from evtool.stores.lmdb import exporting as lmdb_exporting
from evtool.stores.postgres import parallel, selecting
from evtool.stores.sqlite import exporting as sqlite_exporting
from evtool.testing.contract import selections as laws
from evtool.testing.contract.helping import everything, lines_of, positions_of
from tests.thoroughness import examples

MODULES: dict[str, ModuleType] = {"postgres": selecting, "sqlite": sqlite_exporting, "lmdb": lmdb_exporting}

CORRELATIONS = ("order", "account", "", "5", "none")
TIMES = st.integers(0, 101).map(lambda n: laws.START + timedelta(seconds=n, microseconds=n % 2))
POSITIONS = st.integers(0, 700)


@st.composite
def selections(draw: st.DrawFn) -> Selection:
    """Any combination of filters, of names that are there and of names that aren't."""
    since, until = sorted((draw(TIMES), draw(TIMES)))
    first, last = sorted((draw(POSITIONS), draw(POSITIONS)))
    categories = st.sampled_from(["order", "account", "", "account:command", "Order", "none", "a\x01\n"])

    def some(names: st.SearchStrategy[str], most: int) -> tuple[str, ...]:
        return tuple(draw(st.one_of(st.just([]), st.lists(names, min_size=1, max_size=most))))

    return Selection(
        categories=some(categories, 6),
        streams=some(st.sampled_from([*laws.STREAMS, "none-1"]), 6),
        types=some(st.sampled_from([*laws.TYPES, "none"]), 4),
        correlation=draw(st.one_of(st.none(), st.sampled_from(CORRELATIONS))),
        since=draw(st.sampled_from([None, since])),
        until=draw(st.sampled_from([None, until])),
        from_position=draw(st.sampled_from([None, first])),
        to_position=draw(st.sampled_from([None, last])),
    )


@pytest.fixture(scope="module", params=MODULES)
def kind(request: pytest.FixtureRequest) -> str:
    """The kind of store."""
    return str(request.param)


@pytest.fixture(scope="module")
def mixed(
    kind: str, make_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Store, list[Message]]]:
    """A store with messages of all sorts, and these."""
    folder: Path = tmp_path_factory.mktemp("selections") / "store"
    with open_store(make_database() if kind == "postgres" else f"{kind}://{folder}") as store:
        store.migrate()
        store.import_batch(laws.mixture())
        yield store, everything(store)


@pytest.mark.parametrize(("few", "merged"), [(None, None), (3, None), (None, 1), (40, 2)])
@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(selection=selections(), end=st.one_of(st.none(), POSITIONS), jobs=st.sampled_from([1, 3]))
def test_any_selection_is_what_a_plain_look_would_choose(
    kind: str,
    mixed: tuple[Store, list[Message]],
    few: int | None,
    merged: int | None,
    selection: Selection,
    end: int | None,
    jobs: int,
) -> None:
    """Whether rows are looked up, merged or filtered, in one go or in several: the same, up to the same end."""
    store, messages = mixed
    expected = [one.global_position for one in messages if laws.is_chosen(one, selection)]
    with pytest.MonkeyPatch.context() as patch:
        if few is not None:
            patch.setattr(MODULES[kind], "_FEW", few)
        if merged is not None:
            patch.setattr(MODULES[kind], "_MERGED_CATEGORIES", merged)
        patch.setattr(parallel, "_SHORTEST", 50)
        assert positions_of(lines_of(store, selection)) == expected
        several = jobs if Ability.PARALLEL_EXPORT in store.abilities else 1
        mark = None if end is None else Watermark(end, 0)
        blocks = list(store.export(selection, mark, jobs=several))
    wanted = [position for position in expected if end is None or position <= end]
    assert sum(block.count for block in blocks) == len(wanted)
    if wanted:
        assert blocks[-1].last_position == wanted[-1]
