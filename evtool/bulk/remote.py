"""Sources on the web: a URL into a file, in bounded time and space, going on where a connection broke off.

What is half there is only gone on with where the server says that it is still the same: by a range that holds only if
the validator (a strong ETag, or an old enough Last-Modified) does. Else it begins again.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import BinaryIO
from urllib.parse import urljoin, urlsplit

import httpcore

from evtool import __version__
from evtool.bulk.addresses import Guard
from evtool.errors import FileError, SourceError, SourceRefused, SourceTooLarge, SourceUnreachable

SCHEMES = ("https", "http")

_LONGEST_URL = 4000
_CHUNK = 1 << 18
# What a server may say of a fault that passes.
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# What is recognised by its content afterwards, like a file that was compressed before.
_ENCODINGS = frozenset({"", "identity", "gzip", "x-gzip", "zstd"})
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_NOT_SATISFIED = re.compile(r"bytes \*/(\d+)")
# RFC 9110, 8.8.2.2: a file may change twice in a second.
_OLD_ENOUGH_SECONDS = 60
_LONGEST_PAUSE = 60.0


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a source may take.

    Attributes:
        bytes: of the file as it is sent.
        seconds: for all of it, pauses included.
        idle_seconds: without a byte.
        redirects: one after the other.
        attempts: in a row that got no further than the ones before.
        pause: before the second attempt; it doubles from then on.
    """

    bytes: int = 10 << 30
    seconds: float = 3600.0
    idle_seconds: float = 30.0
    redirects: int = 5
    attempts: int = 5
    pause: float = 1.0


@dataclass(frozen=True, slots=True)
class Half:
    """What is known of a file that is not all there.

    Attributes:
        validator: what the server knows this state of the file by; None: it can't be gone on with.
        total: its size.
    """

    validator: str | None = None
    total: int | None = None


class _Interrupted(Exception):
    """An attempt broke off; the next may get further.

    Attributes:
        pause: how long the server wants us to wait.
    """

    def __init__(self, message: str, pause: float = 0.0) -> None:
        super().__init__(message)
        self.pause = pause


def is_url(source: str) -> bool:
    """Whether a source is on the web, and not a file."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", source) is not None


def check_url(url: str) -> str:
    """The URL without its fragment, if it can be a source.

    Raises:
        SourceRefused: another scheme, a password in it, or it isn't one.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise SourceRefused("the source is not a URL", hint="write https://host/path") from error
    if parts.scheme.lower() not in SCHEMES:
        raise SourceRefused(
            f"sources are fetched by {' or '.join(SCHEMES)}, not by {parts.scheme[:20]}", hint="or name a file"
        )
    if parts.username is not None or parts.password is not None:
        # it would lie in the queue for everybody who may look at jobs
        raise SourceRefused("the URL has a user name or a password in it", hint="use a signed URL instead")
    if not parts.hostname or port == 0:
        raise SourceRefused("the URL names no host", hint="write https://host/path")
    if len(url) > _LONGEST_URL or not url.isascii() or any(c <= " " or c == "\x7f" or c in '<>"\\^`{|}' for c in url):
        raise SourceRefused(
            f"a URL has at most {_LONGEST_URL} characters, and other signs than RFC 3986's as %XX",
            hint="copy it from the browser's address bar",
        )
    return url.partition("#")[0]


