"""What a comparison of a file with a namespace finds, and what it does not mistake for a difference."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evtool.connecting import SQLITE_MEMORY, open_store
from evtool.errors import ImportRefused
from evtool.imports import ImportPlan
from evtool.model import Selection
from evtool.store import Store
from evtool.testing.contract.helping import records
from evtool.verifying import Kind, Scope, Verification, verify_file
from tests.cli.running import Cli, assert_one_line
from tests.thoroughness import examples
from tests.transfer.lines import line, lines

Verify = Callable[..., Verification]

_MANY = 2500
_FIELDS: dict[str, Any] = {
    "id": "00000000-0000-4000-8000-00000000000f",
    "stream": "account-2",
    "type": "Withdrawn",
    "pos": 77,
    "data": {"amount": 8},
    "meta": {},
    "time": "2025-07-15T10:00:00.000001Z",
}


@pytest.fixture
def memory() -> Iterator[Store]:
    """A namespace in memory."""
    with open_store(SQLITE_MEMORY) as store:
        yield store


@pytest.fixture
def verify(tmp_path: Path) -> Verify:
    """Compares the bytes of a file with a store."""

    def compare(store: Store, content: bytes, *arguments: Any, **options: Any) -> Verification:
        (tmp_path / "file").write_bytes(content)
        return verify_file(store, str(tmp_path / "file"), *arguments, **options)

    return compare


def found(verification: Verification) -> list[tuple[Any, ...]]:
    """The differences, as kind, position, line and fields."""
    return [(str(one.kind), one.position, one.line, one.fields) for one in verification.differences]


def test_what_was_imported_is_the_same(memory: Store, verify: Verify) -> None:
    """A file and the namespace that it was imported into are equal."""
    memory.import_batch(records(lines(range(1, _MANY))))
    result = verify(memory, lines(range(1, _MANY)))
    assert result == Verification(_MANY - 1, 0, 0, 0, (), Scope.POSITIONS, 1, _MANY - 1)
    assert result.equal


def test_missing_extra_and_different_are_told_with_their_places(memory: Store, verify: Verify) -> None:
    """Each kind of difference has its position, its line if it is in the file, its stream, and its fields."""
    memory.import_batch(records(lines([1, 3, 4, 5])))
    result = verify(memory, lines([1, 2]) + line(3, type="Other", data=[]) + line(5))
    assert found(result) == [
        ("missing", 2, 2, ()),
        ("different", 3, 3, ("type", "data")),
        ("extra", 4, None, ()),
    ]
    assert [one.stream for one in result.differences] == ["account-1"] * 3
    assert (result.same, result.missing, result.extra, result.different, result.lines) == (2, 1, 1, 1, 4)
    assert not result.equal


@pytest.mark.parametrize("field", _FIELDS)
def test_a_difference_in_any_field_is_found(memory: Store, verify: Verify, field: str) -> None:
    """No field is left out, and none is blamed for another."""
    memory.import_batch(records(lines([1, 7, 9])))
    assert found(verify(memory, line(1) + line(7, **{field: _FIELDS[field]}) + line(9))) == [
        ("different", 7, 2, (field,))
    ]


_SAME = {
    "exponent": (b"1e2", b"100"),
    "zeros": (b"1.50", b"1.5"),
    "minus zero": (b"-0", b"0"),
    "beyond floats": (b"1e400", b"1" + b"0" * 400),
    "spaces": (b'{"a":[1,2]}', b'{ "a" : [ 1 , 2 ] }'),
    "order of keys": (b'{"a":1,"b":2}', b'{"b":2,"a":1}'),
    "key twice": (b'{"a":1,"a":2}', b'{"a":2}'),
    "escapes": (b'"\\u00e9\\/"', '"é/"'.encode()),
    "pair of surrogates": (b'"\\ud83d\\ude00"', '"😀"'.encode()),
}
_DIFFERENT = {
    "last digit": (b"12345678901234567890123", b"12345678901234567890124"),
    "beyond floats": (b"9007199254740993", b"9007199254740992"),
    "true is not 1": (b'{"a":true}', b'{"a":1}'),
    "false is not 0": (b"[false]", b"[0]"),
    "text is not number": (b'"1"', b"1"),
    "null is not empty": (b"{}", b"null"),
    "order of a list": (b"[1,2]", b"[2,1]"),
    "null in an object": (b'{"a":null}', b"{}"),
    "case": (b'"A"', b'"a"'),
    "composed and not": ('"é"'.encode(), '"e\u0301"'.encode()),
}


@pytest.mark.parametrize(("one", "other"), _SAME.values(), ids=_SAME)
def test_another_spelling_is_no_difference(
    memory: Store, store: Store, verify: Verify, one: bytes, other: bytes
) -> None:
    """A value is the same however it is written, in a store that keeps the spelling and in one that doesn't."""
    for kept in (memory, store):
        kept.import_batch(records(line(1, data=one, meta=other)))
        assert verify(kept, line(1, data=other, meta=one)).equal
        assert verify(kept, line(1, data=one, meta=other)).equal


