"""CSV as it comes: each line of hostile files has its verdict, and no line swallows another."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Callable

import pytest

from evtool.bulk.framing import Format
from evtool.errors import ImportRefused
from tests.bulk.imports.conftest import Shop

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

HEADER = b"id,slug,note\n"


def things(shop: Shop) -> object:
    return shop.table("id integer PRIMARY KEY, slug text, note text")


@pytest.mark.parametrize(
    ("content", "codes", "rows"),
    [
        pytest.param(HEADER + b"1,a,x\n2,b,y\n", {}, [(1, "a", "x"), (2, "b", "y")], id="plain"),
        pytest.param(b"\xef\xbb\xbf" + HEADER + b"1,a,x\n", {}, [(1, "a", "x")], id="byte-order mark"),
        pytest.param(b"id,slug,note\r\n1,a,x\r\n2,b,y\r\n", {}, [(1, "a", "x"), (2, "b", "y")], id="CRLF"),
        pytest.param(b"id,slug,note\r\n1,a,x\n2,b,y\r\n", {}, [(1, "a", "x"), (2, "b", "y")], id="LF among CRLF"),
        pytest.param(HEADER + b"1,a,x\n2,b,y", {}, [(1, "a", "x"), (2, "b", "y")], id="no final newline"),
        pytest.param(HEADER + b'1,a,"x"', {}, [(1, "a", "x")], id="no newline after a quote"),
        pytest.param(HEADER + b"1,a,x\r", {}, [(1, "a", "x")], id="ends in the middle of CRLF"),
        pytest.param(HEADER + b"\n1,a,x\n\n\n2,b,y\n\n", {}, [(1, "a", "x"), (2, "b", "y")], id="blank lines"),
        pytest.param(HEADER, {}, [], id="only a header"),
        pytest.param(b'"id","slug","note"\n"1","a","x"\n', {}, [(1, "a", "x")], id="everything quoted"),
        pytest.param(HEADER + b'1,"a,b","x ""y"""\n', {}, [(1, "a,b", 'x "y"')], id="commas and quotes in quotes"),
        pytest.param(HEADER + b'1,"a\nb\r\nc",x\n9,b\n', {5: ["invalid_csv"]}, [(1, "a\nb\r\nc", "x")], id="line breaks"),
        pytest.param(HEADER + b'1,,""\n', {}, [(1, None, "")], id="missing is not empty"),
        pytest.param(HEADER + b'1, a ,"  "\n', {}, [(1, " a ", "  ")], id="spaces stay"),
        pytest.param(HEADER + b"1,\\N,\\.\n\\.\n2,a\\tb,\\\n", {3: ["invalid_csv"]}, [(1, "\\N", "\\."), (2, "a\\tb", "\\")], id="backslashes mean nothing"),
        pytest.param(HEADER + b'1,a,"x\n\\.\ny"\n', {}, [(1, "a", "x\n\\.\ny")], id="a lone backslash and point in quotes"),
        pytest.param(HEADER + b"1,a\tb,x\n", {}, [(1, "a\tb", "x")], id="a tab"),
        pytest.param(HEADER + b'1,a,"x\n2,b,y\n3,c,z\n', {2: ["invalid_csv"]}, [(2, "b", "y"), (3, "c", "z")], id="a quote that is never closed"),
        pytest.param(HEADER + b'1,a,"x\n2,"b",y\n3,c,z\n', {2: ["invalid_csv"]}, [(2, "b", "y"), (3, "c", "z")], id="a quote that another one closes"),
        pytest.param(HEADER + b'1,a,x"y\n2,b"b",y\n3,c,z\n', {2: ["invalid_csv"], 3: ["invalid_csv"]}, [(3, "c", "z")], id="a quote inside a field"),
        pytest.param(HEADER + b'1,a,"x"y\n2,b,y\n', {2: ["invalid_csv"]}, [(2, "b", "y")], id="something behind a quote"),
        pytest.param(HEADER + b"1,a\n2,b,y,z\n,\n3,c,z\n", {2: ["invalid_csv"], 3: ["invalid_csv"], 4: ["invalid_csv"]}, [(3, "c", "z")], id="too few and too many fields"),
        pytest.param(HEADER + b'1,"a\nb"\n3,c,z\n', {2: ["invalid_csv"]}, [(3, "c", "z")], id="too few fields over two lines"),
        pytest.param(HEADER + b"1,a,x\ry\n2,b,y\n", {2: ["invalid_csv"]}, [(2, "b", "y")], id="a carriage return in a field"),
        pytest.param(HEADER + b"1,a,\xe9t\xe9\n2,b,\xc3\xa9t\xc3\xa9\n", {2: ["invalid_utf8"]}, [(2, "b", "été")], id="latin-1"),
        pytest.param(HEADER + b"1,a,\xed\xa0\x80\n2,b,\xc0\x80\n3,c,\xff\n4,d,y\n", {2: ["invalid_utf8"], 3: ["invalid_utf8"], 4: ["invalid_utf8"]}, [(4, "d", "y")], id="surrogates and overlong bytes"),
        pytest.param(HEADER + b"1,a,x\0y\n2,b,y\n", {2: ["invalid_csv"]}, [(2, "b", "y")], id="NUL"),
        pytest.param(HEADER + "1,a,\u2028\x85\x0b\x0c\x1c\n2,b,\U0001f600\n".encode(), {}, [(1, "a", "\u2028\x85\x0b\x0c\x1c"), (2, "b", "\U0001f600")], id="what only Python takes for line breaks"),
        pytest.param(b"note,id\nx,1\n", {}, [(1, None, "x")], id="another order, a column less"),
    ],
)  # fmt: skip
def test_each_line_has_its_verdict(
    shop: Shop, content: bytes, codes: dict[int, list[str]], rows: list[tuple[object, ...]]
) -> None:
    """What can be taken apart is in the table as it stood in the file; what can't is refused at the line it starts."""
    imported = shop.load(things(shop), content)  # type: ignore[arg-type]
    assert imported.codes == codes
    assert shop.rows("SELECT id, slug, note FROM things ORDER BY id") == rows


