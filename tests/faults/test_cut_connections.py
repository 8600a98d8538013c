"""A connection that is cut after any number of bytes: the target is as before or complete, and a file is whole."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from evtool.imports import ImportPlan
from evtool.stores.postgres import PostgresStore
from evtool.testing.contract.helping import file_of, records
from tests.cli.running import Cli, assert_one_line
from tests.faults.proxy import CuttingProxy
from tests.transfer.lines import line, lines

_COUNT = 20_000
_CUTS = 6
_FILE = lines(range(1, _COUNT + 1), data={"text": "x" * 40})


def _cuts(total: int, seed: int) -> list[int]:
    """Numbers of bytes after which to cut: the very first and the very last, and some in between."""
    chance = random.Random(seed)
    return sorted({1, total - 1, *(chance.randrange(2, total) for _ in range(_CUTS - 2))})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The file that is imported."""
    made = tmp_path / "events.ndjson"
    made.write_bytes(_FILE)
    return made


def _passed(dsn: str, namespace: str, *arguments: str | Path) -> int:
    """How many bytes an undisturbed command has for its connections."""
    with CuttingProxy(dsn) as proxy:
        Cli(proxy.dsn, namespace)(*arguments).ok()
    return proxy.passed


def test_an_import_that_is_cut_off_is_whole_or_absent(dsn: str, store: PostgresStore, file: Path) -> None:
    """Wherever the connection breaks: exit code 3, one line, and the namespace as before; the next import works.

    The very last bytes only end the session: whoever has been told that the import is done does not miss them.
    """
    total = _passed(dsn, store.namespace, "import", "-i", file)
    whole: bytes | None = None
    absent = 0
    for cut in _cuts(total, 1):
        store.import_batch(records(line(10**9)), ImportPlan(replace=True))
        before = file_of(store)
        with CuttingProxy(dsn, cut) as proxy:
            done = Cli(proxy.dsn, store.namespace)("import", "-i", file)
        if done.code:
            assert_one_line(done, 3, "STORE_UNREACHABLE")
        if file_of(store) == before:
            assert done.code
            absent += 1
            Cli(dsn, store.namespace)("import", "-i", file).ok()
        whole = whole or file_of(store)
        assert whole.count(b"\n") == _COUNT + 1
        assert file_of(store) == whole
    assert absent >= _CUTS - 1


def test_a_resumable_import_goes_on_after_every_cut(
    dsn: str, store: PostgresStore, shared_store: PostgresStore, file: Path
) -> None:
    """The same command, again and again: batches that were committed stay, and in the end everything is there once."""
    command = ["import", "-i", file, "--batch-size", "3000", "--resume"]
    total = _passed(dsn, store.namespace, *command)
    whole = file_of(store)
    store = shared_store.in_namespace(shared_store.create_namespace(f"{store.namespace}_cut").name)
    there = [0]
    for cut in _cuts(total, 2):
        with CuttingProxy(dsn, cut) as proxy:
            done = Cli(proxy.dsn, store.namespace)(*command)
        there.append(file_of(store).count(b"\n"))
        assert there[-1] >= there[-2]
        assert there[-1] in {_COUNT, *range(0, _COUNT, 3000)}
        if done.code == 0:
            break
        assert_one_line(done, 3, "STORE_UNREACHABLE")
    assert len(set(there)) > 2
    Cli(dsn, store.namespace)(*command).ok()
    assert file_of(store) == whole


@pytest.mark.thorough(but=["ndjson.gz*"])
@pytest.mark.parametrize(
    ("suffix", "parts"), [("ndjson", [0.02, 0.3, 0.35, 0.9]), ("ndjson.gz", [0.5]), ("ndjson.zst", [0.5])]
)
def test_an_export_goes_on_after_every_cut(
    dsn: str, store: PostgresStore, tmp_path: Path, suffix: str, parts: list[float]
) -> None:
    """With retries: no line twice, none missing, the same bytes as undisturbed, compressed or not."""
    store.import_batch(records(_FILE))
    undisturbed, target = tmp_path / f"undisturbed.{suffix}", tmp_path / f"cut.{suffix}"
    total = _passed(dsn, store.namespace, "export", "-o", undisturbed)
    cuts = [round(total * part) for part in parts]
    with CuttingProxy(dsn, *cuts) as proxy:
        Cli(proxy.dsn, store.namespace)("export", "-o", target, "--retries", "10").ok()
    assert proxy.passed > total
    assert target.read_bytes() == undisturbed.read_bytes()


def test_an_export_without_retries_leaves_no_file(dsn: str, store: PostgresStore, tmp_path: Path) -> None:
    """Wherever the connection breaks: exit code 3, one line, and the older file as it was, with nothing beside it."""
    store.import_batch(records(_FILE))
    target = tmp_path / "out"
    total = _passed(dsn, store.namespace, "export", "-o", tmp_path / "undisturbed")
    for path in tmp_path.iterdir():
        path.unlink()
    target.write_bytes(b"older")
    # what ends a session is not waited for, so the last bytes may be cut unnoticed
    for cut in _cuts(total, 3)[:-1]:
        with CuttingProxy(dsn, cut) as proxy:
            done = Cli(proxy.dsn, store.namespace)("export", "-o", target, "--retries", "0")
        assert_one_line(done, 3, "STORE_UNREACHABLE")
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"out": b"older"}


def test_a_copy_that_is_cut_off_on_either_side_leaves_the_target_as_it_was(
    dsn: str, store: PostgresStore, shared_store: PostgresStore
) -> None:
    """Whichever of the two connections breaks: exit code 3, and nothing of the source is in the target."""
    store.import_batch(records(_FILE))
    target = shared_store.in_namespace(shared_store.create_namespace(f"{store.namespace}_target").name)
    names = ["--from-namespace", store.namespace, "--to-namespace", target.namespace]
    chance = random.Random(4)
    for side in ("--from", "--to"):
        sides = {"--from": dsn, "--to": dsn}
        with CuttingProxy(dsn, chance.randrange(10_000, len(_FILE) // 2)) as proxy:
            sides[side] = proxy.dsn
            arguments = [word for pair in sides.items() for word in pair]
            assert_one_line(Cli()("copy", *arguments, *names), 3, "STORE_UNREACHABLE")
        assert file_of(target) == b""
    Cli()("copy", "--from", dsn, "--to", dsn, *names).ok()
    assert file_of(target) == file_of(store)
