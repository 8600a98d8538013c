"""The consumer, on an empty store and on a slice of production."""

import pytest
from evtool import Store
from sizes import Sizes


def test_it_starts_with_nothing(evtool_store: Store) -> None:
    assert Sizes(evtool_store).catch_up() == 0


def test_it_counts_the_lines_of_a_file(evtool_store: Store) -> None:
    for lines in (10, 5):
        evtool_store.write_message(None, "file-a.py", "FileChanged", {"path": "a.py", "lines": lines})
    sizes = Sizes(evtool_store)
    assert sizes.catch_up() == 2
    assert sizes.lines == {"a.py": 15}


@pytest.mark.evtool_events("slices/alembic-2010.ndjson.gz")
@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_it_reads_a_slice_of_production_whatever_the_batch(evtool_store: Store, batch_size: int) -> None:
    sizes = Sizes(evtool_store, batch_size)
    read = sizes.catch_up()
    assert len(sizes.lines) == len(evtool_store.list_streams(prefix="file-", limit=-1))
    assert sizes.catch_up() == 0
    assert read == sum(one.messages for one in evtool_store.list_categories() if one.category == "file")


@pytest.mark.evtool_events("slices/alembic-2010.ndjson.gz")
def test_it_goes_on_where_it_stopped(evtool_store: Store) -> None:
    Sizes(evtool_store).catch_up()
    # behind the greatest position of production, so the consumer sees it
    evtool_store.write_message(None, "file-new.py", "FileAdded", {"path": "new.py", "lines": 3})
    again = Sizes(evtool_store)
    assert again.catch_up() == 1
    assert again.lines == {"new.py": 3}
