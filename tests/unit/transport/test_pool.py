"""Which connection the next request takes, seen by the server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent
import pytest
from gevent.event import Event

from request_callout.transport import ProxySettings, Transport

from .conftest import Send, Serve, ServerContext, request_for
from .literal_server import OK, LiteralServer, Peer, answering


class Crowd:
    """Answers with the connection's number, and lets requests wait until so many are there."""

    def __init__(self) -> None:
        self.together = 1
        self.arrived = 0
        self.all_there = Event()

    def __call__(self, peer: Peer) -> None:
        while peer.request() is not None:
            self.arrived += 1
            if self.arrived >= self.together:
                self.all_there.set()
            self.all_there.wait()
            number = b"%d" % peer.number
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(number), number))

    def send(self, transport: Transport, server: LiteralServer, count: int) -> list[int]:
        """So many requests, all on the server at the same time; the numbers of their connections, in order."""
        self.together, self.arrived = count, 0
        self.all_there.clear()
        finished: list[int] = []
        jobs = [
            gevent.spawn(lambda: finished.append(int(transport.send(request_for(server.url())).body)))
            for _ in range(count)
        ]
        gevent.joinall(jobs, raise_error=True)
        return finished


def test_never_waits(serve: Serve, make_transport: Callable[..., Transport]) -> None:
    """More requests at once than the pool's size get connections of their own at once."""
    crowd = Crowd()
    server = serve(crowd)
    assert sorted(crowd.send(make_transport(pool_size=2), server, 20)) == list(range(1, 21))


def test_surplus_is_closed(serve: Serve, make_transport: Callable[..., Transport]) -> None:
    """Of more connections than the pool's size, the surplus is closed when it comes back."""
    crowd = Crowd()
    server = serve(crowd)
    transport = make_transport(pool_size=3)
    crowd.send(transport, server, 10)
    assert len(transport._idle) == 3
    server.wait_for_ends(7)
    assert server.ended == 7
    assert len(crowd.send(transport, server, 3)) == 3
    assert server.connections == 10


def test_last_used_first(serve: Serve, transport: Transport) -> None:
    """The connection that came back last is taken next, so that the others can grow old."""
    crowd = Crowd()
    server = serve(crowd)
    last = crowd.send(transport, server, 5)[-1]
    for _ in range(3):
        assert crowd.send(transport, server, 1) == [last]


def test_idle_age(serve: Serve, make_transport: Callable[..., Transport]) -> None:
    """A connection that was idle for too long is closed, without another request having to come."""
    server = serve(answering(OK))
    transport = make_transport(pool_idle_s=0.05)
    transport.send(request_for(server.url()))
    assert len(transport._idle) == 1
    assert server.closed.wait(10)
    assert len(transport._idle) == 0


def test_too_old_is_not_taken(serve: Serve, make_transport: Callable[..., Transport]) -> None:
    """A connection over the idle age is not used, even if nothing has closed it yet."""
    server = serve(answering(OK))
    transport = make_transport(pool_idle_s=0.0)
    for _ in range(2):
        transport.send(request_for(server.url()))
    assert server.connections == 2


def test_bounded_over_all_origins(serve: Serve, make_transport: Callable[..., Transport]) -> None:
    """However many origins are called, the idle connections of all of them are bounded; the oldest go first."""
    servers = [serve(answering(OK)) for _ in range(10)]
    transport = make_transport(pool_size=1)
    for server in servers:
        transport.send(request_for(server.url()))
    assert len(transport._idle) == 8
    for server in servers[:2]:
        assert server.closed.wait(10)
    transport.send(request_for(servers[-1].url()))
    assert servers[-1].connections == 1


def test_peers_that_close_leave_nothing(serve: Serve, make_transport: Callable[..., Transport]) -> None:
    """A connection closed by its peer is dropped by the next sweep, and its key forgotten."""
    closing = Event()

    def handle(peer: Peer) -> None:
        peer.request()
        peer.send(OK)
        closing.wait()

    server = serve(handle)
    transport = make_transport()
    transport.send(request_for(server.url()))
    closing.set()
    server.closed.wait()
    assert len(transport._idle) == 1
    transport._idle.sweep()
    assert len(transport._idle) == 0
    assert not transport._idle._stacks


@pytest.mark.parametrize("closing", [b"Connection: close", b"Connection: Keep-Alive, Close"])
def test_connection_close(serve: Serve, send: Send, closing: bytes) -> None:
    """A connection that the server wants closed is closed."""
    server = serve(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n%b\r\n\r\nok" % closing))
    for _ in range(2):
        send(server.url())
        assert server.closed.wait(10)
        server.closed.clear()
    assert server.connections == 2


def test_excess_bytes_close_the_connection(serve: Serve, send: Send) -> None:
    """Bytes beyond a response never become the next one."""
    server = serve(answering(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"))
    for _ in range(3):
        assert send(server.url()).body == b"ok"
    assert server.connections == 3


def test_body_to_head_request_closes_the_connection(serve: Serve, send: Send) -> None:
    """A server that answers HEAD with a body does not spoil the next response."""
    server = serve(answering(OK))
    assert send(server.url(), "HEAD").body == b""
    assert send(server.url()).body == b"ok"
    assert server.connections == 2


def test_pools_are_apart(
    serve: Serve, make_transport: Callable[..., Transport], server_context: ServerContext, ca_file: str
) -> None:
    """Verified and unverified connections, and those with other server names, are never shared."""
    server = serve(answering(OK), server_context("127.0.0.1", "one.test", "two.test"))
    transport = make_transport(ca_file=ca_file)
    different: list[dict[str, Any]] = [
        {"ssl_verify": True},
        {"ssl_verify": False},
        {"ssl_server_name": "one.test"},
        {"ssl_server_name": "two.test"},
        {"ssl_server_name": "two.test", "ssl_verify": False},
    ]
    for _ in range(2):
        for settings in different:
            transport.send(request_for(server.url(), **settings))
        assert server.connections == len(different)


def test_pools_of_proxies_are_apart(serve: Serve, transport: Transport) -> None:
    """Connections to a proxy are shared only by requests with the same credentials."""
    server = serve(answering(OK))
    different = [
        None,
        ProxySettings(server.url("")),
        ProxySettings(server.url(""), "one", "secret"),
        ProxySettings(server.url(""), "one", "other"),
        ProxySettings(server.url(""), "two", "secret"),
    ]
    for _ in range(2):
        for proxy in different:
            transport.send(request_for(server.url(), proxy=proxy))
        assert server.connections == len(different)


def test_closed_transport_keeps_nothing(serve: Serve, make_transport: Callable[..., Transport]) -> None:
    """close() closes the idle connections, and those in use when they come back."""
    crowd = Crowd()
    server = serve(crowd)
    transport = make_transport()
    crowd.send(transport, server, 2)
    transport.close()
    assert len(transport._idle) == 0
    crowd.send(transport, server, 1)
    assert len(transport._idle) == 0
    server.wait_for_ends(3)
