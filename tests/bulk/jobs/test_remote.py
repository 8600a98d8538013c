"""Sources on the web: whole or refused, in bounded time and space, and from public addresses only."""

from __future__ import annotations

import gzip
import random
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from evtool.bulk import remote
from evtool.bulk.addresses import is_public
from evtool.bulk.remote import Half, Limits, fetch
from evtool.errors import EvtoolError, SourceError, SourceRefused, SourceTooLarge, SourceUnreachable
from tests.bulk.jobs.web import Web

CONTENT = random.Random(1).randbytes(100_000)
OTHER = random.Random(2).randbytes(90_000)
QUICK = Limits(seconds=20, idle_seconds=2, attempts=3, pause=0.01)


@pytest.fixture
def web() -> Iterator[Web]:
    """A server that behaves, until it is told not to."""
    with Web(CONTENT) as server:
        yield server


@pytest.fixture
def file(tmp_path: Any) -> Iterator[Any]:
    """An empty file."""
    with open(tmp_path / "file", "w+b") as opened:
        yield opened


def got(url: str, file: Any, half: Half | None = None, **given: Any) -> bytes:
    """What comes of a URL."""
    fetch(url, file, half, **{"limits": QUICK, "allow_private": True, **given})
    file.seek(0)
    content: bytes = file.read()
    return content


def refused(url: str, file: Any, kind: type[EvtoolError], **given: Any) -> EvtoolError:
    """The error of a URL that doesn't come."""
    with pytest.raises(kind) as caught:
        got(url, file, **given)
    return caught.value


def test_a_file_comes_whole(web: Web, file: Any) -> None:
    """A URL becomes a file of the same bytes, in one request, with a length or in chunks."""
    assert got(web.url(), file) == CONTENT
    web.chunked = True
    file.truncate(0)
    assert got(web.url(), file) == CONTENT
    assert web.requests == [None, None]


def test_a_connection_that_is_cut_is_gone_on_with(web: Web, file: Any) -> None:
    """Where the server knows ranges, only what is missing is asked for, however often it hangs up."""
    web.cut_after = 30_000
    assert got(web.url(), file) == CONTENT
    assert web.requests == [None, "bytes=30000-", "bytes=60000-", "bytes=90000-"]


def test_a_cut_in_chunks_is_noticed(web: Web, file: Any) -> None:
    """A chunked body that ends without its end is not taken for whole."""
    web.chunked = True
    web.cut_after = 60_000
    assert got(web.url(), file) == CONTENT
    assert web.requests == [None, "bytes=60000-"]


@pytest.mark.parametrize("lacks", ["ranges", "etag"])
def test_without_ranges_or_etag_it_begins_again(web: Web, file: Any, lacks: str) -> None:
    """What can't be gone on with safely is fetched from the beginning, and never twice in one file."""
    setattr(web, lacks, False)
    web.cut_after = 50_000
    error = refused(web.url(), file, SourceUnreachable)
    assert "3 attempts" in error.message
    web.cut_after = None
    assert got(web.url(), file) == CONTENT


def test_a_file_that_changes_in_the_middle_is_not_mixed(web: Web, file: Any) -> None:
    """Where the ETag is another after a cut, the new content comes whole, and nothing of the old is left."""
    web.cut_after = 60_000
    web.change_on_cut = OTHER
    assert got(web.url(), file) == OTHER