@pytest.mark.parametrize(("one", "other"), _DIFFERENT.values(), ids=_DIFFERENT)
def test_another_value_is_a_difference(memory: Store, store: Store, verify: Verify, one: bytes, other: bytes) -> None:
    """However close two values are, they are told apart."""
    for kept in (memory, store):
        kept.import_batch(records(line(1, data=one, meta=one)))
        assert found(verify(kept, line(1, data=other, meta=one))) == [("different", 1, 1, ("data",))]
        assert found(verify(kept, line(1, data=one, meta=other))) == [("different", 1, 1, ("meta",))]


def test_ids_and_times_are_compared_by_what_they_mean(memory: Store, verify: Verify) -> None:
    """An id in capitals and a time in another zone are the same."""
    memory.import_batch(records(line(1, id="abcdef01-0000-4000-8000-00000000000f")))
    assert verify(memory, line(1, id="ABCDEF01-0000-4000-8000-00000000000F", time="2025-07-15T12:00:00+02:00")).equal


_POSITIONS = st.integers(1, 40)


@settings(max_examples=examples(300), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data(), st.sets(_POSITIONS), st.sets(_POSITIONS), st.integers(0, 5))
def test_the_differences_are_those_of_two_dictionaries(
    memory: Store, verify: Verify, data: st.DataObject, ours: set[int], theirs: set[int], limit: int
) -> None:
    """Whatever is on either side, in whatever order the lines are: what is found is what two dictionaries differ in."""
    changed = data.draw(st.sets(st.sampled_from(sorted(ours & theirs)))) if ours & theirs else set()
    order = data.draw(st.permutations(sorted(ours)))
    file = b"".join(line(position, **({"type": "Changed"} if position in changed else {})) for position in order)
    memory.import_batch(records(lines(sorted(theirs))), ImportPlan(replace=True))
    within = range(min(ours), max(ours) + 1) if ours else range(0)
    expected = sorted(
        [("missing", position, order.index(position) + 1, ()) for position in ours - theirs]
        + [("different", position, order.index(position) + 1, ("type",)) for position in changed]
        + [("extra", position, None, ()) for position in theirs - ours if position in within],
        key=lambda difference: difference[1],
    )
    result = verify(memory, file, limit=limit)
    assert found(result) == expected[:limit]
    assert result.missing + result.extra + result.different == len(expected)
    assert result.same == len(ours & theirs - changed)
    assert result.equal == (not expected)


def test_a_file_in_any_order_is_compared(memory: Store, verify: Verify) -> None:
    """Lines may stand in any order; their numbers are those of the file."""
    memory.import_batch(records(lines(range(1, _MANY))))
    positions = list(range(1, _MANY))
    random.Random(5).shuffle(positions)
    result = verify(memory, lines(positions).replace(b'"amount":77}', b'"amount":78}'))
    assert found(result) == [("different", 77, positions.index(77) + 1, ("data",))]
    assert result.same == _MANY - 2


