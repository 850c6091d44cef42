from __future__ import annotations

import os
import ssl
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent import socket as gevent_socket

from request_callout.transport import FailureKind, Transport, TransportError

from .conftest import FixedResolver, Serve, ServerContext, request_for
from .literal_server import OK, Peer, answering

Make = Callable[..., Transport]


def failure(transport: Transport, url: str, **options: Any) -> tuple[FailureKind, str]:
    with pytest.raises(TransportError) as caught:
        transport.send(request_for(url, **options))
    return caught.value.kind, str(caught.value).partition(" (")[0]


def test_verified_and_kept_alive(
    serve: Serve, make_transport: Make, server_context: ServerContext, ca_file: str
) -> None:
    """A certificate of the CA file is accepted, and the connection serves many requests in spite of TLS's tickets."""
    server = serve(answering(OK), server_context())
    transport = make_transport(ca_file=ca_file)
    for _ in range(5):
        assert transport.send(request_for(server.url())).body == b"ok"
    assert server.connections == 1


def test_closed_while_idle(serve: Serve, make_transport: Make, server_context: ServerContext, ca_file: str) -> None:
    """A TLS connection closed by the server while idle is replaced before writing, for POST too."""

    def handle(peer: Peer) -> None:
        peer.request()
        peer.send(OK)

    server = serve(handle, server_context())
    transport = make_transport(ca_file=ca_file)
    for sent in (1, 2):
        server.closed.clear()
        assert transport.send(request_for(server.url(), "POST")).body == b"ok"
        server.closed.wait()
        assert len(server.requests) == sent


def test_not_renewed_after_the_first_byte(
    serve: Serve, make_transport: Make, server_context: ServerContext, ca_file: str
) -> None:
    """A pooled connection that breaks off within a response is not renewed."""

    def handle(peer: Peer) -> None:
        peer.request()
        peer.send(OK)
        peer.request()
        peer.send(b"H")

    server = serve(handle, server_context())
    transport = make_transport(ca_file=ca_file)
    transport.send(request_for(server.url()))
    assert failure(transport, server.url())[0] == "protocol"
    assert (server.connections, len(server.requests)) == (1, 2)


def test_renewed_when_cut_off(serve: Serve, make_transport: Make, server_context: ServerContext, ca_file: str) -> None:
    """A pooled TLS connection that is cut off before a response is renewed for GET, not for POST."""

    def handle(peer: Peer) -> None:
        peer.request()
        peer.send(OK)
        peer.request()

    server = serve(handle, server_context())
    transport = make_transport(ca_file=ca_file)
    for _ in range(2):
        assert transport.send(request_for(server.url())).body == b"ok"
    assert (server.connections, len(server.requests)) == (2, 3)
    with pytest.raises(TransportError):
        transport.send(request_for(server.url(), "POST"))
    assert (server.connections, len(server.requests)) == (2, 4)


def test_refused_connection_is_closed_at_once(
    serve: Serve, make_transport: Make, server_context: ServerContext
) -> None:
    """A connection whose certificate is refused is closed even while the error is still held."""
    server = serve(answering(OK), server_context())
    transport = make_transport()
    held = []
    for _ in range(20):
        with pytest.raises(TransportError) as caught:
            transport.send(request_for(server.url()))
        held.append(caught)
        server.wait_for_ends()
        if len(held) == 10:
            before = len(os.listdir("/proc/self/fd"))
    assert len(os.listdir("/proc/self/fd")) <= before


def test_unknown_authority(serve: Serve, make_transport: Make, server_context: ServerContext) -> None:
    """By default a certificate must come from one of the system's authorities."""
    kind, message = failure(make_transport(), serve(answering(OK), server_context()).url())
    assert kind == "tls"
    assert message.startswith("TLS failed: certificate not accepted: ")
    assert "certificate" in message.partition("accepted")[2]


def test_wrong_name(serve: Serve, make_transport: Make, server_context: ServerContext, ca_file: str) -> None:
    """A certificate for another name is refused, and the message says so."""
    server = serve(answering(OK), server_context("other.test"))
    kind, message = failure(make_transport(ca_file=ca_file), server.url())
    assert kind == "tls"
    assert "mismatch" in message


def test_server_name_is_sent_and_verified(
    serve: Serve, make_transport: Make, server_context: ServerContext, ca_file: str
) -> None:
    """ssl_server_name is both the SNI and the name that the certificate must have."""
    names: list[str | None] = []
    context = server_context("other.test")
    context.sni_callback = lambda sock, name, ctx: names.append(name)
    server = serve(answering(OK), context)
    transport = make_transport(ca_file=ca_file)
    assert transport.send(request_for(server.url(), ssl_server_name="Other.test")).status == 200
    assert failure(transport, server.url(), ssl_server_name="third.test")[0] == "tls"
    assert names == ["other.test", "third.test"]


def test_url_host_is_the_server_name(
    serve: Serve,
    make_transport: Make,
    server_context: ServerContext,
    ca_file: str,
    resolver: Callable[[FixedResolver], None],
) -> None:
    """Without ssl_server_name the URL's host is the SNI, without a final dot."""
    names: list[str | None] = []
    context = server_context("localhost")
    context.sni_callback = lambda sock, name, ctx: names.append(name)
    server = serve(answering(OK), context)
    resolver(FixedResolver("127.0.0.1"))
    transport = make_transport(ca_file=ca_file)
    for host in ("localhost", "localhost."):
        assert transport.send(request_for(server.url(host=host))).status == 200
    assert names == ["localhost", "localhost"]