@pytest.mark.parametrize("batch", [1, 2, 1000])
def test_the_text_of_a_refused_record_is_the_file_s(shop: Shop, batch: int) -> None:
    """The report has what stood in the file, quotes and line breaks included, whatever the size of the batch."""
    raws = ['x,a,"b ""c"""', 'y,"a\r\nb",c', "z,,", "4,a", '5,"never,closed', "w,\\N,\t"]
    imported = shop.load(things(shop), HEADER + "\r\n".join([*raws, ""]).encode(), batch=batch)  # type: ignore[arg-type]
    assert [one["raw"] for one in imported.rejects] == raws
    assert [one["line"] for one in imported.rejects] == [2, 3, 5, 6, 7, 8]
    assert imported.rejects[0]["errors"][0]["value"] == "x"


def test_lines_of_megabytes(shop: Shop) -> None:
    """A field of three megabytes arrives, quoted or not, and is refused in full where its record is."""
    long = "å" * 1_500_000
    content = f'id,slug,note\n1,{long},x\n2,"{long}\n",y\nno,{long},z\n'.encode()
    imported = shop.load(things(shop), content)  # type: ignore[arg-type]
    assert shop.rows("SELECT id, octet_length(slug) FROM things ORDER BY id") == [(1, 3_000_000), (2, 3_000_001)]
    assert imported.codes == {5: ["invalid_id"]}
    assert imported.rejects[0]["raw"] == f"no,{long},z"


def test_a_record_of_more_than_the_limit_is_refused_and_the_next_is_not(shop: Shop) -> None:
    """A line beyond 8 MiB is refused, and a quote that is never closed costs its line only."""
    huge = b"x" * (9 << 20)
    content = HEADER + b"1,a," + huge + b"\n2,b,y\n" + b'3,c,"z\n' + (b"4,d," + b"w" * 996 + b"\n") + b"," * 3
    imported = shop.load(things(shop), content)  # type: ignore[arg-type]
    assert imported.codes == {2: ["invalid_csv"], 4: ["invalid_csv"], 6: ["invalid_csv"]}
    assert len(imported.rejects[0]["raw"]) == 1000
    assert shop.values("SELECT id FROM things ORDER BY id") == [2, 4]


@pytest.mark.parametrize("compress", [gzip.compress, zstd.compress], ids=["gzip", "zstd"])
def test_a_compressed_file_is_known_by_its_content(shop: Shop, compress: Callable[[bytes], bytes]) -> None:
    """Neither gzip nor zstd needs a name for it."""
    imported = shop.load(things(shop), compress(HEADER + b"1,a,x\n"), "file.csv")  # type: ignore[arg-type]
    assert imported.report.inserted == 1


@pytest.mark.parametrize(
    "content",
    [b"", b"\n1,a,x\n", b"id,slug,id\n1,a,2\n", b"id,slug,nosuch\n1,a,x\n", b"\xe9,slug\n", b'"id,slug,note\n1,a,x\n',
     b"id,slug,note\r1,a,x\r"],
    ids=["empty", "no header", "a name twice", "an unknown column", "not UTF-8", "a broken header", "line ends of 1999"],
)  # fmt: skip
def test_a_file_whose_header_says_nothing_is_refused_as_a_whole(shop: Shop, content: bytes) -> None:
    """Without a header no record could be understood: the file is refused, and nothing is imported."""
    resource = things(shop)
    with pytest.raises(ImportRefused):
        shop.load(resource, content, "file.csv", format=None)  # type: ignore[arg-type]
    assert shop.rows("SELECT FROM things") == []


def test_columns_can_be_named_and_others_passed_over(shop: Shop) -> None:
    """--columns is the header of a file without one; --ignore-unknown passes over what the table doesn't have."""
    resource = things(shop)
    imported = shop.load(resource, b"x,1,other\n", columns=("note", "id", "unknown"), ignore_unknown=True)  # type: ignore[arg-type]
    assert imported.report.inserted == 1
    assert shop.rows("SELECT id, note FROM things") == [(1, "x")]


@pytest.mark.parametrize("blank", [b"\n", b"\r\n\n\n", b"\n" * 200_000])
def test_blank_lines_before_the_header(shop: Shop, blank: bytes) -> None:
    """They are passed over, as those between records are; lines are counted with them, and nothing but them is no file."""
    things = shop.table("id integer PRIMARY KEY")
    imported = shop.load(things, blank + b"id\n1\nx\n", "file.csv", format=Format.CSV)
    assert imported.codes == {blank.count(b"\n") + 3: ["invalid_id"]}
    with pytest.raises(ImportRefused, match="no header"):
        shop.load(things, blank, "blank.csv", format=Format.CSV)
