"""Files that are wrong: each fault is refused with its code, its line and its reason, and nothing is imported."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evtool.errors import ImportRefused
from evtool.importing import import_file
from evtool.imports import ImportSummary
from evtool.stores.postgres import PostgresStore
from tests.cli.running import Cli, assert_one_line
from tests.transfer.conftest import Contents
from tests.transfer.lines import line, lines

Import = Callable[[bytes], ImportSummary]
Read = Callable[[], Contents]

_ID = "1a2b3c4d-0000-4000-8000-000000000001"
_DEEP = 20_000

JSON = [
    b"nope\n",
    b"{\n",
    b"{}x\n",
    line(3)[:-2] + b"\n",
    line(3)[:-1] + line(4),
    b"[1]x\n",
    line(3, data=b"{'a':1}"),
    line(3, data=b"NaN"),
    line(3, data=b"Infinity"),
    line(3, data=b"01"),
    line(3, data=b"[1,]"),
    line(3, data=b'"\t"'),
    line(3, data=b'"\x01"'),
    line(3, data=b'"\\x"'),
    line(3, data=b'"\\u00g0"'),
    line(3, data=b""),
    line(3, data=b'"\xff"'),
    line(3, data=b'"\xed\xa0\x80"'),
    line(3, data=b'"\xc0\x80"'),
    line(3, stream=b'"a\xff-1"'),
    line(3, type=b'"\xfe"'),
    line(3, data=b'"\\u0000"'),
    line(3, data=b'{"\\u0000":1}'),
    line(3, data=b'[{"a":["x\\u0000y"]}]'),
    line(3, data=b'"\\\\\\u0000"'),
    line(3, meta=b'{"a":"\\u0000"}'),
    line(3, data=b'"\\ud800"'),
    line(3, data=b'"\\udc00\\ud800"'),
    line(3, data=b'{"\\ud83d":1}'),
    line(3, meta=b'"\\udfff x"'),
    line(3, stream=b'"a-\\ud800"'),
    line(3, type=b'"\\udc00"'),
    line(3, data=b"[" * _DEEP + b"]" * _DEEP),
    line(3, data=b'{"a":' * _DEEP + b"1" + b"}" * _DEEP),
    b"\xff\xfe" + line(3),
    line(3)[:-1] + b"\x00\n",
    line(3).decode().encode("utf-16-le"),
]

RECORDS = [
    b"[]\n",
    b"1\n",
    b"null\n",
    b'"x"\n',
    b"{}\n",
    *(line(3, **{name: ...}) for name in ("id", "stream", "type", "pos", "gpos", "data", "meta", "time")),
    line(3, extra=1),
    line(3, ID=_ID),
    line(3, global_position=3),
    *(line(3, **{name: None}) for name in ("id", "stream", "type", "pos", "gpos", "time")),
    *(line(3, **{name: 1}) for name in ("id", "stream", "type", "time")),
    *(line(3, **{name: "1"}) for name in ("pos", "gpos")),
    *(line(3, **{name: value}) for name in ("pos", "gpos") for value in (1.5, b"1.0", b"1e3", True, [], {}, b"-0.0")),
    line(3, pos=-1),
    line(3, pos=2**63),
    line(3, pos=10**30),
    line(0),
    line(-1),
    line(2**63),
    line(10**400),
    line(3, stream="a\0-1"),
    line(3, type="\0"),
    line(3, stream=b'"a\\u0000"'),
    *(
        line(3, id=value)
        for value in (
            "",
            "nope",
            _ID[:-1],
            _ID + "0",
            _ID.replace("-", ""),
            "{" + _ID + "}",
            " " + _ID,
            _ID + "\n",
            _ID.replace("a", "g"),
            "urn:uuid:" + _ID,
            _ID.replace("1", "١"),
        )
    ),
    *(
        line(3)[:-2] + b"," + again + b"}\n"
        for again in (b'"gpos":4', b'"id":"' + _ID.encode() + b'"', b'"data":1', b'"pos":0', b'"gp\\u006fs":4')
    ),
    b'{"gpos":4,' + line(3)[1:],
]

TIMES = [
    line(3, time=value)
    for value in (
        "",
        "now",
        "infinity",
        "2025",
        "2025-07-15",
        "2025-07-15T10:00:00",
        "2025-07-15T10:00:00.000000",
        "2025-07-15T10:00Z",
        "2025-07-15T10Z",
        "2025-07-15T10:00:00.Z",
        "2025-07-15T10:00:00.0000000Z",
        "2025-07-15T10:00:00,000000Z",
        "2025-07-15T24:00:00.000000Z",
        "2025-07-15T23:60:00.000000Z",
        "2025-07-15T23:59:60.000000Z",
        "2025-02-30T10:00:00.000000Z",
        "2023-02-29T10:00:00.000000Z",
        "2025-13-01T10:00:00.000000Z",
        "2025-00-10T10:00:00.000000Z",
        "2025-07-00T10:00:00.000000Z",
        "0000-01-01T00:00:00.000000Z",
        "10000-01-01T00:00:00.000000Z",
        "-2025-07-15T10:00:00.000000Z",
        "+2025-07-15T10:00:00.000000Z",
        "2025-7-15T10:00:00.000000Z",
        "20250715T100000Z",
        "2025-W29-2T10:00:00.000000Z",
        "2025-07-15T10:00:00.000000+2400",
        "2025-07-15T10:00:00.000000+02",
        "2025-07-15T10:00:00.000000+24:00",
        "2025-07-15T10:00:00.000000 UTC",
        "2025-07-15T10:00:00.000000ZZ",
        " 2025-07-15T10:00:00.000000Z",
        "2025-07-15T10:00:00.000000Z\n",
        "2025-07-15X10:00:00.000000Z",
        "٢025-07-15T10:00:00.000000Z",
        "1752573600",
        "0001-01-01T00:00:00.000000+01:00",
        "9999-12-31T23:59:59.999999-00:01",
        "2025-07-15T10:00:00.000000Z BC",
    )
]

WRONG = {"INVALID_JSON": JSON, "INVALID_RECORD": RECORDS, "INVALID_TIME": TIMES}


@pytest.mark.parametrize("code", WRONG)
def test_a_wrong_line_is_refused_and_nothing_is_imported(import_lines: Import, contents: Read, code: str) -> None:
    """The third line is wrong: it is named, and neither the lines before nor those behind it are there."""
    before = contents()
    # one namespace for all of them: each leaves it as it was
    for wrong in WRONG[code]:
        with pytest.raises(ImportRefused) as caught:
            import_lines(lines([1, 2]) + wrong + line(9))
        assert (caught.value.code, caught.value.line) == (code, 3), (wrong[:200], caught.value.message)
        assert caught.value.message, wrong[:200]
        assert "\n" not in caught.value.message, wrong[:200]
        assert contents() == before, wrong[:200]


def _with(gpos: int, like: int, **fields: Any) -> bytes:
    """A line that clashes with that of another position in one field only."""
    other = json.loads(line(like))
    return line(gpos, **{name: other[name] for name, wanted in fields.items() if wanted})


CLASHES = [
    ("POSITION_EXISTS", line(2, id=_ID, stream="other-1"), "global position 2 already exists"),
    ("ID_EXISTS", _with(9, 2, id=True), json.loads(line(2))["id"]),
    ("STREAM_POSITION_EXISTS", _with(9, 2, pos=True), "account-1, 1"),
]


@pytest.mark.parametrize(("code", "clash", "part"), CLASHES, ids=[code for code, *_ in CLASHES])
def test_a_clash_within_the_file_is_named(
    import_lines: Import, contents: Read, code: str, clash: bytes, part: str
) -> None:
    """Two lines of a file that can't both be: the second is named, with the value."""
    before = contents()
    with pytest.raises(ImportRefused, match=part) as caught:
        import_lines(lines([1, 2, 3]) + clash + line(10))
    assert (caught.value.code, caught.value.line) == (code, 4)
    assert contents() == before


