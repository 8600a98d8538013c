"""What a comparison takes from the manifest beside a file: which messages belong to it, and what its bytes are."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from evtool.connecting import open_store
from evtool.errors import ManifestUnusable
from evtool.exporting import export_file
from evtool.imports import ImportPlan
from evtool.model import Selection
from evtool.store import Store
from evtool.testing.contract.helping import records
from evtool.verifying import Scope, Verification, verify_file
from tests.cli.running import Cli, assert_one_line
from tests.transfer.lines import line, lines

Make = Callable[[], Store]


@pytest.fixture(params=["postgres", "sqlite", "lmdb"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A namespace with messages of two categories, on each kind of store."""
    if request.param == "postgres":
        store = request.getfixturevalue("store")
        store.import_batch(records(_MESSAGES))
        yield store
        return
    with open_store(f"{request.param}://{tmp_path / 'store'}") as store:
        store.migrate()
        store.import_batch(records(_MESSAGES))
        yield store


_MESSAGES = lines(range(1, 100, 2)) + lines(range(2, 100, 2), stream="order-1")


def found(verification: Verification) -> list[tuple[str, int]]:
    """The differences, as kind and position."""
    return [(str(one.kind), one.position) for one in verification.differences]


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_an_export_is_equal_to_where_it_came_from(source: Store, tmp_path: Path, suffix: str) -> None:
    """And stays so when messages come after it, which do not belong to it."""
    path = str(tmp_path / f"out{suffix}")
    export_file(source, path)
    source.write_message(None, "account-2", "Late", None)
    result = verify_file(source, path)
    assert result == Verification(99, 0, 0, 0, (), Scope.MANIFEST, 1, 99)


def test_the_manifest_says_which_messages_belong_to_the_file(source: Store, tmp_path: Path) -> None:
    """Its filters and its watermark: what they leave out isn't extra, and what they hold is, even beyond the last line."""
    path = str(tmp_path / "out")
    export_file(source, path, Selection(categories=("account",), from_position=10))
    assert verify_file(source, path).equal
    content = Path(path).read_bytes()
    Path(path).write_bytes(b"".join(content.splitlines(keepends=True)[1:-1]))
    result = verify_file(source, path)
    assert found(result) == [("extra", 11), ("extra", 99)]
    assert len(result.faults) == 2
    Path(path).write_bytes(b"")
    assert verify_file(source, path).extra == content.count(b"\n")


def test_an_increment_is_compared_with_what_came_since(source: Store, tmp_path: Path) -> None:
    """What the export before it holds is not extra, and neither is what came later."""
    first, second = str(tmp_path / "first"), str(tmp_path / "second")
    export_file(source, first)
    for _ in range(3):
        source.write_message(None, "account-2", "Since", {})
    export_file(source, second, previous=f"{first}.manifest.json")
    source.write_message(None, "account-2", "Later", {})
    result = verify_file(source, second)
    assert (result.same, result.equal, result.scope) == (3, True, Scope.MANIFEST)
    assert (result.from_position, result.to_position) == (100, 102)
    last = (tmp_path / "second").read_bytes().splitlines(keepends=True)[-1]
    source.import_batch(records(last), ImportPlan(replace=True))
    assert found(verify_file(source, second)) == [("missing", 100), ("missing", 101)]


def test_an_empty_increment_is_equal(source: Store, tmp_path: Path) -> None:
    """Nothing came, nothing is in the file, nothing is extra."""
    export_file(source, str(tmp_path / "first"))
    export_file(source, str(tmp_path / "second"), previous=str(tmp_path / "first.manifest.json"))
    source.write_message(None, "account-2", "Later", {})
    assert verify_file(source, str(tmp_path / "second")) == Verification(0, 0, 0, 0, (), Scope.MANIFEST, None, None)


@pytest.fixture
def exported(cli: Cli, tmp_path: Path) -> Path:
    """A file with its manifest."""
    cli("import", stdin=lines([1, 2, 3])).ok()
    cli("export", "-o", tmp_path / "out").ok()
    return tmp_path / "out"


def test_a_file_that_was_changed_is_told_by_its_manifest(cli: Cli, exported: Path) -> None:
    """The same messages in other bytes: no message differs, but the file is not the one that was exported."""
    good = exported.read_bytes()
    cli("verify", exported).ok()
    for content, words in (
        (good + b"\n", ["bytes"]),
        (good.replace(b'"amount": 1}', b'"amount":  1}').replace(b'"amount": 2}', b'"amount":2}'), ["sha256"]),
        (b"".join(good.splitlines(keepends=True)[:2]), ["bytes", "holds 2 messages"]),
    ):
        exported.write_bytes(content)
        done = cli("verify", exported)
        assert done.code == 4
        faults = [text for text in done.out.splitlines() if text.startswith("manifest: ")]
        assert len(faults) == len(words)
        for word, fault in zip(words, faults, strict=True):
            assert word in fault
        result = json.loads(cli("verify", exported, "--json").out)
        assert (result["equal"], result["scope"]) == (False, "manifest")
        assert [f"manifest: {fault}" for fault in result["manifest_faults"]] == faults


def test_a_manifest_elsewhere_is_named(cli: Cli, exported: Path, tmp_path: Path) -> None:
    """--manifest names it; without one the file's own stretch is compared."""
    manifest = tmp_path / "out.manifest.json"
    elsewhere = manifest.rename(tmp_path / "elsewhere.json")
    exported.write_bytes(exported.read_bytes() + b"\n")
    cli("verify", exported).ok()
    assert cli("verify", exported, "--manifest", elsewhere).code == 4
    assert_one_line(cli("verify", exported, "--manifest", tmp_path / "nosuch"), 1, "nosuch")


def test_a_damaged_manifest_is_not_trusted(cli: Cli, exported: Path, tmp_path: Path) -> None:
    """It is named, and nothing is compared."""
    manifest = tmp_path / "out.manifest.json"
    manifest.write_text(manifest.read_text().replace('"count": 3', '"count": 4'))
    with pytest.raises(ManifestUnusable), open_store(cli.dsn or "", cli.namespace) as store:
        verify_file(store, str(exported))
    assert cli("verify", exported).code != 0
    assert cli("verify", exported).out == ""


def test_filters_go_before_the_manifest(cli: Cli, exported: Path) -> None:
    """They say which messages belong to the file; what its bytes are the manifest says all the same."""
    cli("import", stdin=line(10, stream="other-1")).ok()
    done = cli("verify", exported, "--to-position", "10", "--json")
    result = json.loads(done.out)
    assert (done.code, result["scope"], [one["gpos"] for one in result["extra"]]) == (4, "filters", [10])
    cli("verify", exported, "--to-position", "10", "--categories", "account").ok()
