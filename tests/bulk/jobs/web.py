"""A web server on the loopback interface that does what real ones do, and what only broken ones do."""

from __future__ import annotations

import contextlib
import hashlib
import ssl
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class Web:
    """Serves a content. What it does wrong is set by its attributes.

    Attributes:
        content: of every path, unless `answers` has it.
        etag: whether there is one.
        ranges: whether it knows Range.
        cut_after: sends so many bytes of a body and hangs up; None never does.
        change_on_cut: has another content once it has hung up.
        pace: seconds between pieces of 1,000 bytes.
        endless: never comes to an end, and doesn't say how long it is.
        answers: by path, a handler.
        requests: the Range of each request, or None.
    """

    def __init__(self, content: bytes = b"", tls: ssl.SSLContext | None = None) -> None:
        self.content = content
        self.etag = True
        self.ranges = True
        self.cut_after: int | None = None
        self.change_on_cut: bytes | None = None
        self.pace = 0.0
        self.endless = False
        self.chunked = False
        self.answers: dict[str, Callable[[BaseHTTPRequestHandler], None]] = {}
        self.requests: list[str | None] = []
        web = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                web.requests.append(self.headers["Range"])
                with contextlib.suppress(OSError):
                    web.answers.get(self.path.partition("?")[0], web.serve)(self)

            def log_message(self, *_: Any) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._scheme = "https" if tls else "http"
        if tls is not None:
            # the handshake in the thread of its connection, where a failure is that connection's
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False, suppress_ragged_eofs=True
            )
            self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    def url(self, path: str = "/file.csv", host: str = "127.0.0.1") -> str:
        """Of a path."""
        return f"{self._scheme}://{host}:{self.port}{path}"

    def redirect(self, path: str, to: str, status: int = 302) -> None:
        """Lets a path lead to another place."""

        def answer(request: BaseHTTPRequestHandler) -> None:
            request.send_response(status)
            request.send_header("Location", to)
            request.send_header("Content-Length", "0")
            request.end_headers()

        self.answers[path] = answer

    def status(self, path: str, *codes: int, **headers: str) -> None:
        """Lets a path answer these codes in turn, and then the content."""
        left = list(codes)

        def answer(request: BaseHTTPRequestHandler) -> None:
            if not left:
                self.serve(request)
                return
            request.send_response(left.pop(0))
            for name, value in headers.items():
                request.send_header(name.replace("_", "-"), value)
            request.send_header("Content-Length", "0")
            request.end_headers()

        self.answers[path] = answer

    def serve(self, request: BaseHTTPRequestHandler) -> None:
        """Sends the content, or the part that is asked for."""
        tag = f'"{hashlib.sha256(self.content).hexdigest()[:16]}"'
        start = 0
        asked = request.headers["Range"]
        if asked and self.ranges and request.headers["If-Range"] in {None, tag}:
            start = int(asked.removeprefix("bytes=").partition("-")[0])
        total = len(self.content)
        if start and start >= total:
            request.send_response(416)
            request.send_header("Content-Range", f"bytes */{total}")
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        request.send_response(206 if start else 200)
        if start:
            request.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        if self.etag:
            request.send_header("ETag", tag)
        if self.endless or self.chunked:
            request.send_header("Transfer-Encoding", "chunked")
        else:
            request.send_header("Content-Length", str(total - start))
        request.send_header("Connection", "close")
        request.end_headers()
        request.close_connection = True
        self._body(request, start)

    def _body(self, request: BaseHTTPRequestHandler, start: int) -> None:
        sent = 0
        while self.endless:
            request.wfile.write(b"3e8\r\n" + b"x" * 1000 + b"\r\n")
            time.sleep(self.pace)
        for at in range(start, len(self.content), 1000):
            piece = self.content[at : at + 1000]
            if self.cut_after is not None and sent + len(piece) > self.cut_after:
                if self.change_on_cut is not None:
                    self.content, self.change_on_cut = self.change_on_cut, None
                return
            request.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if self.chunked else piece)
            sent += len(piece)
            time.sleep(self.pace)
        if self.chunked:
            request.wfile.write(b"0\r\n\r\n")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