@pytest.mark.parametrize(
    "header", ["bytes 5-99999/100000", "bytes 30000-99999/123456", "bytes 30000-99999", "", "bytes x"]
)
def test_another_part_than_was_asked_for_is_not_taken(web: Web, file: Any, header: str) -> None:
    """A 206 whose range, size or ETag is not what was asked for makes it begin again."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        if request.headers["Range"] is None:
            web.cut_after = None if len(web.requests) > 1 else 30_000
            web.serve(request)
            return
        request.send_response(206)
        request.send_header("Content-Range", header)
        request.send_header("Content-Length", "70000")
        request.end_headers()
        request.wfile.write(b"z" * 70_000)

    web.answers["/file.csv"] = answer
    assert got(web.url(), file) == CONTENT


def test_what_is_there_already_is_only_asked_about(web: Web, file: Any) -> None:
    """A file that an earlier worker has fetched to the end costs one request, and no bytes."""
    notes: list[Half] = []
    got(web.url(), file, remember=notes.append)
    web.requests.clear()
    assert got(web.url(), file, notes[-1]) == CONTENT
    assert web.requests == ["bytes=100000-"]
    web.content = OTHER
    assert got(web.url(), file, notes[-1]) == OTHER


def test_a_server_that_is_busy_is_asked_again(web: Web, file: Any) -> None:
    """503 and the like are waited for, as long as the server says; 404 is an answer."""
    web.status("/busy", 503, 429, Retry_After="1")
    started = time.monotonic()
    assert got(web.url("/busy"), file) == CONTENT
    assert time.monotonic() - started >= 2
    web.status("/gone", 404)
    assert "404" in refused(web.url("/gone"), file, SourceRefused).message


def test_compressed_content_stays_as_it_is(web: Web, file: Any) -> None:
    """A file that was compressed before is not unpacked on its way."""
    web.content = gzip.compress(CONTENT)
    assert got(web.url("/file.csv.gz"), file) == web.content


def test_a_body_without_an_end_of_its_own_is_refused(web: Web, file: Any) -> None:
    """Without a length and without chunks nobody could tell a whole file from a cut one."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Connection", "close")
        request.end_headers()
        request.wfile.write(b"half of it")

    web.answers["/file.csv"] = answer
    assert "how long" in refused(web.url(), file, SourceRefused).message


def test_chunks_count_where_there_is_a_length_too(web: Web, file: Any) -> None:
    """A body in chunks is taken by its chunks, whatever length its headers tell besides."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n")
        request.wfile.write(b"5\r\nhello\r\n0\r\n\r\n")
        request.close_connection = True

    web.answers["/file.csv"] = answer
    assert got(web.url(), file) == b"hello"
    assert len(web.requests) == 1


def test_what_is_too_large_is_refused_before_it_comes(web: Web, file: Any) -> None:
    """By what the server says of its size, and else as soon as the limit is reached."""
    small = Limits(bytes=50_000, seconds=20, idle_seconds=2, attempts=3, pause=0.01)
    refused(web.url(), file, SourceTooLarge, limits=small)
    assert file.seek(0, 2) == 0
    web.endless = True
    refused(web.url(), file, SourceTooLarge, limits=small)
    assert file.seek(0, 2) <= 50_000


def test_slowness_has_an_end(web: Web, file: Any) -> None:
    """A server that sends forever, a little at a time, is left when the time is up."""
    web.pace = 0.2
    web.endless = True
    started = time.monotonic()
    refused(web.url(), file, SourceUnreachable, limits=Limits(seconds=1, idle_seconds=5, attempts=3, pause=0.01))
    assert time.monotonic() - started < 4


@pytest.mark.parametrize("what", [b"", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_headers_that_drip_have_an_end(file: Any, what: bytes) -> None:
    """A server that says nothing, or never comes to the end of its headers, is left when the time is up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            try:
                connection, _ = listener.accept()
                with connection:
                    while True:
                        connection.sendall(what or b"")
                        if what.endswith(b"X: "):
                            connection.sendall(b"x")
                        time.sleep(0.05)
            except OSError:
                return

        threads = [threading.Thread(target=drip, daemon=True) for _ in range(3)]
        for thread in threads:
            thread.start()
        started = time.monotonic()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        refused(url, file, SourceUnreachable, limits=Limits(seconds=1, idle_seconds=5, attempts=2, pause=0.01))
        assert time.monotonic() - started < 5


def test_redirects_are_followed_and_counted(web: Web, file: Any) -> None:
    """A few redirects lead to the file, absolute or relative; a circle is refused."""
    web.redirect("/a", "/b", 301)
    web.redirect("/b", web.url("/file.csv"), 307)
    assert got(web.url("/a"), file) == CONTENT
    web.redirect("/round", "/round")
    assert "redirects more than 5" in refused(web.url("/round"), file, SourceRefused).message


@pytest.mark.parametrize(
    "to", ["file:///etc/passwd", "ftp://example.org/x", "http://user:pw@127.0.0.1/", "", "http://[x"]
)
def test_redirects_lead_nowhere_else(web: Web, file: Any, to: str) -> None:
    """A redirect to another scheme, with a password, or to nothing is refused."""
    web.redirect("/a", to)
    refused(web.url("/a"), file, SourceRefused)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "0"])
def test_private_addresses_are_refused(web: Web, file: Any, host: str) -> None:
    """A loopback address is refused, however it is written, and nobody is connected to."""
    refused(web.url(host=host), file, SourceRefused, allow_private=False)
    assert web.requests == []


