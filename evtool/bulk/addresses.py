"""Connections that reach public addresses only: what httpcore opens its sockets by.

The address that is judged is the one that is connected to: a name is resolved once, here, and not again by whoever
connects. Every redirect is a connection, and so is judged too.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import time
from collections.abc import Iterable
from typing import Any

import httpcore

from evtool.errors import SourceRefused

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Addresses of the translators between both families (RFC 6052) hold an IPv4 address in their last four bytes. Those of
# a network's own translators (RFC 8215) hold it where that network likes: nobody can tell which, and none is public.
_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")
# Never assigned to a host, but is_global for Python: old IPv4-compatible addresses, site-local ones.
_OUTDATED = (ipaddress.IPv6Network("::/96"), ipaddress.IPv6Network("fec0::/10"))


def is_public(address: str) -> bool:
    """Whether an IP address is one of the Internet's.

    Private, loopback, link-local, shared, multicast and reserved ones aren't, nor what leads to such a one.
    """
    # the zone of a link-local address
    found: _Address = ipaddress.ip_address(address.partition("%")[0])
    return _is_public(found)


def _is_public(address: _Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if inner is None and address in _TRANSLATED:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return _is_public(inner)
        if any(address in network for network in _OUTDATED):
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _resolve(host: str, port: int) -> list[str]:
    """The addresses of a host, each once."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpcore.ConnectError(f"the host {host} can't be found") from error
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Guard(httpcore.NetworkBackend):
    """Opens connections to public addresses, and ends all of them at a deadline."""

    def __init__(self, *, allow_private: bool, deadline: float) -> None:
        """Prepares; nothing is connected.

        Args:
            allow_private: reach any address.
            deadline: of `time.monotonic()`; behind it every operation times out.
        """
        self._inner = httpcore.SyncBackend()
        self._allow_private = allow_private
        self._deadline = deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connects to the first address of the host that answers.

        Raises:
            SourceRefused: one of its addresses isn't public: a name that has both kinds is up to something.
            httpcore.ConnectError: there is no such host, or none of its addresses answers.
        """
        addresses = _resolve(host, port)
        if not self._allow_private and not all(is_public(address) for address in addresses):
            raise SourceRefused(
                f"the host {host} has an address that is not public",
                hint="sources inside a network are fetched by workers that were started with --allow-private",
            )
        failure: Exception | None = None
        for address in addresses:
            left = remaining(self._deadline, timeout, httpcore.ConnectTimeout)
            try:
                stream = self._inner.connect_tcp(address, port, left, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return _Bounded(stream, self._deadline)
        raise failure or httpcore.ConnectError(f"the host {host} has no address")


class _Bounded(httpcore.NetworkStream):
    """A connection all of whose operations end at a deadline, however slowly the other side drips."""

    def __init__(self, inner: httpcore.NetworkStream, deadline: float) -> None:
        self._inner = inner
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """See httpcore."""
        return self._inner.read(max_bytes, remaining(self._deadline, timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """See httpcore."""
        self._inner.write(buffer, remaining(self._deadline, timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        """See httpcore."""
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """See httpcore; the certificate must be the host's, and not the address's."""
        left = remaining(self._deadline, timeout, httpcore.ConnectTimeout)
        return _Bounded(self._inner.start_tls(ssl_context, server_hostname, left), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        """See httpcore."""
        return self._inner.get_extra_info(info)


def remaining(deadline: float, timeout: float | None, expired: type[Exception]) -> float:
    """How long an operation may take: its own time, but never beyond the deadline.

    Raises:
        expired: the deadline has passed.
    """
    left = deadline - time.monotonic()
    if left <= 0:
        raise expired("the time limit is reached")
    return left if timeout is None else min(left, timeout)
