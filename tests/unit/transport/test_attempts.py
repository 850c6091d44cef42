"""How often a request reaches the server, counted there."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from typing import Any

import gevent
import pytest

from request_callout.transport import Transport, TransportError

from .conftest import Send, Serve, request_for
from .literal_server import OK, Peer, answering, answering_once

IDEMPOTENT = ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"]
OTHERS = ["POST", "PATCH", "LINK"]
HEAD_ONLY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def hangs_up_on_second(peer: Peer) -> None:
    """Answers the first request of a connection, takes the second and closes."""
    peer.request()
    peer.send(HEAD_ONLY)
    peer.request()


@pytest.mark.parametrize("method", IDEMPOTENT + OTHERS)
def test_one_attempt_on_a_new_connection(serve: Serve, send: Send, method: str) -> None:
    """A server that takes the request and closes gets it exactly once, whatever the method."""
    server = serve(lambda peer: peer.request() and None)
    with pytest.raises(TransportError) as caught:
        send(server.url(), method)
    assert caught.value.kind == "protocol"
    assert (server.connections, len(server.requests)) == (1, 1)


@pytest.mark.parametrize("method", IDEMPOTENT)
def test_renewed_once(serve: Serve, send: Send, method: str) -> None:
    """A pooled connection that ends before a response is replaced by one new one for an idempotent method."""
    server = serve(hangs_up_on_second)
    send(server.url())
    assert send(server.url(), method).status == 200
    assert (server.connections, len(server.requests)) == (2, 3)


@pytest.mark.parametrize("method", OTHERS)
def test_not_renewed(serve: Serve, send: Send, method: str) -> None:
    """A method that is not idempotent is not sent again."""
    server = serve(hangs_up_on_second)
    send(server.url())
    with pytest.raises(TransportError) as caught:
        send(server.url(), method)
    assert caught.value.kind == "protocol"
    assert (server.connections, len(server.requests)) == (1, 2)


def test_renewed_by_a_new_connection_only(serve: Serve, transport: Transport) -> None:
    """With many pooled connections the renewal takes a new one, and a second failure is final: two attempts in all."""
    waiting: list[gevent.event.Event] = []

    def handle(peer: Peer) -> None:
        if peer.number > 10:
            peer.request()
            return
        peer.request()
        waiting.append(gevent.event.Event())
        if len(waiting) == 10:
            for one in waiting:
                one.set()
        waiting[-1].wait()
        peer.send(OK)
        peer.request()

    server = serve(handle)
    ten = [gevent.spawn(transport.send, request_for(server.url())) for _ in range(10)]
    gevent.joinall(ten, raise_error=True)
    assert (server.connections, len(server.requests)) == (10, 10)
    with pytest.raises(TransportError):
        transport.send(request_for(server.url()))
    assert (server.connections, len(server.requests)) == (11, 12)


def test_not_renewed_after_the_first_byte(serve: Serve, send: Send) -> None:
    """Once anything of a response was received, there is no second attempt."""

    def handle(peer: Peer) -> None:
        peer.request()
        peer.send(OK)
        peer.request()
        peer.send(b"H")

    server = serve(handle)
    send(server.url())
    with pytest.raises(TransportError) as caught:
        send(server.url())
    assert caught.value.kind == "protocol"
    assert (server.connections, len(server.requests)) == (1, 2)


def test_not_renewed_after_a_timeout(serve: Serve, send: Send) -> None:
    """A pooled connection on which no answer comes in time is a failure, not stale."""

    def handle(peer: Peer) -> None:
        peer.request()
        peer.send(OK)
        peer.request()
        peer.wait_for_end()

    server = serve(handle)
    send(server.url())
    with pytest.raises(TransportError) as caught:
        send(server.url(), read_timeout_s=0.05)
    assert caught.value.kind == "timeout"
    assert (server.connections, len(server.requests)) == (1, 2)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_closed_while_idle(serve: Serve, send: Send, method: str) -> None:
    """A connection that the server closed while idle is noticed before writing and replaced, for any method."""
    server = serve(answering_once(OK))
    for sent in (1, 2, 3):
        server.closed.clear()
        assert send(server.url(), method).body == b"ok"
        server.closed.wait()
        assert (server.connections, len(server.requests)) == (sent, sent)


def test_unasked_bytes_while_idle(serve: Serve, send: Send) -> None:
    """A connection on which something came while idle is not used: it could pass for the next response."""
    sent = gevent.event.Event()

    def handle(peer: Peer) -> None:
        peer.request()
        peer.send(OK)
        pushed.wait()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged")
        sent.set()
        peer.wait_for_end()

    pushed = gevent.event.Event()
    server = serve(handle)
    send(server.url())
    pushed.set()
    sent.wait()
    assert send(server.url()).body == b"ok"
    assert server.connections == 2


def test_descriptors_over_1023(serve: Serve, send: Send) -> None:
    """Keep-alive and the check for closed connections work with descriptors that select() can't take."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, before[1]), before[1]))
    fillers: list[int] = []
    try:
        fillers.extend(os.open(os.devnull, os.O_RDONLY) for _ in range(1100))
        assert fillers[-1] > 1023
        server = serve(hangs_up_on_second)
        assert send(server.url()).status == 200
        assert server.connections == 1
        send(server.url())
        assert (server.connections, len(server.requests)) == (2, 3)
        stable = serve(answering(OK))
        for _ in range(3):
            send(stable.url())
        assert stable.connections == 1
    finally:
        for one in fillers:
            os.close(one)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_redirects_are_not_followed(serve: Serve, send: Send) -> None:
    """A redirect is a response like any other."""
    server = serve(answering(b"HTTP/1.1 302 Found\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n"))
    response = send(server.url())
    assert (response.status, response.headers[0]) == (302, ("location", "/other"))
    assert len(server.requests) == 1


