"""New connections: name look-up, TCP, the proxy's CONNECT and TLS, all within one time.

Addresses are tried one after another in the resolver's order; each gets an equal share of the time that is left, so
that one dead address does not use up what the next would need.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
import time
from typing import Any

import gevent
from gevent import socket as gevent_socket

from request_callout.transport.connection import Connection
from request_callout.transport.destination import Rules
from request_callout.transport.message import OutgoingRequest, TransportError
from request_callout.transport.response import ClosedBeforeResponse, read_head
from request_callout.transport.tls import TlsContexts, tls_failure
from request_callout.transport.url import Proxy, Target, ascii_host

_PLAIN_WORDS = {
    errno.ECONNREFUSED: "connection refused",
    errno.ECONNRESET: "connection reset",
    errno.ETIMEDOUT: "connection timed out",
    errno.ENETUNREACH: "network unreachable",
    errno.EHOSTUNREACH: "host unreachable",
}


def dial(
    request: OutgoingRequest,
    target: Target,
    proxy: Proxy | None,
    contexts: TlsContexts,
    max_header_bytes: int,
    rules: tuple[Rules, ...],
) -> Connection:
    """Connect for ``request``, if ``rules`` allow the target's addresses; a proxy's own are not for them.

    Raises ``TransportError`` (``dns``, ``destination``, ``connect``, ``proxy``, ``tls``, ``timeout``).
    """
    stated = request.connect_timeout_s
    allowed = stated
    if request.deadline is not None:
        allowed = min(stated, request.deadline - time.monotonic())
    if allowed <= 0:
        raise _timed_out(stated, allowed)
    timer = gevent.Timeout(allowed)
    timer.start()
    try:
        context = contexts.get(request) if target.tls else None
        addresses = _addresses(target if proxy is None else proxy.target)
        if proxy is None:
            for one in rules:
                one.check_addresses(target.host, [str(address[0]) for _, address in addresses])
        sock = _connect(addresses, target.host, time.monotonic() + allowed)
        try:
            if context is not None:
                if proxy is not None:
                    _open_tunnel(sock, target, proxy, max_header_bytes)
                sock = _start_tls(sock, request, target, context)
            return Connection(sock, target.tls)
        except BaseException:
            sock.close()
            raise
    except gevent.Timeout as raised:
        if raised is not timer:
            raise
        raise _timed_out(stated, allowed) from None
    finally:
        timer.close()


def _addresses(target: Target) -> list[tuple[int, Any]]:
    if target.family is not None:
        return [(target.family, (target.host, target.port))]
    try:
        found = gevent_socket.getaddrinfo(target.host, target.port, 0, socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise TransportError("dns", f"can't resolve {target.host}: {(error.strerror or 'unknown').lower()}") from error
    return [(family, address) for family, _, _, _, address in found]


def _connect(addresses: list[tuple[int, Any]], host: str, until: float) -> Any:
    failures: list[str] = []
    for position, (family, address) in enumerate(addresses):
        sock = None
        try:
            sock = gevent_socket.socket(family, socket.SOCK_STREAM)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            others = len(addresses) - position - 1
            # The last one is bounded by the timer around all of this, which says so in its message.
            sock.settimeout(max((until - time.monotonic()) / (others + 1), 0.001) if others else None)
            sock.connect(address)
            sock.settimeout(None)
        except OSError as error:
            if sock is not None:
                sock.close()
            failures.append(f"{_words(error)} by {_shown(family, address)}")
        except BaseException:
            if sock is not None:
                sock.close()
            raise
        else:
            return sock
    raise TransportError("connect", "; ".join(failures) or f"no address for {host}")


def _words(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in its share of the time"
    number = error.errno or 0
    return _PLAIN_WORDS.get(number) or (os.strerror(number).lower() if number else str(error))


def _shown(family: int, address: tuple[Any, ...]) -> str:
    return f"[{address[0]}]:{address[1]}" if family == socket.AF_INET6 else f"{address[0]}:{address[1]}"


def _open_tunnel(sock: Any, target: Target, proxy: Proxy, max_header_bytes: int) -> None:
    """Ask the proxy for a tunnel to the target (RFC 9110 section 9.3.6)."""
    where = target.origin.removeprefix("https://")
    authorization = f"Proxy-Authorization: {proxy.authorization}\r\n" if proxy.authorization is not None else ""
    name = f"the proxy {proxy.target.authority}"
    try:
        sock.sendall(f"CONNECT {where} HTTP/1.1\r\nHost: {where}\r\n{authorization}\r\n".encode("ascii"))
        head = read_head(sock.recv, max_header_bytes)
    except ClosedBeforeResponse:
        raise TransportError("proxy", f"{name} closed the connection") from None
    except TransportError as error:
        raise TransportError("proxy", f"{name}: {error}") from error
    except OSError as lost:
        raise TransportError("proxy", f"{name}: {_words(lost)}") from lost
    if not 200 <= head.status < 300:
        raise TransportError("proxy", f"{name} answered {head.status} to CONNECT")
    if head.excess:
        raise TransportError("proxy", f"{name} sent data before the tunnel was in use")


def _start_tls(sock: Any, request: OutgoingRequest, target: Target, context: ssl.SSLContext) -> Any:
    name = _server_name(request.ssl_server_name) if request.ssl_server_name else target.host
    wrapped = None
    try:
        wrapped = context.wrap_socket(
            sock, server_hostname=name.rstrip("."), do_handshake_on_connect=False, suppress_ragged_eofs=False
        )
        wrapped.do_handshake()
    except ssl.SSLError as error:
        _close(wrapped)
        raise tls_failure(error) from error
    except ValueError as wrong_name:
        _close(wrapped)
        raise TransportError("tls", f"TLS failed: {name} can't be used as a server name") from wrong_name
    except OSError as lost:
        _close(wrapped)
        raise TransportError("tls", f"TLS failed: {_words(lost)}") from lost
    except BaseException:
        _close(wrapped)
        raise
    return wrapped


def _server_name(name: str) -> str:
    try:
        return name if ":" in name else ascii_host(name)
    except TransportError as error:
        raise TransportError("tls", "the server name for TLS is not a valid host name") from error


def _close(sock: Any) -> None:
    if sock is not None:
        sock.close()


def _timed_out(stated: float, allowed: float) -> TransportError:
    if allowed < stated:
        return TransportError("timeout", "connect stopped: the deadline of all callouts has passed")
    return TransportError("timeout", f"connect timed out after {stated * 1000:.0f} ms")