@pytest.mark.parametrize(("code", "clash", "part"), CLASHES, ids=[code for code, *_ in CLASHES])
def test_a_clash_with_the_namespace_is_named(
    import_lines: Import, contents: Read, code: str, clash: bytes, part: str
) -> None:
    """A message that the namespace has: the line is named, with the value, and what was there stays as it was."""
    import_lines(lines([1, 2, 3]))
    before = contents()
    with pytest.raises(ImportRefused, match=part) as caught:
        import_lines(lines(range(20, 25)) + clash + line(30))
    assert (caught.value.code, caught.value.line) == (code, 6)
    assert contents() == before


def test_importing_twice_is_refused_at_the_first_line(import_lines: Import, contents: Read) -> None:
    """An import is not repeated by accident."""
    import_lines(lines(range(1, 2000)))
    before = contents()
    with pytest.raises(ImportRefused) as caught:
        import_lines(lines(range(1, 2000)))
    assert (caught.value.code, caught.value.line) == ("POSITION_EXISTS", 1)
    assert contents() == before


@pytest.mark.parametrize("later", [b"nope\n", line(8, time="now"), line(8, extra=1)])
@pytest.mark.parametrize("between", [0, 5000], ids=["next", "far"])
def test_the_first_fault_is_named_whoever_finds_it(
    import_lines: Import, contents: Read, later: bytes, between: int
) -> None:
    """What the server refuses at line 3 is reported, though a later line is no message at all."""
    before = contents()
    content = lines([1, 2, 2]) + lines(range(100, 100 + between)) + later
    with pytest.raises(ImportRefused) as caught:
        import_lines(content)
    assert (caught.value.code, caught.value.line) == ("POSITION_EXISTS", 3)
    assert contents() == before