def test_only_the_files_own_stretch_is_compared(memory: Store, verify: Verify) -> None:
    """Without filters or a manifest, what lies before the first or behind the last position is not extra."""
    memory.import_batch(records(lines(range(1, 100))))
    result = verify(memory, lines(range(40, 60)))
    assert result.equal
    assert (result.from_position, result.to_position) == (40, 59)
    assert verify(memory, b"") == Verification(0, 0, 0, 0, (), Scope.POSITIONS, None, None)


def test_filters_say_what_the_file_is_to_hold(memory: Store, verify: Verify) -> None:
    """Messages that the filters don't choose are not extra; those that they choose are, up to the file's end."""
    memory.import_batch(records(lines([1, 3, 5, 7]) + lines([2, 4, 6, 8], stream="order-1")))
    file = lines([3, 5])
    assert [one[:2] for one in found(verify(memory, file))] == [("extra", 4)]
    own = Selection(categories=("account",))
    assert found(verify(memory, file, own)) == [("extra", 1, None, ())]
    assert found(verify(memory, b"", own)) == [("extra", position, None, ()) for position in (1, 3, 5, 7)]


@pytest.mark.parametrize("at", [0, 1, 2])
@pytest.mark.parametrize("order", [[1, 2, 3], [3, 1, 2]], ids=["in order", "not in order"])
@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (b"{\n", "INVALID_JSON"),
        (line(9, data=b'"\\u0000"'), "INVALID_JSON"),
        (line(9, data=b"1e999999"), "INVALID_JSON"),
        (line(9, pos=-1), "INVALID_RECORD"),
        (line(9, more=1), "INVALID_RECORD"),
        (line(9, time="2025-02-30T00:00:00Z"), "INVALID_TIME"),
    ],
)
def test_a_line_that_is_no_message_is_named(
    memory: Store, verify: Verify, at: int, order: list[int], bad: bytes, code: str
) -> None:
    """What an import would refuse is refused, with its line, wherever it stands."""
    memory.import_batch(records(lines([1, 2, 3])))
    good = [line(position) for position in order]
    with pytest.raises(ImportRefused) as refused:
        verify(memory, b"".join([*good[:at], bad, *good[at:]]))
    assert (refused.value.code, refused.value.line) == (code, at + 1)


@pytest.mark.parametrize("order", [[1, 2, 2], [2, 1, 2]])
def test_a_position_that_is_there_twice_is_refused(memory: Store, verify: Verify, order: list[int]) -> None:
    """No import would take such a file, so it can't be equal to a namespace."""
    memory.import_batch(records(lines([1, 2])))
    with pytest.raises(ImportRefused) as refused:
        verify(memory, lines(order))
    assert (refused.value.code, refused.value.line, refused.value.value) == ("POSITION_EXISTS", 3, 2)


