"""What failures are called, and what their messages leave out."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Callable

import pytest
from gevent import subprocess

from request_callout.transport import FailureKind, ProxySettings, Transport, TransportError

from .conftest import FixedResolver, Send, Serve, ServerContext, request_for
from .literal_server import OK, Peer, answering, answering_once


def unused_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def failure(send: Send, *arguments: object, **options: object) -> tuple[FailureKind, str]:
    with pytest.raises(TransportError) as caught:
        send(*arguments, **options)
    return caught.value.kind, str(caught.value)


def test_refused(send: Send) -> None:
    """A refused connection names the address and the URL."""
    port = unused_port()
    assert failure(send, f"http://127.0.0.1:{port}/path") == (
        "connect",
        f"connection refused by 127.0.0.1:{port} (http://127.0.0.1:{port}/path)",
    )


def test_refused_by_all(send: Send, resolver: Callable[[FixedResolver], None]) -> None:
    """A name whose addresses all refuse names each of them."""
    port = unused_port()
    resolver(FixedResolver("127.0.0.1", "127.0.0.2"))
    assert failure(send, f"http://two.test:{port}/") == (
        "connect",
        f"connection refused by 127.0.0.1:{port}; connection refused by 127.0.0.2:{port} (http://two.test:{port}/)",
    )


def test_unknown_name(send: Send) -> None:
    """A name that does not exist is an error of its own kind (RFC 6761: .invalid never exists)."""
    kind, message = failure(send, "http://name.invalid/x")
    assert kind == "dns"
    assert message.startswith("can't resolve name.invalid: ")
    assert message.endswith(" (http://name.invalid/x)")


@pytest.mark.parametrize("closing", [b"", b"HTTP/1.1 200 OK\r\n", b"garbage\r\n\r\n"])
def test_no_secrets(serve: Serve, send: Send, closing: bytes) -> None:
    """No message holds user info, query values or header values."""
    url = serve(answering_once(closing)).url("/path?token=hidden").replace("//", "//user:hidden@")
    kind, message = failure(send, url, headers=[("X-Key", "hidden")])
    assert kind == "protocol"
    assert "hidden" not in message
    assert "user" not in message
    assert "/path)" in message


def test_no_secrets_of_proxies(send: Send) -> None:
    """No message holds a proxy's credentials."""
    port = unused_port()
    proxy = ProxySettings(f"http://user:hidden@127.0.0.1:{port}", "user", "hidden")
    kind, message = failure(send, "http://h.test/p", proxy=proxy)
    assert kind == "connect"
    assert message == f"connection refused by 127.0.0.1:{port} (http://h.test/p)"


def test_reset(serve: Serve, send: Send) -> None:
    """A connection that is reset is a missing response."""

    def handle(peer: Peer) -> None:
        peer.request()
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")

    kind, message = failure(send, serve(handle).url())
    assert (kind, message.partition(" (")[0]) == ("protocol", "the connection was lost: connection reset by peer")


def test_limits(serve: Serve, make_transport: Callable[..., Transport]) -> None:
    """Headers and bodies over the settings' limits are too large, and the connection is closed."""
    transport = make_transport(max_header_bytes=200, max_body_bytes=10)
    server = serve(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n01234567890"))
    assert failure(transport.send, request_for(server.url()))[0] == "too_large"
    assert server.closed.wait(10)
    server = serve(answering(b"HTTP/1.1 200 OK\r\nA: %b\r\n\r\n" % (b"x" * 200)))
    assert failure(transport.send, request_for(server.url()))[0] == "too_large"
    assert server.closed.wait(10)


def test_refused_before_sending(serve: Serve, send: Send) -> None:
    """A request that can't be sent safely opens no connection."""
    server = serve(answering(OK))
    assert failure(send, server.url(), headers=[("A", "b\r\nX: y")])[0] == "request"
    assert failure(send, server.url(), "G E T")[0] == "request"
    assert failure(send, "ftp://h/") == ("url", "the URL does not start with http:// or https://")
    assert server.connections == 0


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_no_descriptor_is_left(
    serve: Serve, make_transport: Callable[..., Transport], server_context: ServerContext, ca_file: str
) -> None:
    """After hundreds of mixed requests, good and bad, no descriptor is left open."""
    tls = serve(answering(OK), server_context())
    good, closing = serve(answering(OK)), serve(answering_once(OK))
    broken, refusing = serve(answering_once(b"HTTP/1.1 200 OK\r\nA")), serve(lambda peer: None)
    silent = serve(lambda peer: peer.wait_for_end())
    servers = [tls, good, closing, broken, refusing, silent]
    proxy = ProxySettings(refusing.url(""))
    requests = [
        request_for(good.url()),
        request_for(closing.url(), "POST", body=b"x" * 200_000),
        request_for(tls.url()),
        request_for(tls.url(), ssl_server_name="other.test"),
        request_for(broken.url()),
        request_for(refusing.url()),
        request_for(silent.url(), read_timeout_s=0.001),
        request_for(f"http://127.0.0.1:{unused_port()}/"),
        request_for(f"https://127.0.0.1:{refusing.port}/"),
        request_for("https://h.test/", proxy=proxy),
    ]
    counted: list[int] = []
    for _ in range(2):
        transport = make_transport(ca_file=ca_file)
        answered = 0
        for _ in range(50):
            for request in requests:
                with contextlib.suppress(TransportError):
                    answered += transport.send(request).status == 200
        transport.close()
        assert answered == 150
        for server in servers:
            server.wait_for_ends()
        # The first round also opens what stays, such as the hub's own descriptors.
        counted.append(descriptors())
    assert counted[1] <= counted[0]


PATCHED = """
from gevent import monkey
monkey.patch_all()
import sys
sys.path.insert(0, sys.argv[1])
from request_callout.config.settings import TransportSettings
from request_callout.transport import Transport, TransportError
from tests.unit.transport.conftest import request_for
transport = Transport(TransportSettings(ca_file=sys.argv[2]))
for url in sys.argv[3:]:
    for _ in range(3):
        assert transport.send(request_for(url)).body == b"ok"
print(len(transport._idle))
"""


def test_works_patched(serve: Serve, server_context: ServerContext, ca_file: str, pytestconfig: pytest.Config) -> None:
    """Patching by gevent makes no difference: keep-alive and TLS work with it too."""
    servers = [serve(answering(OK)), serve(answering(OK), server_context())]
    arguments = [sys.executable, "-c", PATCHED, str(pytestconfig.rootpath), ca_file, *(one.url() for one in servers)]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=pytestconfig.rootpath)
    output, problems = process.communicate(timeout=60)
    assert (output.strip(), problems) == (b"2", b"")
    assert [one.connections for one in servers] == [1, 1]
