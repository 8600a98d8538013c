"""Compressed files: written by option or suffix, read by content, and refused where they are not whole."""

from __future__ import annotations

import bz2
import gzip
import io
import os
import random
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evtool.compression import Compression, by_content, by_suffix, compressor
from evtool.errors import FileError, ImportRefused
from evtool.files import Input, open_input, open_output
from evtool.pumping import Pump
from tests.cli.running import Cli, assert_one_line
from tests.transfer.lines import lines

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CONTENT = lines(range(1, 3001))
COMPRESS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "zstd": zstd.compress}
DECOMPRESS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.decompress, "zstd": zstd.decompress}
NAMES = list(COMPRESS)


def _read(content: bytes) -> bytes:
    """What is read of a file with this content."""
    source = Input(io.BytesIO(content), "file")
    found = b""
    while piece := source.read(70_000):
        found += piece
    return found


@pytest.mark.parametrize("name", NAMES)
def test_what_is_written_others_can_read(cli: Cli, tmp_path: Path, name: str) -> None:
    """By option, by suffix, to a file or to a pipe: the same bytes, which other programs decompress to the same lines."""
    cli("import", stdin=CONTENT).ok()
    plain = cli("export").ok().stdout
    suffix = {"gzip": ".gz", "zstd": ".zst"}[name]
    piped = cli("export", f"--{name}").ok().stdout
    cli("export", f"--{name}", "-o", tmp_path / "by-option").ok()
    cli("export", "-o", tmp_path / f"by-suffix{suffix}").ok()
    assert piped == (tmp_path / "by-option").read_bytes() == (tmp_path / f"by-suffix{suffix}").read_bytes()
    assert DECOMPRESS[name](piped) == plain
    assert by_content(piped[:4]) == Compression(name)


@pytest.mark.parametrize("name", NAMES)
def test_what_others_wrote_is_read(cli: Cli, name: str) -> None:
    """Known by its content, on standard input as well, where there is no name."""
    cli("import", stdin=COMPRESS[name](CONTENT)).ok()
    assert cli("export").ok().stdout.count(b"\n") == 3000


@pytest.mark.parametrize("name", NAMES)
def test_members_one_after_the_other_are_one_file(name: str) -> None:
    """As `cat a.gz b.gz` makes them, empty ones among them, and cut in the middle of a line."""
    compress = COMPRESS[name]
    members = [CONTENT[:1000], b"", CONTENT[1000:1001], CONTENT[1001:]]
    assert _read(b"".join(map(compress, members))) == CONTENT
    assert _read(compress(b"")) == b""


def test_a_frame_that_zstd_skips_is_skipped() -> None:
    """A parallel compressor begins its files with one."""
    skipped = b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd"
    assert _read(skipped + zstd.compress(CONTENT)) == CONTENT
    assert _read(zstd.compress(CONTENT[:500]) + skipped + zstd.compress(CONTENT[500:])) == CONTENT


@pytest.mark.parametrize("name", NAMES)
def test_a_truncated_file_is_refused_wherever_it_ends(name: str) -> None:
    """Never taken for a shorter one: by its end, in its head, and in the middle."""
    whole = COMPRESS[name](CONTENT)
    chance = random.Random(1)
    for end in {
        *range(4, 40),
        *range(len(whole) - 20, len(whole)),
        *(chance.randrange(40, len(whole)) for _ in range(50)),
    }:
        with pytest.raises(ImportRefused) as refused:
            _read(whole[:end])
        assert refused.value.code == "IMPORT_FAILED", end
        assert f"its {name} data" in refused.value.message


@pytest.mark.parametrize("name", NAMES)
def test_a_second_member_that_is_truncated_is_refused(name: str) -> None:
    """The first was whole, the file isn't."""
    whole = COMPRESS[name](CONTENT)
    for end in (5, 12, 50, len(whole) - 1):
        with pytest.raises(ImportRefused):
            _read(whole + whole[:end])


@pytest.mark.parametrize("name", NAMES)
def test_a_corrupt_file_is_refused_or_is_what_it_was(name: str) -> None:
    """A bit that flipped is found by the checksum; what it does to a header's free fields does no harm."""
    written = io.BytesIO()
    made = compressor(Compression(name))
    written.write(made.compress(CONTENT) + made.flush())
    whole = written.getvalue()
    chance = random.Random(2)
    refused = 0
    for _ in range(300):
        at = chance.randrange(4, len(whole))
        broken = whole[:at] + bytes([whole[at] ^ (1 << chance.randrange(8))]) + whole[at + 1 :]
        try:
            assert _read(broken) == CONTENT
        except ImportRefused:
            refused += 1
    assert refused > 280


@pytest.mark.parametrize("name", NAMES)
def test_rubbish_behind_the_end_is_refused(name: str) -> None:
    """It is not read as lines, nor passed over."""
    with pytest.raises(ImportRefused):
        _read(COMPRESS[name](CONTENT) + b"rubbish")