@pytest.mark.parametrize("content", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("way", ["file", "pipe"])
def test_the_exit_code_tells_whether_anything_differs(
    cli: Cli, tmp_path: Path, content: Callable[[bytes], bytes], way: str
) -> None:
    """0 and nothing on stdout if all is the same; 4 and a line for each difference if not."""
    cli("import", stdin=lines([1, 2, 3])).ok()

    def run(file: bytes, *options: str) -> tuple[int, list[str], str]:
        (tmp_path / "file").write_bytes(content(file))
        given = str(tmp_path / "file") if way == "file" else "-"
        done = cli("verify", given, *options, stdin=b"" if way == "file" else content(file))
        return done.code, done.out.splitlines(), done.err

    code, out, err = run(lines([1, 2, 3]))
    assert (code, out) == (0, [])
    assert "3 the same, 0 missing, 0 extra, 0 different" in err
    assert "between the first and the last position in the file (positions 1 to 3)" in err
    code, out, err = run(line(1) + line(3, stream="a\nb") + line(4))
    assert code == 4
    assert [text.split()[:3] for text in out] == [
        ["extra", "position", "2"],
        ["different", "position", "3"],
        ["missing", "position", "4"],
    ]
    assert 'line 2  "a\\nb"' in out[1]
    assert out[1].endswith("  stream")
    assert "1 the same, 1 missing, 1 extra, 1 different" in err
    code, out, err = run(line(1) + line(3, stream="x") + line(4), "--limit", "1", "--progress", "none")
    assert (code, len(out), err) == (4, 1, "")


def test_json_is_one_object(cli: Cli, tmp_path: Path) -> None:
    """--json has these fields and no other, so that programs can rely on them; totals don't hang on --limit."""
    cli("import", stdin=lines([1, 2, 3, 5])).ok()
    file = tmp_path / "file"
    file.write_bytes(line(1) + line(3, type="X", time="2025-01-01T00:00:00Z") + lines([4, 5]))
    for limit, listed in ((100, 3), (1, 1), (0, 0)):
        done = cli("verify", file, "--json", "--limit", str(limit))
        assert done.code == 4
        result = json.loads(done.out)
        entries = {name: result.pop(name) for name in ("missing", "extra", "different")}
        assert result == {
            "file": str(file),
            "namespace": cli.namespace,
            "equal": False,
            "scope": "positions",
            "from_position": 1,
            "to_position": 5,
            "totals": {"compared": 4, "same": 2, "missing": 1, "extra": 1, "different": 1},
            "listed": listed,
            "manifest_faults": [],
        }
        assert sum(map(len, entries.values())) == listed
        if listed == 3:
            ids = {number: json.loads(line(number))["id"] for number in (2, 3, 4)}
            assert entries == {
                "missing": [{"gpos": 4, "line": 3, "stream": "account-1", "id": ids[4]}],
                "extra": [{"gpos": 2, "line": None, "stream": "account-1", "id": ids[2]}],
                "different": [{"gpos": 3, "line": 2, "stream": "account-1", "id": ids[3], "fields": ["type", "time"]}],
            }
    file.write_bytes(lines([1, 2, 3, 5]))
    same = json.loads(cli("verify", file, "--json").ok().out)
    assert same["equal"] is True
    assert same["totals"] == {"compared": 4, "same": 4, "missing": 0, "extra": 0, "different": 0}


def test_faults_of_the_file_are_told_on_one_line(cli: Cli, tmp_path: Path) -> None:
    """A file that is not there, a line that is none, a truncated archive: a code, the line, no traceback."""
    assert_one_line(cli("verify", tmp_path / "nosuch"), 1, "FILE", "nosuch")
    assert_one_line(cli("verify", tmp_path), 1, "FILE", "can't read")
    assert_one_line(cli("verify", "-", stdin=line(1) + b"{\n"), 1, "INVALID_JSON", "line 2")
    assert_one_line(cli("verify", "-", stdin=line(1) * 2), 4, "POSITION_EXISTS", "line 2")
    assert_one_line(cli("verify", "-", stdin=gzip.compress(line(1))[:-9]), 1, "truncated")
    assert cli("verify").code == 2
    assert cli("verify", "-", "--limit", "-1").code == 2


def test_the_filters_of_an_export_are_those_of_a_comparison(cli: Cli, tmp_path: Path) -> None:
    """What `export` chose by filters is equal for `verify` with the same filters."""
    cli("import", stdin=lines([1, 3]) + lines([2, 4], stream="order-1")).ok()
    file = tmp_path / "file"
    file.write_bytes(cli("export", "--categories", "order").ok().stdout)
    cli("verify", file, "--categories", "order").ok()
    done = cli("verify", file)
    assert (done.code, done.out.splitlines()[0].split()[:3]) == (4, ["extra", "position", "3"])
    assert "that the filters choose" in cli("verify", file, "--categories", "order").err


def test_every_kind_of_difference_has_a_word() -> None:
    """The words of the command line and of --json are the kinds'."""
    assert [str(kind) for kind in Kind] == ["missing", "extra", "different"]
