"""Laws of increments: exports that go on from each other's manifests hold each message once, or are refused."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from evtool import files
from evtool.errors import IncrementRefused, InvalidArgument
from evtool.exporting import export_file
from evtool.imports import ImportPlan
from evtool.model import Selection
from evtool.store import Store
from evtool.testing.contract.helping import MakeNamespace, append, file_of, record, records, spread


class Chain:
    """Exports of a store, each from the manifest of the one before."""

    def __init__(self, store: Store, folder: Path, selection: Selection | None = None) -> None:
        self.content = b""
        self.manifests: list[Path] = []
        self._store = store
        self._folder = folder
        self._selection = selection

    def take(self) -> int:
        """The next export; returns how many messages it has."""
        path = self._folder / f"{len(self.manifests)}.ndjson"
        previous = str(self.manifests[-1]) if self.manifests else None
        summary = export_file(self._store, str(path), None if previous else self._selection, previous=previous)
        assert summary.manifest is not None
        self.manifests.append(summary.manifest)
        self.content += path.read_bytes()
        return summary.exported

    def facts(self) -> dict[str, Any]:
        """What the last manifest says."""
        found: dict[str, Any] = json.loads(self.manifests[-1].read_text("utf-8"))
        return found


@pytest.mark.parametrize("data", [b"7" * 5000, b'{"gpos":5,"a":"\\",\\"gpos\\":6"}', b"[" * 400 + b"]" * 400])
def test_the_manifest_knows_the_first_position(store: Store, tmp_path: Path, data: bytes) -> None:
    """Whatever the first message holds, be it a number too long for Python."""
    store.import_batch([record(3, stream='a","gpos":9-1', data=data), record(4, "b-1")])
    chain = Chain(store, tmp_path)
    assert chain.take() == 2
    assert (chain.facts()["first_position"], chain.facts()["last_position"]) == (3, 4)


def test_increments_are_the_whole(store: Store, tmp_path: Path) -> None:
    """Each holds what came since the one before; one after the other they are an export of everything."""
    chain = Chain(store, tmp_path)
    assert chain.take() == 0
    counts = []
    for rounds in (1, 3, 0, 2):
        spread(store, ["order-1", "account-1", "order-2"], rounds)
        counts.append(chain.take())
    assert counts == [3, 9, 0, 6]
    assert chain.content == file_of(store)


def test_increments_keep_the_filters_of_the_first(store: Store, tmp_path: Path) -> None:
    """The filters stand in the manifest, and hold in every increment."""
    selection = Selection(("order",), streams=("order-1", "account-1"), from_position=5, to_position=20)
    chain = Chain(store, tmp_path, selection)
    for _ in range(5):
        spread(store, ["order-1", "account-1", "order-2"], rounds=2)
        chain.take()
    assert chain.content == file_of(store, selection)
    assert chain.content.count(b"\n") == 5
    assert chain.take() == 0


def test_the_manifest_says_what_the_file_holds(store: Store, tmp_path: Path) -> None:
    """Count, positions, filters, watermark, where from, and the file's size and sha256; and whom it goes on from."""
    at = datetime(2020, 1, 1, tzinfo=UTC)
    chain = Chain(store, tmp_path, Selection(categories=("order", "order"), since=at))
    spread(store, ["account-1", "order-1", "order-2"], rounds=2)
    chain.take()
    facts = chain.facts()
    content = (tmp_path / "0.ndjson").read_bytes()
    namespace = store.get_namespace(store.namespace)
    assert facts["count"] == 4
    assert (facts["first_position"], facts["last_position"], facts["after"]) == (2, 6, 0)
    assert (facts["file"], facts["size"], facts["compression"]) == ("0.ndjson", len(content), "none")
    assert facts["sha256"] == hashlib.sha256(content).hexdigest()
    assert facts["filters"] == {
        "categories": ["order"],
        "streams": [],
        "types": [],
        "correlation": None,
        "since": "2020-01-01T00:00:00.000000Z",
        "until": None,
        "from_position": None,
        "to_position": None,
    }
    assert facts["watermark"] == {"position": 6, "imports": 0}
    assert facts["namespace"]["name"] == namespace.name
    assert facts["namespace"]["store"] == store.kind
    assert facts["namespace"]["structure"] == store.structure_version()
    assert facts["previous"] is None
    chain.take()
    again = chain.facts()
    assert (again["count"], again["first_position"], again["last_position"], again["after"]) == (0, None, None, 6)
    assert again["previous"] == hashlib.sha256(chain.manifests[0].read_bytes()).hexdigest()
    assert again["filters"] == facts["filters"]