@pytest.mark.parametrize("size", [1, 1000, 64 * 1024, 64 * 1024 + 1, 5_000_000])
def test_bodies_both_ways(serve: Serve, send: Send, size: int) -> None:
    """A body of any size arrives as it was sent, and comes back as it was answered."""

    def echo(peer: Peer) -> None:
        while request := peer.request():
            body = request.partition(b"\r\n\r\n")[2]
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    server = serve(echo)
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    for _ in range(2):
        assert send(server.url(), "POST", body=body).body == body
    assert server.connections == 1


def test_head_and_small_body_in_one_packet(serve: Serve, send: Send) -> None:
    """A small body goes out together with the head: one read gets all of it."""
    reads: list[bytes] = []

    def handle(peer: Peer) -> None:
        reads.append(peer.sock.recv(65536))
        peer.send(OK)

    send(serve(handle).url(), "POST", body=b"x" * 1000)
    assert reads[0].endswith(b"\r\n\r\n" + b"x" * 1000)


def test_early_answer_to_a_large_body(serve: Serve, send: Send) -> None:
    """An answer that comes while the server refuses the rest of the body is the response; the connection ends."""

    def handle(peer: Peer) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            data += peer.sock.recv(1024)
        peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")

    server = serve(handle)
    for _ in range(2):
        assert send(server.url(), "POST", body=b"x" * 20_000_000).status == 413
    assert server.connections == 2


@pytest.mark.parametrize("stop", [gevent.Greenlet.kill, "timeout"])
def test_cancelled_connections_are_closed(serve: Serve, transport: Transport, stop: Callable[..., Any] | str) -> None:
    """A greenlet killed, or stopped by its Timeout, while it waits leaves no connection open or pooled."""
    arrived = gevent.event.Event()

    def handle(peer: Peer) -> None:
        peer.request()
        arrived.set()
        peer.wait_for_end()

    server = serve(handle)

    def wait() -> None:
        if stop == "timeout":
            with pytest.raises(gevent.Timeout), gevent.Timeout(0.05):
                transport.send(request_for(server.url()))
        else:
            transport.send(request_for(server.url()))

    waiting = gevent.spawn(wait)
    arrived.wait()
    if callable(stop):
        stop(waiting)
    waiting.join()
    assert server.closed.wait(10)
    assert len(transport._idle) == 0


def test_many_greenlets(serve: Serve, transport: Transport) -> None:
    """Each of many greenlets at once gets the answer to its own request."""

    def handle(peer: Peer) -> None:
        while request := peer.request():
            path = request.split(b" ")[1]
            gevent.sleep(0)
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(path), path))

    server = serve(handle)

    def several(number: int) -> None:
        for turn in range(10):
            path = f"/{number}/{turn}"
            assert transport.send(request_for(server.url(path))).body == path.encode()

    gevent.joinall([gevent.spawn(several, number) for number in range(50)], raise_error=True)
    assert len(server.requests) == 500
    assert server.connections <= 50