def test_a_line_is_counted_once_whatever_its_names_hold(import_lines: Import) -> None:
    """Line breaks in names are not lines of the file: PostgreSQL counts them, the message doesn't."""
    odd = [line(n, stream=f"a\n\r\n{n}-\n1", type="x\ny", pos=0) for n in range(1, 400)]
    for at in (1, 200, 399):
        again = line(1000, stream=json.loads(odd[at - 1])["stream"], pos=0)
        with pytest.raises(ImportRefused) as caught:
            import_lines(b"".join([*odd[:at], again, *odd[at:]]))
        assert (caught.value.code, caught.value.line) == ("STREAM_POSITION_EXISTS", at + 1)


def test_a_name_that_no_index_takes_is_refused_with_its_line(import_lines: Import, contents: Read) -> None:
    """A stream's name must fit into an index entry; what doesn't compress to that is named."""
    before = contents()
    name = "".join(chr(0x4E00 + n * 7919 % 20000) for n in range(4000)) + "-1"
    with pytest.raises(ImportRefused) as caught:
        import_lines(line(1) + line(2, stream=name))
    assert (caught.value.code, caught.value.line) == ("IMPORT_FAILED", 2)
    assert name not in caught.value.message
    assert contents() == before


@pytest.mark.parametrize("blank", [b"\n", b"  \n", b"\r\n", b"\n\n\n"])
def test_a_blank_line_in_the_middle_is_refused(import_lines: Import, contents: Read, blank: bytes) -> None:
    """A blank line may be where something was lost, unless the file ends there."""
    before = contents()
    with pytest.raises(ImportRefused) as caught:
        import_lines(line(1) + blank + line(2))
    assert (caught.value.code, caught.value.line) == ("INVALID_JSON", 2)
    assert contents() == before


_FILE = lines(range(1, 2000))
_GZIP = gzip.compress(_FILE)

BROKEN = {
    "cut": (_GZIP[: len(_GZIP) // 2], "truncated"),
    "cut in the header": (_GZIP[:5], "truncated"),
    "cut in the trailer": (_GZIP[:-3], "truncated"),
    "flipped": (_GZIP[:3000] + bytes([_GZIP[3000] ^ 0xFF]) + _GZIP[3001:], "corrupt"),
    "wrong checksum": (_GZIP[:-8] + bytes([_GZIP[-8] ^ 1]) + _GZIP[-7:], "corrupt"),
    "garbage behind": (_GZIP + b"garbage", "corrupt"),
    "wrong method": (b"\x1f\x8b\x07" + _GZIP[3:], "corrupt"),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_gzip_file_is_refused_whole(store: PostgresStore, contents: Read, tmp_path: Path, broken: str) -> None:
    """What could be read of it isn't imported; the message names the file and what is wrong with it."""
    before = contents()
    content, word = BROKEN[broken]
    file = tmp_path / "broken.ndjson.gz"
    file.write_bytes(content)
    with pytest.raises(ImportRefused, match=word) as caught:
        import_file(store, str(file))
    assert caught.value.code == "IMPORT_FAILED"
    assert str(file) in caught.value.message
    assert contents() == before


def test_refusals_on_the_command_line(cli: Cli, contents: Read, tmp_path: Path) -> None:
    """One line with code, line and reason; a clash is exit code 4, a wrong file 1; never a value of data."""
    cli("import", stdin=lines([1, 2])).ok()
    before = contents()
    secret = line(5, data={"card": "4111-1111"}, time="yesterday")
    done = cli("import", stdin=line(4) + secret)
    assert_one_line(done, 1, "INVALID_TIME: line 2:", "2025-07-15T10:00:00.000000Z")
    assert "4111" not in done.err
    assert_one_line(
        cli("import", stdin=line(4) + line(2)), 4, "POSITION_EXISTS: line 2: global position 2 already exists"
    )
    assert_one_line(cli("import", stdin=b"nope"), 1, "INVALID_JSON: line 1:")
    assert_one_line(
        cli("import", stdin=gzip.compress(lines([7, 8, 9]))[:-9]), 1, "IMPORT_FAILED", "standard input is truncated"
    )
    missing = tmp_path / "nosuch.ndjson"
    assert_one_line(cli("import", "-i", missing), 1, str(missing), "No such file")
    assert_one_line(cli("import", "-i", tmp_path), 1, str(tmp_path), "directory")
    assert contents() == before