def shown(url: str) -> str:
    """A URL for people: without its query, which may be what opens the door."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def fetch(
    url: str,
    file: BinaryIO,
    half: Half | None = None,
    *,
    limits: Limits | None = None,
    allow_private: bool = False,
    remember: Callable[[Half], object] = lambda _: None,
    proceed: Callable[[float], bool] | None = None,
) -> None:
    """Writes what a URL holds to a file, all of it.

    Args:
        url: the source.
        file: open for reading and writing; may hold the first part already.
        half: what that part is of.
        limits: None for the usual ones.
        allow_private: reach private, loopback and link-local addresses too.
        remember: told whenever it becomes known what the file is a part of, before its bytes are written.
        proceed: waits for some seconds, and says whether to go on. Asked between chunks too, with 0.

    Raises:
        SourceRefused: the URL or an address is not allowed, or the server refuses.
        SourceTooLarge: it is larger than allowed.
        SourceUnreachable: it could not be had in time, or not at all; later it may.
        FileError: the disk is too small.
    """
    download = _Download(check_url(url), file, half or Half(), limits or Limits(), remember, proceed or _wait)
    download.run(allow_private=allow_private)


def _wait(seconds: float) -> bool:
    time.sleep(seconds)
    return True


_PASSING_ERRORS = (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, _Interrupted)


class _Download:
    """A URL on its way into a file."""

    def __init__(
        self,
        url: str,
        file: BinaryIO,
        half: Half,
        limits: Limits,
        remember: Callable[[Half], object],
        proceed: Callable[[float], bool],
    ) -> None:
        self._url = url
        self._file = file
        self._half = half
        self._limits = limits
        self._remember = remember
        self._proceed = proceed
        self._furthest = 0

    def run(self, *, allow_private: bool) -> None:
        """See `fetch`."""
        deadline = time.monotonic() + self._limits.seconds
        self._furthest = self._size() if self._half.validator else 0
        failures = 0
        while True:
            before = self._furthest
            guard = Guard(allow_private=allow_private, deadline=deadline)
            # no connection is used twice, and no proxy of the environment, which would connect for us
            with httpcore.ConnectionPool(network_backend=guard, max_connections=1, retries=0) as pool:
                try:
                    self._attempt(pool)
                except (
                    httpcore.NetworkError,
                    httpcore.TimeoutException,
                    httpcore.ProtocolError,
                    _Interrupted,
                ) as error:
                    failure = error
                else:
                    return
            failures = 1 if self._furthest > before else failures + 1
            reason = str(failure) or type(failure).__name__
            pause = min(self._limits.pause * 2 ** (failures - 1), _LONGEST_PAUSE)
            if isinstance(failure, _Interrupted):
                pause = max(pause, min(failure.pause, _LONGEST_PAUSE))
            if time.monotonic() + pause >= deadline:
                raise SourceUnreachable(
                    f"{shown(self._url)} did not come in {self._limits.seconds:g} s: {reason}",
                    hint="raise --source-seconds, or fetch the file by hand",
                ) from failure
            if failures >= self._limits.attempts:
                raise SourceUnreachable(
                    f"{shown(self._url)} could not be had in {failures} attempts: {reason}",
                    hint="look whether the server is up; then: evtool bulk retry",
                ) from failure
            self._go_on(pause)

    def _attempt(self, pool: httpcore.ConnectionPool) -> None:
        url = self._url
        for _ in range(self._limits.redirects + 1):
            offset = self._size() if self._half.validator else 0
            with self._request(pool, url, offset) as response:
                if response.status not in _REDIRECTS:
                    self._receive(response, offset)
                    return
                url = _redirected(url, _headers(response))
        raise SourceRefused(
            f"{shown(self._url)} redirects more than {self._limits.redirects} times", hint="name where it leads to"
        )

    @contextmanager
    def _request(self, pool: httpcore.ConnectionPool, url: str, offset: int) -> Iterator[httpcore.Response]:
        headers = [("Accept-Encoding", "identity"), ("User-Agent", f"evtool/{__version__}"), ("Connection", "close")]
        if offset and self._half.validator:
            headers += [("Range", f"bytes={offset}-"), ("If-Range", self._half.validator)]
        idle = self._limits.idle_seconds
        timeouts = {"connect": idle, "read": idle, "write": idle, "pool": idle}
        with pool.stream("GET", url, headers=headers, extensions={"timeout": timeouts}) as response:
            yield response

    def _receive(self, response: httpcore.Response, offset: int) -> None:
        headers = _headers(response)
        if response.status == 416 and offset:
            found = _NOT_SATISFIED.fullmatch(headers.get("content-range", ""))
            if found and int(found[1]) == offset == (self._half.total or offset):
                return
            self._begin_again()
            raise _Interrupted("the server has another file by now")
        if response.status in _PASSING:
            raise _Interrupted(f"the server answers {response.status}", _retry_after(headers))
        if response.status not in {200, 206}:
            raise SourceRefused(
                f"the server answers {response.status} for {shown(self._url)}", hint="look whether the URL is right"
            )
        if headers.get("content-encoding", "").lower() not in _ENCODINGS:
            raise SourceRefused(f"{shown(self._url)} comes in an encoding that nobody asked for")
        if response.status == 206:
            self._check_range(headers, offset)
        else:
            self._begin_again()
            self._half = Half(_validator(headers), _length(headers, shown(self._url)))
            self._check_size(self._half.total)
            self._remember(self._half)
        self._copy(response)

    def _check_range(self, headers: Mapping[str, str], offset: int) -> None:
        found = _CONTENT_RANGE.fullmatch(headers.get("content-range", ""))
        tag = headers.get("etag")
        same = tag is None or self._half.validator is None or not self._half.validator.startswith('"')
        if (
            found is None
            or int(found[1]) != offset
            or not offset
            or (self._half.total is not None and found[3] not in {"*", str(self._half.total)})
            or not (same or tag == self._half.validator)
        ):
            self._begin_again()
            raise _Interrupted("the server sends another part than was asked for")
        if self._half.total is None and found[3] != "*":
            self._half = Half(self._half.validator, int(found[3]))
            self._check_size(self._half.total)
            self._remember(self._half)

    def _check_size(self, total: int | None) -> None:
        if total is None:
            return
        if total > self._limits.bytes:
            raise self._too_large()
        status = os.fstatvfs(self._file.fileno())
        if total - self._size() > status.f_bavail * status.f_frsize:
            raise FileError(
                f"{shown(self._url)} has {total} bytes, and the disk of the worker has not so many left",
                hint="free space, or name another folder with --spool",
            )

    def _copy(self, response: httpcore.Response) -> None:
        size = self._file.seek(0, os.SEEK_END)
        for chunk in response.iter_stream():
            for start in range(0, len(chunk), _CHUNK):
                part = chunk[start : start + _CHUNK]
                size += len(part)
                if size > self._limits.bytes:
                    raise self._too_large()
                self._file.write(part)
                self._furthest = max(self._furthest, size)
                self._go_on(0)
        self._file.flush()
        total = self._half.total
        if total is not None and size != total:
            if size > total:
                self._begin_again()
            raise _Interrupted(f"{size} of {total} bytes came")

    def _go_on(self, pause: float) -> None:
        self._file.flush()
        if not self._proceed(pause):
            raise SourceError("stopped while fetching", hint="the next worker goes on with it")

    def _begin_again(self) -> None:
        self._file.seek(0)
        self._file.truncate()
        self._half = Half()
        self._remember(self._half)

    def _size(self) -> int:
        return self._file.seek(0, os.SEEK_END)

    def _too_large(self) -> SourceTooLarge:
        return SourceTooLarge(
            f"{shown(self._url)} is larger than {self._limits.bytes} bytes", hint="raise --source-bytes of the workers"
        )


def _redirected(url: str, headers: Mapping[str, str]) -> str:
    location = headers.get("location", "")
    if not location:
        raise SourceRefused(f"{shown(url)} redirects to nowhere")
    try:
        target = check_url(urljoin(url, location))
    except ValueError as error:
        raise SourceRefused(f"{shown(url)} redirects to something that is no URL") from error
    if urlsplit(url).scheme.lower() == "https" and urlsplit(target).scheme.lower() != "https":
        raise SourceRefused(f"{shown(url)} redirects from https to http", hint="name where it leads to")
    return target


def _headers(response: httpcore.Response) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}


def _length(headers: Mapping[str, str], name: str) -> int | None:
    """How long the body will be; None where it says itself when it ends."""
    # RFC 9112, 6.3: where there are both, the chunks count
    if "chunked" in headers.get("transfer-encoding", "").lower():
        return None
    given = headers.get("content-length")
    if given is not None and given.isdigit():
        return int(given)
    raise SourceRefused(
        f"the server doesn't say how long {name} is, so nobody could tell whether all of it came",
        hint="fetch the file by hand",
    )


def _validator(headers: Mapping[str, str]) -> str | None:
    tag = headers.get("etag", "")
    if tag.startswith('"'):
        return tag
    modified = headers.get("last-modified")
    try:
        age = parsedate_to_datetime(headers["date"]) - parsedate_to_datetime(headers["last-modified"])
    except (KeyError, ValueError, TypeError):
        return None
    return modified if age.total_seconds() >= _OLD_ENOUGH_SECONDS else None


def _retry_after(headers: Mapping[str, str]) -> float:
    given = headers.get("retry-after", "")
    return float(given) if given.isascii() and given.isdigit() else 0.0