def test_verification_off(serve: Serve, make_transport: Make, server_context: ServerContext) -> None:
    """Without verification neither authority nor name matter."""
    server = serve(answering(OK), server_context("other.test"))
    assert make_transport().send(request_for(server.url(), ssl_verify=False)).body == b"ok"


def test_old_versions_are_refused(serve: Serve, make_transport: Make, server_context: ServerContext) -> None:
    """TLS 1.1 is not spoken, even without verification."""
    context = server_context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    kind, message = failure(make_transport(), serve(answering(OK), context).url(), ssl_verify=False)
    assert kind == "tls"
    assert "version" in message


def test_no_tls_there(serve: Serve, make_transport: Make) -> None:
    """A server that answers plain text is named as one that speaks no TLS."""

    def handle(peer: Peer) -> None:
        peer.sock.recv(100)
        peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        peer.wait_for_end()

    kind, message = failure(make_transport(), f"https://127.0.0.1:{serve(handle).port}/")
    assert kind == "tls"
    assert "does not speak TLS" in message


def test_hangs_up_in_the_handshake(serve: Serve, make_transport: Make) -> None:
    """A server that closes during the handshake is a TLS failure."""

    def handle(peer: Peer) -> None:
        peer.sock.recv(10000)

    kind, message = failure(make_transport(), f"https://127.0.0.1:{serve(handle).port}/")
    assert kind == "tls"
    assert "closed" in message or "reset" in message


def test_truncated_stream(serve: Serve, make_transport: Make, server_context: ServerContext, ca_file: str) -> None:
    """A body that ends with the connection is whole only if TLS says so: an attacker can cut the connection."""

    def handle(peer: Peer) -> None:
        request = peer.request() or b""
        peer.send(b"HTTP/1.1 200 OK\r\n\r\nall")
        if b"/whole" in request:
            peer.sock.unwrap()

    server = serve(handle, server_context())
    transport = make_transport(ca_file=ca_file)
    assert transport.send(request_for(server.url("/whole"))).body == b"all"
    kind, message = failure(transport, server.url("/cut"))
    assert (kind, message) == ("protocol", "the connection was closed without TLS's closing message")


@pytest.mark.parametrize("direction", ["handshake", "response"])
def test_trickling_records(
    serve: Serve, make_transport: Make, server_context: ServerContext, ca_file: str, direction: str
) -> None:
    """TLS records that come byte by byte are bounded by the connect time and the deadline like anything else."""
    server = serve(answering(OK), server_context())

    def relay(peer: Peer) -> None:
        """Passes everything on, but what comes back a byte at a time, from the start or after the request."""
        other = gevent_socket.create_connection(("127.0.0.1", server.port))
        slow = direction == "handshake"

        def back() -> None:
            while data := other.recv(65536):
                for byte in data if slow else [data]:
                    peer.send(bytes([byte]) if isinstance(byte, int) else byte)
                    gevent.sleep(0.01)

        with other:
            job = gevent.spawn(back)
            sent = 0
            while data := peer.sock.recv(65536):
                sent += 1
                slow = slow or sent >= 2
                other.sendall(data)
            job.kill()

    transport = make_transport(ca_file=ca_file)
    url = f"https://127.0.0.1:{serve(relay).port}/"
    started = time.monotonic()
    if direction == "handshake":
        kind, message = failure(transport, url, connect_timeout_s=0.2)
        assert (kind, message) == ("timeout", "connect timed out after 200 ms")
    else:
        kind, message = failure(transport, url, deadline=started + 0.3)
        assert kind == "timeout"
        assert message.startswith("read stopped: the deadline of all callouts has passed")
    assert time.monotonic() - started < 3


def test_large_bodies(serve: Serve, make_transport: Make, server_context: ServerContext, ca_file: str) -> None:
    """Large bodies go through TLS both ways."""

    def echo(peer: Peer) -> None:
        while request := peer.request():
            body = request.partition(b"\r\n\r\n")[2]
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    server = serve(echo, server_context())
    transport = make_transport(ca_file=ca_file)
    body = bytes(range(256)) * 12_000
    for _ in range(2):
        assert transport.send(request_for(server.url(), "PUT", body=body)).body == body
    assert server.connections == 1


def test_excess_bytes(serve: Serve, make_transport: Make, server_context: ServerContext, ca_file: str) -> None:
    """Bytes beyond a response in the same TLS record never become the next one."""
    body = b"x" * 40_000
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 39990\r\n\r\n" + body
    server = serve(answering(answer), server_context())
    transport = make_transport(ca_file=ca_file)
    for number in (1, 2):
        assert transport.send(request_for(server.url())).body == body[:39990]
        assert server.connections == number


def test_bad_ca_file(make_transport: Make, tmp_path: Path) -> None:
    """A CA file that is missing or no PEM is refused when the transport is made."""
    broken = tmp_path / "broken.pem"
    broken.write_text("no certificate")
    for path in (broken, tmp_path / "missing.pem"):
        with pytest.raises(ValueError, match=str(path)):
            make_transport(ca_file=str(path))


def test_bad_server_name(serve: Serve, make_transport: Make, server_context: ServerContext) -> None:
    """A server name that is no host name is an error, not a crash."""
    server = serve(answering(OK), server_context())
    kind, _ = failure(make_transport(), server.url(), ssl_server_name="not a name")
    assert kind == "tls"