def test_a_redirect_to_a_private_address_is_refused(web: Web, file: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A public server can't send a worker into its own network: each redirect's address is judged."""
    _let_be_public(monkeypatch, "public.example", "127.0.0.1")
    web.redirect("/a", web.url("/secret"))
    refused(web.url("/a", host="public.example"), file, SourceRefused, allow_private=False)
    assert len(web.requests) == 1


def test_a_name_that_is_resolved_anew_is_judged_anew(web: Web, file: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is public when it is looked at first, and private afterwards, is never connected to at the latter."""
    asked: list[str] = []

    def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    monkeypatch.setattr("evtool.bulk.addresses._resolve", resolve)
    judged = iter([True, False])
    monkeypatch.setattr("evtool.bulk.addresses.is_public", lambda _: next(judged))
    web.cut_after = 30_000
    refused(web.url(host="rebinds.example"), file, SourceRefused, allow_private=False)
    # the second connection was refused on its own address; what is connected to is what was judged
    assert asked == ["rebinds.example"] * 2
    assert web.requests == [None]


def test_a_name_with_both_kinds_of_addresses_is_refused(web: Web, file: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One private address among public ones is enough."""
    monkeypatch.setattr("evtool.bulk.addresses._resolve", lambda *_: ["8.8.8.8", "10.0.0.1"])
    refused("http://both.example/", file, SourceRefused, allow_private=False)


def _let_be_public(monkeypatch: pytest.MonkeyPatch, host: str, address: str) -> None:
    """Stands in for DNS, and for the loopback interface being a public one as long as it has that name."""
    seen: list[str] = []

    def resolve(name: str, _: int) -> list[str]:
        seen.append(name)
        return [address if name == host else name]

    monkeypatch.setattr("evtool.bulk.addresses._resolve", resolve)
    monkeypatch.setattr("evtool.bulk.addresses.is_public", lambda _: seen[-1] == host)


@pytest.mark.parametrize(
    "address",
    [
        *(
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
        ),
        *("255.255.255.255", "240.0.0.1", "192.0.2.1", "198.18.0.1", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1"),
        *("ff02::1", "2001:db8::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1"),
        *("2002:7f00:1::", "2002:a00:1::", "::127.0.0.1", "fec0::1", "2001:0:7f00:1::"),
        *("64:ff9b:1::7f00:1", "64:ff9b:1:7f00:0:100:808:808", "::ffff:0:7f00:1"),
    ],
)
def test_what_is_not_public(address: str) -> None:
    """Private, loopback, link-local, shared, multicast and reserved addresses aren't public, nor what leads to such."""
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_what_is_public(address: str) -> None:
    """Addresses of the Internet are, also in their IPv6 forms."""
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        *("file:///etc/passwd", "ftp://host/x", "gopher://host", "http:///x", "http://", "http://user@host/"),
        *("https://user:pw@host/", "http://host:99999/", "http://host:0/", "http://ho st/", "http://host/a b"),
        *("http://host/\r\nX: y", "http://host/é", "http://[::1", "http://host/" + "x" * 4000, "javascript://x"),
    ],
)
def test_urls_that_are_no_sources(url: str) -> None:
    """Other schemes, passwords, missing hosts and signs that don't belong into a URL are refused before any connection."""
    with pytest.raises(SourceRefused) as caught:
        remote.check_url(url)
    assert "pw" not in caught.value.message


def test_a_query_is_not_shown() -> None:
    """What opens the door stays out of messages and logs."""
    assert remote.shown("https://host:8443/a/b.csv?token=secret") == "https://host:8443/a/b.csv"


def test_stopping_ends_a_fetch_between_two_pieces(web: Web, file: Any) -> None:
    """A worker that shall end does not wait for the rest of the file."""
    web.pace = 0.01
    asked: list[float] = []

    def proceed(seconds: float) -> bool:
        asked.append(seconds)
        return len(asked) < 5

    refused(web.url(), file, SourceError, proceed=proceed)
    assert 0 < file.seek(0, 2) < len(CONTENT)


def test_a_host_that_is_not_there_is_given_up(file: Any) -> None:
    """A port that nobody listens on, or a name that nobody has, is tried a few times and then said."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    refused(f"http://127.0.0.1:{port}/", file, SourceUnreachable)
    refused("http://nobody.invalid/", file, SourceUnreachable)
