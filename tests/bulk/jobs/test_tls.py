"""Sources by https: only from a server whose certificate is the host's, and by one that the machine trusts."""

from __future__ import annotations

import random
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from evtool.errors import EvtoolError, SourceRefused, SourceUnreachable
from tests.bulk.jobs.test_remote import QUICK, got
from tests.bulk.jobs.web import Web

CONTENT = random.Random(3).randbytes(600_000)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Somebody who signs certificates."""
    return trustme.CA()


@pytest.fixture
def serve(authority: trustme.CA) -> Iterator[Callable[..., Web]]:
    """Starts servers whose certificates are for names of one's own choice."""
    started: list[Web] = []

    def make(*names: str, signed_by: trustme.CA = authority) -> Web:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        signed_by.issue_cert(*names).configure_cert(context)
        started.append(Web(CONTENT, tls=context))
        return started[-1].__enter__()

    yield make
    for web in started:
        web.__exit__()


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Any]:
    """An empty file."""
    with open(tmp_path / "file", "w+b") as opened:
        yield opened


@pytest.fixture(autouse=True)
def trusted(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine trusts that authority, as OpenSSL lets an administrator say."""
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))


def refused(url: str, file: Any, kind: type[EvtoolError], **given: Any) -> EvtoolError:
    """The error of a URL of which nothing comes."""
    with pytest.raises(kind) as caught:
        got(url, file, **given)
    assert file.seek(0, 2) == 0
    return caught.value


def test_a_source_by_https(serve: Callable[..., Web], file: Any) -> None:
    """A URL becomes a file of the same bytes, also where the connection is cut in between."""
    web = serve("localhost")
    assert got(web.url(host="localhost"), file) == CONTENT
    file.truncate(0)
    web.cut_after = 250_000
    assert got(web.url(host="localhost"), file) == CONTENT
    assert web.requests[-1] is not None


def test_a_certificate_of_another_host_is_refused(serve: Callable[..., Web], file: Any) -> None:
    """The name in the URL counts, and neither the address that it leads to nor whatever else the authority signed."""
    refused(serve("127.0.0.1", "example.org").url(host="localhost"), file, SourceUnreachable)
    refused(serve("localhost").url(host="127.0.0.1"), file, SourceUnreachable)


def test_a_certificate_of_a_stranger_is_refused(serve: Callable[..., Web], file: Any) -> None:
    """One that nobody vouches for is as good as none."""
    web = serve("localhost", signed_by=trustme.CA())
    assert "certificate" in refused(web.url(host="localhost"), file, SourceUnreachable).message
    assert web.requests == []


def test_a_redirect_from_https_to_http_is_refused(serve: Callable[..., Web], file: Any) -> None:
    """What began where nobody could listen does not go on where everybody can; https to https does."""
    web, other = serve("localhost"), serve("localhost")
    web.redirect("/other", other.url(host="localhost"))
    assert got(web.url("/other", host="localhost"), file) == CONTENT
    file.truncate(0)
    with Web(CONTENT) as plain:
        web.redirect("/plain", plain.url())
        assert "https to http" in refused(web.url("/plain", host="localhost"), file, SourceRefused).message
        assert plain.requests == []


def test_private_addresses_are_refused_before_a_handshake(serve: Callable[..., Web], file: Any) -> None:
    """A good certificate does not make a loopback address a public one."""
    web = serve("localhost")
    refused(web.url(host="localhost"), file, SourceRefused, allow_private=False)
    assert web.requests == []


def test_a_handshake_that_never_ends_is_left(file: Any) -> None:
    """A server that accepts and says nothing is left when the time is up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken: list[socket.socket] = []
        threading.Thread(target=lambda: taken.append(listener.accept()[0]), daemon=True).start()
        refused(
            f"https://127.0.0.1:{listener.getsockname()[1]}/",
            file,
            SourceUnreachable,
            limits=type(QUICK)(seconds=1, idle_seconds=5, attempts=1, pause=0.01),
        )
        for connection in taken:
            connection.close()
