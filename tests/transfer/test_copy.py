"""From store to store without a file: what arrives, what is refused, and that it is all or nothing."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import conninfo

from evtool.copying import copy_messages
from evtool.errors import EvtoolError, ImportRefused, InvalidArgument
from evtool.imports import ImportPlan, OnConflict
from evtool.model import Selection
from evtool.progress import Progress
from evtool.store import Store
from evtool.testing.contract.helping import everything, facts, file_of, record, records, value
from evtool.testing.contract.json_values import VALUES
from evtool.testing.contract.names import HOSTILE
from evtool.verifying import verify_file
from tests.cli.running import Cli, Done, assert_one_line
from tests.contract.kinds import SHARED, Place
from tests.transfer.lines import line, lines

_numbers = itertools.count(1)
_names = [kind.name for kind in SHARED]
_SECRET = "s3cr-p4ss"

Fresh = Callable[[str], Store]


@pytest.fixture(scope="module")
def places(make_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Place]]:
    """A migrated database of each kind."""
    made = {}
    for kind in SHARED:
        made[kind.name] = Place(kind, make_database, tmp_path_factory.mktemp("copy") / kind.name)
        made[kind.name].store().migrate()
    yield made
    for place in made.values():
        place.close()


@pytest.fixture
def fresh(places: dict[str, Place]) -> Fresh:
    """A store of a kind, in a namespace that is new."""

    def make(name: str) -> Store:
        place = places[name]
        return place.store(place.store().create_namespace(f"copy_{next(_numbers)}").name)

    return make


@pytest.mark.parametrize("target", _names)
@pytest.mark.parametrize("source", _names)
def test_a_copy_is_equal_between_any_two_stores(fresh: Fresh, tmp_path: Path, source: str, target: str) -> None:
    """Nine pairs: every message arrives, at its position, with its values; and the next one lands above them.

    The file of either side is equal to the other side for `verify`, however their JSON is spelled.
    """
    one, other = fresh(source), fresh(target)
    for name in HOSTILE.values():
        one.write_message(None, name, name[:300], {"name": name}, {"correlationStreamName": "x-1"})
    for text in VALUES.values():
        one.write_message(None, "value-1", "Happened", text, text)
    one.import_batch([record(5_000, "imported-1")])
    summary = copy_messages(one, other)
    expected = everything(one)
    assert (summary.imported, summary.last_position, summary.skipped) == (len(expected), 5_000, 0)
    null = {"null": None}
    for message, same in zip(expected, everything(other), strict=True):
        assert facts(same)[:5] == facts(message)[:5]
        # no value is exported as null, and null is imported as no value: that alone differs
        assert value(same.data) == value(null.get(message.data or "", message.data))
        assert same.time == message.time
    assert list(map(value, file_of(other).splitlines())) == list(map(value, file_of(one).splitlines()))
    for store, elsewhere in ((one, other), (other, one)):
        (tmp_path / "file").write_bytes(file_of(store))
        assert verify_file(elsewhere, str(tmp_path / "file")).equal
    other.write_message(None, "after-1", "Happened", None)
    last = other.get_last_stream_message("after-1")
    assert last is not None
    assert last.global_position == 5_001


@pytest.mark.parametrize("name", _names)
def test_a_namespace_is_not_copied_into_itself(fresh: Fresh, places: dict[str, Place], name: str) -> None:
    """Whoever addresses the same namespace twice is told so, and nothing happens to it."""
    store = fresh(name)
    store.import_batch(records(lines([1, 2])))
    before = file_of(store)
    for other in (store, places[name].store(store.namespace), places[name].another(store.namespace)):
        with pytest.raises(InvalidArgument, match="into itself"):
            copy_messages(store, other)
    assert file_of(store) == before


@pytest.mark.parametrize("name", _names)
def test_what_a_namespace_is_hangs_on_no_spelling(fresh: Fresh, places: dict[str, Place], name: str) -> None:
    """Two namespaces, of one database or of two, have two identities; one has the same in every store."""
    one, other = fresh(name), fresh(name)
    assert one.identity() != other.identity()
    assert places[name].another(one.namespace).identity() == one.identity()
    elsewhere = {places[kind].store("message_store").identity() for kind in _names}
    assert len(elsewhere) == len(_names)


def test_a_folder_is_known_by_any_path(tmp_path: Path) -> None:
    """A link to the folder of a store leads to the same namespace, and a copy is refused."""
    for kind in ("sqlite", "lmdb"):
        folder, link = tmp_path / kind, tmp_path / f"{kind}-link"
        Cli(f"{kind}://{folder}")("migrate").ok()
        link.symlink_to(folder)
        assert_one_line(
            Cli()("copy", "--from", f"{kind}://{folder}", "--to", f"{kind}://{link}", "--force", "--yes"), 2
        )


def test_a_database_is_known_by_any_dsn(dsn: str, cli: Cli) -> None:
    """Other parameters of a connection, and another role's time zone, don't make it another namespace."""
    cli("write", "a-1", "T").ok()
    before = cli("export").ok().stdout
    other = conninfo.make_conninfo(dsn, application_name="x", options="-c timezone=Asia/Tokyo")
    done = cli("copy", "--from", dsn, "--to", other, "--force", "--yes")
    assert_one_line(done, 2, "INVALID_ARGUMENT", "into itself")
    assert cli("export").ok().stdout == before


def test_filters_choose_what_is_copied(fresh: Fresh) -> None:
    """A copy takes the filters of an export."""
    one, other = fresh(_names[0]), fresh(_names[1])
    one.import_batch(records(lines([1, 3]) + lines([2, 4], stream="order-1")))
    copy_messages(one, other, Selection(categories=("order",)))
    assert [message.global_position for message in everything(other)] == [2, 4]


@pytest.mark.parametrize("target", _names)
def test_what_clashes_is_named_and_nothing_is_copied(fresh: Fresh, target: str) -> None:
    """A message that the target has otherwise refuses the whole copy, by its number in the copy and its position."""
    one, other = fresh("sqlite-file"), fresh(target)
    one.import_batch(records(lines([1, 2, 3])))
    other.import_batch(records(line(3, type="Other")))
    before = file_of(other)
    with pytest.raises(ImportRefused, match="message 3 of the copy: global position 3") as refused:
        copy_messages(one, other)
    assert refused.value.code == "POSITION_EXISTS"
    assert refused.value.line is None
    assert file_of(other) == before


@pytest.mark.parametrize("target", _names)
def test_a_source_that_breaks_off_leaves_the_target_as_it_was(fresh: Fresh, target: str) -> None:
    """Whatever ends the export in the middle, nothing of it stays in the target."""
    one, other = fresh("sqlite-file"), fresh(target)
    one.import_batch(records(lines(range(1, 5000))))
    other.import_batch(records(line(9000)))
    before = file_of(other)

    class LostError(EvtoolError):
        pass

    def lose(progress: Progress) -> None:
        if progress.count == 3000:
            raise LostError("gone")

    with pytest.raises(LostError):
        copy_messages(one, other, progress=lose)
    assert file_of(other) == before
    assert copy_messages(one, other).imported == 4999


@pytest.mark.parametrize("target", _names)
def test_the_plan_of_an_import_is_that_of_a_copy(fresh: Fresh, target: str) -> None:
    """A copy skips what is identical, tries out, and replaces, as an import does; but never replaces all by nothing."""
    one, other = fresh("sqlite-file"), fresh(target)
    one.import_batch(records(lines([1, 2, 3])))
    other.import_batch(records(lines([2, 9])))
    before = file_of(other)
    with pytest.raises(ImportRefused):
        copy_messages(one, other, plan=ImportPlan(dry_run=True))
    tried = copy_messages(one, other, plan=ImportPlan(on_conflict=OnConflict.SKIP, dry_run=True))
    assert (tried.imported, tried.skipped) == (2, 1)
    assert file_of(other) == before
    done = copy_messages(one, other, plan=ImportPlan(on_conflict=OnConflict.SKIP))
    assert (done.imported, done.skipped) == (2, 1)
    assert [message.global_position for message in everything(other)] == [1, 2, 3, 9]
    with pytest.raises(ImportRefused, match="no message matches"):
        copy_messages(one, other, Selection(categories=("nosuch",)), ImportPlan(replace=True))
    assert copy_messages(one, other, plan=ImportPlan(replace=True)).imported == 3
    assert [message.global_position for message in everything(other)] == [1, 2, 3]


def test_a_copy_is_one_snapshot(fresh: Fresh) -> None:
    """What is written to the source while it is copied does not arrive."""
    one, other = fresh(_names[0]), fresh(_names[1])
    one.import_batch(records(lines(range(1, 5000))))
    told: list[int] = []

    def write(progress: Progress) -> None:
        told.append(progress.count)
        one.write_message(None, "late-1", "Happened", {})

    copy_messages(one, other, progress=write)
    assert told == [1000, 2000, 3000, 4000]
    assert [message.global_position for message in everything(other)] == list(range(1, 5000))


@pytest.fixture
def databases(places: dict[str, Place]) -> tuple[str, str]:
    """The DSNs of a PostgreSQL database and of a SQLite folder."""
    return places["postgres"].dsn, places["sqlite-file"].dsn


def test_the_command_copies(databases: tuple[str, str], fresh: Fresh) -> None:
    """`evtool copy` says how many, to people or to programs; the target holds them."""
    one, other = fresh("postgres"), fresh("sqlite-file")
    one.import_batch(records(lines(range(1, 2501))))
    arguments = ["copy", "--from", databases[0], "--to", databases[1]]
    names = ["--from-namespace", one.namespace, "--to-namespace", other.namespace]
    done = Cli()(*arguments, *names, "--progress", "json").ok()
    assert done.out == ""
    events = [json.loads(text) for text in done.err.splitlines()]
    assert [event.get("copied") for event in events] == [1000, 2000, 2500]
    assert events[-1]["done"] is True
    assert events[0]["gpos"] == 1000
    assert_one_line(Cli()(*arguments, *names), 4, "POSITION_EXISTS", "message 1 of the copy")
    assert len(everything(other)) == 2500


def test_the_environment_is_the_side_that_is_not_named(databases: tuple[str, str], fresh: Fresh) -> None:
    """EVTOOL_DSN stands for --from or --to, -n for both namespaces."""
    one = fresh("postgres")
    one.import_batch(records(lines([1, 2])))
    name = one.namespace
    Cli(databases[1])("ns", "create", name).ok()
    Cli(databases[1])("copy", "--from", databases[0], "-n", name).ok()
    assert Cli(databases[1], name)("stats", "--json").ok().out.count('"messages": 2')
    Cli(databases[0])("copy", "--from-namespace", name, "--to-namespace", fresh("postgres").namespace).ok()


@pytest.mark.parametrize("side", ["source", "target"])
def test_an_error_says_which_side_it_is_of(databases: tuple[str, str], tmp_path: Path, side: str) -> None:
    """A database that isn't there, that isn't migrated, or lacks the namespace: the source, or the target."""
    good = databases[1]
    for bad, code, what in (
        ("host=127.0.0.1 port=1", 3, "STORE_UNREACHABLE"),
        (f"sqlite://{tmp_path / 'nowhere'}", 1, "NOT_MIGRATED"),
        (good, 1, "NAMESPACE_NOT_FOUND"),
    ):
        pair = ["--from", bad, "--to", good] if side == "source" else ["--from", good, "--to", bad]
        done = Cli()("copy", *pair, f"--{'from' if side == 'source' else 'to'}-namespace", "nope")
        assert_one_line(done, code, f"{what}: the {side}: ")


def test_wrong_usage_is_told_before_anything_is_opened() -> None:
    """No DSN at all, or nobody to ask about --force."""
    here = ["--from", "host=/nonexistent"]
    for arguments in (
        [],
        ["-n", "x"],
        ["--from-namespace", "x", "--to-namespace", "x"],
        ["--dsn", "x"],
        [*here, "--yes"],
        [*here, "--force"],
        [*here, "--categories", "a,,b"],
    ):
        done = Cli("host=/nonexistent")("copy", *arguments)
        assert (done.code, "/nonexistent" in done.err) == (2, False), done.err


def test_force_asks(databases: tuple[str, str], fresh: Fresh) -> None:
    """Without a terminal and without --yes nothing is removed."""
    one, other = fresh("postgres"), fresh("sqlite-file")
    one.import_batch(records(line(1)))
    other.import_batch(records(line(2)))
    names = ["--from-namespace", one.namespace, "--to-namespace", other.namespace]
    done = Cli()("copy", "--from", databases[0], "--to", databases[1], *names, "--force")
    assert (done.code, "--yes" in done.err) == (2, True)
    assert [message.global_position for message in everything(other)] == [2]


def _assert_no_secret(done: Done) -> None:
    assert _SECRET not in done.out + done.err
    assert "p4ss" not in done.out + done.err


@pytest.mark.parametrize("verbose", [[], ["-v"]], ids=["", "-v"])
def test_passwords_are_never_shown(databases: tuple[str, str], verbose: list[str]) -> None:
    """Neither side's, whatever goes wrong."""
    good = databases[1]
    for bad in (
        f"postgresql://u:{_SECRET}@127.0.0.1:1/x",
        f"postgresql://u:{_SECRET}@[bad/x",
        f"host=x password='{_SECRET}",
        f"mysql://u:{_SECRET}@h/x",
    ):
        for pair in (("--from", bad, "--to", good), ("--from", good, "--to", bad), ("--from", bad, "--to", bad)):
            done = Cli()("copy", *pair, *verbose)
            assert done.code in {2, 3}, done.err
            _assert_no_secret(done)


def test_the_record_of_a_copy_names_the_namespace_and_no_dsn(
    databases: tuple[str, str], fresh: Fresh, namespace: str, dsn: str
) -> None:
    """What the target keeps on record of a copy says where it came from, without a password or a host."""
    one = fresh("sqlite-file")
    one.import_batch(records(line(1)))
    names = ["--from-namespace", one.namespace, "--to-namespace", namespace]
    Cli()("copy", "--from", databases[1], "--to", dsn, *names).ok()
    with psycopg.connect(dsn) as connection:
        rows = connection.execute(f"SELECT source, imported FROM {namespace}.imports").fetchall()
    assert rows == [(f"copy of {one.namespace}", 1)]
