"""Every time has an end, and the message says which one it was."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import gevent
import pytest

from request_callout.transport import ProxySettings, TransportError

from .conftest import FixedResolver, Send, Serve
from .literal_server import OK, Peer, answering

UseResolver = Callable[[FixedResolver], None]


def silent(peer: Peer) -> None:
    peer.wait_for_end()


@contextmanager
def black_hole(host: str = "127.0.0.1", port: int = 0) -> Iterator[tuple[str, int]]:
    """An address where connecting hangs: its queue of waiting connections is full."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind((host, port))
        listener.listen(0)
        address = listener.getsockname()
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(address)
        yield address


def failure(send: Send, *arguments: object, **options: object) -> TransportError:
    with pytest.raises(TransportError) as caught:
        send(*arguments, **options)
    return caught.value


def test_read(serve: Serve, send: Send) -> None:
    """No answer within the read time."""
    error = failure(send, serve(silent).url("/p"), read_timeout_s=0.05)
    assert error.kind == "timeout"
    assert str(error).startswith("read timed out after 50 ms (http://127.0.0.1:")


def test_read_in_the_body(serve: Serve, send: Send) -> None:
    """No more of the body within the read time."""

    def handle(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab")
        peer.wait_for_end()

    error = failure(send, serve(handle).url(), read_timeout_s=0.05)
    assert (error.kind, str(error)[:26]) == ("timeout", "read timed out after 50 ms")


def test_read_time_is_for_each_read(serve: Serve, send: Send) -> None:
    """A response that takes longer than the read time, but never pauses so long, is received."""

    def handle(peer: Peer) -> None:
        peer.request()
        for byte in OK:
            peer.send(bytes([byte]))
            gevent.sleep(0.005)

    started = time.monotonic()
    assert send(serve(handle).url(), read_timeout_s=0.15).body == b"ok"
    assert time.monotonic() - started > 0.15


@pytest.mark.parametrize("part", [b"HTTP/1.1 200 OK\r\nA: ", b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"])
def test_trickling_server(serve: Serve, send: Send, part: bytes) -> None:
    """A server that sends a byte now and then, in head or body, is bounded by the deadline."""

    def handle(peer: Peer) -> None:
        peer.request()
        peer.send(part)
        while True:
            peer.send(b"x")
            gevent.sleep(0.005)

    started = time.monotonic()
    error = failure(send, serve(handle).url(), deadline=started + 0.2)
    assert 0.2 <= time.monotonic() - started < 2
    assert error.kind == "timeout"
    assert "read stopped: the deadline of all callouts has passed" in str(error)


def test_write(serve: Serve, send: Send) -> None:
    """A server that stops reading ends the attempt after the write time."""
    stop = gevent.event.Event()
    error = failure(send, serve(lambda _: stop.wait()).url(), "POST", body=b"x" * 50_000_000, write_timeout_s=0.1)
    stop.set()
    assert (error.kind, str(error)[:28]) == ("timeout", "write timed out after 100 ms")


def test_connect(send: Send) -> None:
    """An address that does not answer ends the attempt after the connect time."""
    with black_hole() as (host, port):
        error = failure(send, f"http://{host}:{port}/", connect_timeout_s=0.1)
    assert (error.kind, str(error)) == ("timeout", f"connect timed out after 100 ms (http://{host}:{port}/)")


def test_connect_covers_name_look_up(send: Send, resolver: UseResolver) -> None:
    """A resolver that hangs counts as connecting."""
    resolver(FixedResolver(hangs=True))
    error = failure(send, "http://slow.test/", connect_timeout_s=0.05)
    assert (error.kind, str(error)) == ("timeout", "connect timed out after 50 ms (http://slow.test/)")


def test_connect_covers_tls(serve: Serve, send: Send) -> None:
    """A server that takes the connection but does not speak TLS counts as connecting."""
    server = serve(silent)
    error = failure(send, f"https://127.0.0.1:{server.port}/", connect_timeout_s=0.05)
    assert (error.kind, str(error)[:29]) == ("timeout", "connect timed out after 50 ms")
    assert server.closed.wait(10)


def test_connect_covers_the_proxy(serve: Serve, send: Send) -> None:
    """A proxy that does not answer CONNECT counts as connecting."""
    server = serve(silent)
    error = failure(send, "https://h.test/", connect_timeout_s=0.05, proxy=ProxySettings(server.url("")))
    assert (error.kind, str(error)[:29]) == ("timeout", "connect timed out after 50 ms")
    assert server.closed.wait(10)


def test_connect_covers_all_addresses(send: Send, resolver: UseResolver) -> None:
    """Several addresses that don't answer share the one connect time."""
    with black_hole() as (_, port), black_hole("127.0.0.2", port):
        resolver(FixedResolver("127.0.0.1", "127.0.0.2"))
        started = time.monotonic()
        error = failure(send, f"http://two.test:{port}/", connect_timeout_s=0.2)
    assert 0.2 <= time.monotonic() - started < 2
    assert (error.kind, str(error)[:30]) == ("timeout", "connect timed out after 200 ms")


def test_dead_address_leaves_time_for_the_next(serve: Serve, send: Send, resolver: UseResolver) -> None:
    """An address that does not answer gets only its share of the time; the next one is tried."""
    server = serve(answering(OK))
    with black_hole("127.0.0.2", server.port):
        resolver(FixedResolver("127.0.0.2", "127.0.0.1"))
        assert send(server.url(host="two.test"), connect_timeout_s=1.0).body == b"ok"


def test_refusing_address_is_passed_over(serve: Serve, send: Send, resolver: UseResolver) -> None:
    """All addresses of a name are tried in order."""
    server = serve(answering(OK))
    resolver(FixedResolver("127.0.0.3", "127.0.0.2", "127.0.0.1"))
    assert send(server.url(host="three.test")).body == b"ok"


@pytest.mark.parametrize("deadline", [0.05, -1.0])
def test_deadline_bounds_connecting(send: Send, deadline: float) -> None:
    """A deadline before the connect time's end is the one that counts, also if it has passed already."""
    with black_hole() as (host, port):
        error = failure(send, f"http://{host}:{port}/", deadline=time.monotonic() + deadline)
    assert error.kind == "timeout"
    assert str(error).startswith("connect stopped: the deadline of all callouts has passed")


def test_deadline_bounds_pooled_connections(serve: Serve, send: Send) -> None:
    """A deadline that has passed ends an exchange on a pooled connection too."""
    server = serve(answering(OK))
    send(server.url())
    error = failure(send, server.url(), deadline=time.monotonic() - 1)
    assert (error.kind, str(error)[:12]) == ("timeout", "read stopped")


def test_foreign_timeout_passes_through(serve: Serve, send: Send) -> None:
    """A gevent.Timeout of the caller is not taken for one of the transport's."""
    with pytest.raises(gevent.Timeout) as caught, gevent.Timeout(0.05) as mine:
        send(serve(silent).url())
    assert caught.value is mine
    with black_hole() as (host, port), pytest.raises(gevent.Timeout) as caught, gevent.Timeout(0.05) as mine:
        send(f"http://{host}:{port}/")
    assert caught.value is mine