def test_an_import_above_the_watermark_is_in_the_increment(store: Store, tmp_path: Path) -> None:
    """What was imported behind the end of the earlier export comes with the next one, like anything else."""
    spread(store, ["order-1"], rounds=3)
    chain = Chain(store, tmp_path)
    chain.take()
    store.import_batch([record(10, "imported-1"), record(20, "imported-1", 1)])
    append(store, "order-1")
    assert chain.take() == 3
    append(store, "order-1")
    assert chain.take() == 1
    assert chain.content == file_of(store)


def test_an_import_below_the_watermark_is_refused_by_its_name(store: Store, tmp_path: Path) -> None:
    """Messages that came in behind the back of the earlier export would be missing: the import is named."""
    store.import_batch([record(100, "order-1")], ImportPlan(source="first.ndjson"))
    chain = Chain(store, tmp_path)
    chain.take()
    store.import_batch([record(100 + n, "order-1", n) for n in range(1, 4)], ImportPlan(source="above.ndjson"))
    assert chain.take() == 3
    store.import_batch([record(50, "late-1"), record(200, "late-1", 1)], ImportPlan(source="late.ndjson"))
    with pytest.raises(IncrementRefused) as refused:
        chain.take()
    assert "import number 3 of late.ndjson at " in refused.value.message
    assert "global positions 50 to 200, and the earlier export ended at 103" in refused.value.message
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        f"{number}.ndjson{suffix}" for number in (0, 1) for suffix in ("", files.MANIFEST_SUFFIX)
    )
    afresh = Chain(store, tmp_path)
    assert afresh.take() == 6


def test_an_import_that_replaced_everything_is_refused(store: Store, tmp_path: Path) -> None:
    """Even where nothing was put in the place of what was removed."""
    spread(store, ["order-1"], rounds=3)
    chain = Chain(store, tmp_path)
    chain.take()
    store.import_batch([record(500, "new-1")], ImportPlan(replace=True, source="new.ndjson"))
    with pytest.raises(IncrementRefused, match=r"new.ndjson at .* replaced all messages by those at"):
        chain.take()
    store.import_batch([], ImportPlan(replace=True))
    with pytest.raises(IncrementRefused, match="replaced all messages"):
        chain.take()


def test_other_filters_are_refused_and_the_same_are_not(store: Store, tmp_path: Path) -> None:
    """An increment with other filters would not fit to what went before."""
    spread(store, ["order-1", "account-1"])
    selection = Selection(("order", "account"), types=("Happened",))
    chain = Chain(store, tmp_path, selection)
    chain.take()
    previous, path = str(chain.manifests[0]), str(tmp_path / "next")
    for other in (Selection(("order",)), Selection(to_position=5), Selection(("order", "account"))):
        with pytest.raises(InvalidArgument, match="others were given"):
            export_file(store, path, other, previous=previous)
    same = Selection(("account", "order", "account"), types=("Happened",))
    assert export_file(store, path, same, previous=previous).exported == 0


def test_another_namespace_is_refused(store: Store, make_namespace: MakeNamespace, tmp_path: Path) -> None:
    """The manifest is of one namespace: not of another, nor of one of the same name that was made anew."""
    other = store.in_namespace(make_namespace())
    spread(other, ["order-1"], rounds=2)
    spread(store, ["order-1"], rounds=2)
    chain = Chain(other, tmp_path)
    chain.take()
    with pytest.raises(IncrementRefused, match=f'of the namespace "{other.namespace}" made at '):
        export_file(store, str(tmp_path / "next"), previous=str(chain.manifests[0]))
    content = file_of(other)
    other.delete_namespace(other.namespace)
    other.create_namespace(other.namespace)
    other.import_batch(records(content))
    with pytest.raises(IncrementRefused, match="made at "):
        chain.take()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.ndjson", f"0.ndjson{files.MANIFEST_SUFFIX}"]
