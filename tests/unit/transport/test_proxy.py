from __future__ import annotations

from collections.abc import Callable

import gevent
import pytest
from gevent import socket as gevent_socket

from request_callout.transport import FailureKind, ProxySettings, Transport, TransportError

from .conftest import Send, Serve, ServerContext, request_for
from .literal_server import OK, Peer, answering, answering_once

CREDENTIALS = b"Proxy-Authorization: Basic dXNlcjpzZWNyZXQ=\r\n"
Make = Callable[..., Transport]


def tunnelling(port: int) -> Callable[[Peer], None]:
    """A forward proxy that asks for credentials and connects every CONNECT to this port."""

    def handle(peer: Peer) -> None:
        request = peer.request() or b""
        if CREDENTIALS not in request:
            peer.send(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            return
        with gevent_socket.create_connection(("127.0.0.1", port)) as other:
            peer.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = gevent.spawn(pump, other, peer.sock)
            pump(peer.sock, other)
            back.kill()

    return handle


def pump(source: gevent_socket.socket, target: gevent_socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
    except OSError:
        pass


def failure(transport: Transport, url: str, proxy: ProxySettings) -> tuple[FailureKind, str]:
    with pytest.raises(TransportError) as caught:
        transport.send(request_for(url, proxy=proxy))
    return caught.value.kind, str(caught.value)


def test_http_in_absolute_form(serve: Serve, send: Send) -> None:
    """An http request goes to the proxy with its whole URL and the proxy's credentials, on kept-alive connections."""
    server = serve(answering(OK))
    proxy = ProxySettings(server.url(""), "user", "secret")
    for _ in range(2):
        assert send("http://api.test:8080/p?q=1", proxy=proxy).body == b"ok"
    assert server.connections == 1
    assert server.requests[0] == b"GET http://api.test:8080/p?q=1 HTTP/1.1\r\nHost: api.test:8080\r\n" + (
        CREDENTIALS + b"\r\n"
    )


def test_https_through_a_tunnel(
    serve: Serve, make_transport: Make, server_context: ServerContext, ca_file: str
) -> None:
    """An https request goes through CONNECT; the server is verified, and never sees the proxy's credentials."""
    server = serve(answering(OK), server_context("api.test"))
    proxy_server = serve(tunnelling(server.port))
    transport = make_transport(ca_file=ca_file)
    proxy = ProxySettings(proxy_server.url(""), "user", "secret")
    for _ in range(3):
        assert transport.send(request_for("https://api.test/p", proxy=proxy)).body == b"ok"
    assert proxy_server.requests == [b"CONNECT api.test:443 HTTP/1.1\r\nHost: api.test:443\r\n" + CREDENTIALS + b"\r\n"]
    assert server.requests == [b"GET /p HTTP/1.1\r\nHost: api.test\r\n\r\n"] * 3
    assert failure(transport, "https://other.test/", proxy)[0] == "tls"


@pytest.mark.parametrize("status", [407, 403, 502, 302])
def test_refused_tunnel(serve: Serve, transport: Transport, status: int) -> None:
    """A proxy that refuses the tunnel is a failure of the proxy, with its status."""
    server = serve(answering_once(b"HTTP/1.1 %d No\r\nContent-Length: 3\r\n\r\nno!" % status))
    kind, message = failure(transport, "https://api.test/p?secret", ProxySettings(server.url("")))
    assert kind == "proxy"
    assert message == f"the proxy 127.0.0.1:{server.port} answered {status} to CONNECT (https://api.test/p)"
    assert server.connections == 1


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "closed the connection"),
        (b"HTTP/1.1 200", "the connection was closed in the response's headers"),
        (b"no http\r\n\r\n", "does not start with HTTP/1"),
        (b"HTTP/1.1 200 OK\r\n\r\n\x15\x03", "sent data before the tunnel was in use"),
        (b"HTTP/1.1 200 OK\r\nA: " + b"x" * 70_000, "over the limit"),
    ],
)
def test_broken_proxy(serve: Serve, transport: Transport, answer: bytes, reason: str) -> None:
    """A proxy that answers CONNECT with nonsense is a failure of the proxy."""
    server = serve(answering_once(answer))
    kind, message = failure(transport, "https://api.test/", ProxySettings(server.url("")))
    assert kind == "proxy"
    assert reason in message


def test_missing_credentials(serve: Serve, transport: Transport) -> None:
    """407 to an http request comes from the proxy, not from the server behind it: no response."""
    server = serve(answering(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"))
    for _ in range(2):
        kind, message = failure(transport, "http://api.test/", ProxySettings(server.url("")))
        assert kind == "proxy"
        assert message == f"the proxy 127.0.0.1:{server.port} asks for authentication (407) (http://api.test/)"


def test_proxy_of_scheme_https(transport: Transport) -> None:
    """A proxy that is itself reached by TLS is refused."""
    assert failure(transport, "http://api.test/", ProxySettings("https://proxy.test"))[0] == "proxy"