@pytest.mark.parametrize("name", NAMES)
def test_nothing_stays_of_a_file_that_breaks_off(cli: Cli, name: str) -> None:
    """An import of it is refused in one line, and the namespace is as it was."""
    whole = COMPRESS[name](CONTENT)
    done = cli("import", stdin=whole[: len(whole) - 9])
    assert_one_line(done, 1, "IMPORT_FAILED", "truncated", f"its {name} data")
    assert cli("export").ok().stdout == b""


@pytest.mark.parametrize(
    "content", [b"", b"\x1f", b"\x28", b"\x28\xb5\x2f", b"{}", bz2.compress(b"x"), zlib.compress(b"x")]
)
def test_what_is_not_compressed_so_is_read_as_it_is(content: bytes) -> None:
    """A beginning of a sign is none."""
    assert _read(content) == content


@pytest.mark.parametrize("compression", list(Compression))
@pytest.mark.parametrize("hashed", [True, False])
def test_equal_content_gives_equal_bytes_however_it_comes(
    tmp_path: Path, compression: Compression, hashed: bool
) -> None:
    """In one piece or in many, of any size."""
    content = CONTENT * 6
    assert len(content) > 3 << 20
    chance = random.Random(3)
    found = set()
    for most in (len(content), 100_000, 1 << 20):
        path = tmp_path / f"{most}"
        with open_output(str(path), compression=compression, hashed=hashed) as output:
            start = 0
            while start < len(content):
                end = start + (most if most == len(content) else chance.randrange(1, most))
                output.write(content[start:end])
                start = end
        found.add(path.read_bytes())
        assert output.size == path.stat().st_size
    assert len(found) == 1
    assert _read(found.pop()) == content


def _fail_after(output: Pump, content: bytes) -> None:
    """Writes something, and then goes wrong."""
    output.write(content)
    raise KeyError


@pytest.mark.parametrize("size", [0, 20_000])
@pytest.mark.parametrize("compression", list(Compression))
def test_an_output_that_fails_has_no_end(tmp_path: Path, compression: Compression, size: int) -> None:
    """What was piped is not to be taken for whole; a file does not appear."""
    reading, writing = os.pipe()
    with pytest.raises(KeyError), open(writing, "wb") as raw, Pump(raw, compression) as pump:
        _fail_after(pump, CONTENT[:size])
    with open(reading, "rb") as rest:
        written = rest.read()
    if compression is not Compression.NONE:
        with pytest.raises(ImportRefused):
            _read(written)
    with pytest.raises(KeyError), open_output(str(tmp_path / "out"), compression=compression) as output:
        _fail_after(output, CONTENT)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("compression", list(Compression))
def test_a_full_disk_is_one_error(compression: Compression) -> None:
    """Whichever thread finds it out."""
    with pytest.raises(FileError, match="No space left"), open_output("/dev/full", compression=compression) as output:
        output.write(CONTENT * 40)


@pytest.mark.parametrize(
    ("name", "compression"),
    [("a.gz", "gzip"), ("a.NDJSON.GZ", "gzip"), ("a.zst", "zstd"), ("a.zstd", "zstd"), ("-", "none"), ("gz", "none")],
)
def test_a_suffix_says_how_it_is_compressed(name: str, compression: str) -> None:
    """The usual ones, in any case."""
    assert by_suffix(name) == compression


@pytest.mark.parametrize(("option", "name"), [("--gzip", "x.zst"), ("--zstd", "x.gz")])
def test_an_option_that_the_name_contradicts_is_wrong_usage(cli: Cli, tmp_path: Path, option: str, name: str) -> None:
    """Nobody finds gzip in a file that is called .zst; a name that says nothing fits both."""
    done = cli("export", option, "-o", tmp_path / name)
    assert done.code == 2
    assert f"{option} and the name" in done.err
    assert not (tmp_path / name).exists()
    cli("export", option, "-o", tmp_path / "x.ndjson").ok()


def test_both_options_are_wrong_usage(cli: Cli) -> None:
    """One has to be meant."""
    done = cli("export", "--gzip", "--zstd")
    assert done.code == 2
    assert "Give --gzip or --zstd, not both." in done.err


def test_without_zstd_it_is_said_how_to_get_it(cli: Cli, tmp_path: Path) -> None:
    """Both ways: one line with the command."""
    (tmp_path / "file").write_bytes(zstd.compress(CONTENT))
    hide = (
        "import sys; sys.modules['compression.zstd'] = sys.modules['backports.zstd'] = None;"
        "from evtool.cli.main import main; main()"
    )
    for arguments in (["export", "--zstd"], ["import", "-i", str(tmp_path / "file")]):
        done: Any = subprocess.run(
            [sys.executable, "-c", hide, *arguments], env=cli.environment(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        assert done.stderr.startswith("evtool: FILE: zstd is not installed — pip install 'evtool[zstd]'")
        assert done.stdout == ""


def test_an_input_that_breaks_while_it_is_opened_is_described(tmp_path: Path) -> None:
    """A folder, and a file that can't be read, are named."""
    with pytest.raises(FileError, match="Is a directory"), open_input(str(tmp_path)):
        pass
