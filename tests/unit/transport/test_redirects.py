"""Redirects by RFC 9110 section 15.4."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from typing import Any

import pytest

from request_callout.transport import ClientCertificate, ProxySettings, Transport, TransportError

from .conftest import Send, Serve, ServerContext, request_for
from .literal_server import OK, LiteralServer, Peer, answering

Make = Callable[..., Transport]


def redirect(location: str, status: int = 302) -> bytes:
    return f"HTTP/1.1 {status} X\r\nLocation: {location}\r\nContent-Length: 4\r\n\r\ngone".encode()


def failure(transport: Transport, url: str, **options: Any) -> tuple[str, str]:
    with pytest.raises(TransportError) as caught:
        transport.send(request_for(url, **{"max_redirects": 3, **options}))
    return caught.value.kind, str(caught.value)


def first_lines(server: LiteralServer) -> list[str]:
    return [request.partition(b"\r\n")[0].decode() for request in server.requests]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_not_followed_unless_asked(send: Send, serve: Serve, status: int) -> None:
    """Without max_redirects a redirect is the response."""
    assert send(serve(answering(redirect("/b", status))).url()).status == status


@pytest.mark.parametrize(
    ("location", "path"),
    [("/b?x=1", "/b?x=1"), ("b", "/d/b"), ("../b", "/b"), ("?y", "/d/a?y"), ("/b c#f", "/b%20c"), ("", "/d/a?q=1")],
)
def test_location_is_relative_to_the_url(send: Send, serve: Serve, location: str, path: str) -> None:
    """A Location may be relative; its fragment is not sent."""
    server = serve(answering(redirect(location), OK))
    assert send(server.url("/d/a?q=1"), max_redirects=1).body == b"ok"
    assert first_lines(server)[1] == f"GET {path} HTTP/1.1"
    assert server.connections == 1


@pytest.mark.parametrize(
    ("status", "method", "then"),
    [
        (301, "GET", "GET"),
        (301, "HEAD", "HEAD"),
        (301, "POST", "GET"),
        (302, "POST", "GET"),
        (301, "PUT", "PUT"),
        (302, "DELETE", "DELETE"),
        (303, "POST", "GET"),
        (303, "PUT", "GET"),
        (303, "DELETE", "GET"),
        (303, "HEAD", "HEAD"),
        (307, "POST", "POST"),
        (308, "POST", "POST"),
        (308, "PATCH", "PATCH"),
    ],
)
def test_methods(send: Send, serve: Serve, status: int, method: str, then: str) -> None:
    """303 leads to a GET, 301 and 302 do after a POST; the body and what describes it go with the method."""

    def handle(peer: Peer) -> None:
        for answer in (redirect("/b", status), OK):
            peer.request()
            peer.send(answer.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if method == "HEAD" else answer)

    server = serve(handle)
    headers = [("Content-Type", "text/x"), ("Content-Language", "de"), ("X-Other", "kept")]
    body = b"body" if method not in ("GET", "HEAD") else None
    send(server.url("/a"), method, body=body, headers=headers, max_redirects=1)
    assert first_lines(server) == [f"{method} /a HTTP/1.1", f"{then} /b HTTP/1.1"]
    assert b"X-Other: kept" in server.requests[1]
    assert server.requests[1].endswith(b"\r\n\r\nbody") is (then == method and body is not None)
    assert (b"text/x" in server.requests[1]) is (then == method)
    assert (b"Content-Language" in server.requests[1]) is (then == method)


SECRETS = [
    ("Authorization", "Bearer secret"),
    ("cookie", "a=secret"),
    ("Proxy-Authorization", "secret"),
    ("Host", "secret.test"),
]


def test_credentials_stay_with_their_origin(send: Send, serve: Serve) -> None:
    """Authorization, Cookie and a Host of its own go to the same origin, and not to another port."""
    other = serve(answering(OK))
    server = serve(answering(redirect("/b"), redirect(other.url("/c"))))
    send(server.url("/a"), headers=[*SECRETS, ("X-Other", "kept")], max_redirects=2)
    assert [request.count(b"secret") for request in server.requests] == [4, 4]
    assert b"secret" not in other.requests[0]
    assert b"X-Other: kept" in other.requests[0]
    assert f"Host: 127.0.0.1:{other.port}\r\n".encode() in other.requests[0]


def test_credentials_do_not_come_back(send: Send, serve: Serve) -> None:
    """What was left out for another origin is not sent again when that one redirects back."""
    others: list[LiteralServer] = []
    start = serve(lambda peer: answering(redirect(others[0].url()), OK)(peer))
    other = serve(answering(redirect(start.url("/back"))))
    others.append(other)
    assert send(start.url(), headers=SECRETS, max_redirects=2).body == b"ok"
    assert [request.count(b"secret") for request in (*start.requests, *other.requests)] == [4, 0, 0]


def test_user_info(send: Send, serve: Serve) -> None:
    """User info of the first URL goes to its origin only, that of a Location nowhere."""
    other = serve(answering(OK))
    server = serve(answering(redirect("/b"), redirect(f"http://evil:pw@127.0.0.1:{other.port}/")))
    send(server.url().replace("//", "//user:pass@"), max_redirects=2)
    assert [b"Authorization: Basic dXNlcjpwYXNz" in request for request in server.requests] == [True, True]
    assert b"Authorization" not in other.requests[0]


def test_too_many(transport: Transport, serve: Serve) -> None:
    """A loop ends after as many redirects as are allowed, with an error."""
    server = serve(answering(redirect("/a")))
    assert failure(transport, server.url("/a")) == (
        "redirect",
        f"more than 3 redirects ({server.url('/a')})",
    )
    assert len(server.requests) == 4


@pytest.mark.parametrize(
    "location",
    [
        "ftp://h/",
        "http://",
        "http://h:99999/",
        "http://[::1/",
        "javascript:alert(1)",
        "http://a\\@b/",
        "//a b/",
        "file:///x",
    ],
)
def test_location_that_is_no_url(transport: Transport, serve: Serve, location: str) -> None:
    """A Location that is no http or https URL is an error."""
    assert failure(transport, serve(answering(redirect(location))).url())[0] == "redirect"


def test_two_locations(transport: Transport, serve: Serve) -> None:
    """More than one Location is an error: readers would not agree on it."""
    answer = redirect("/a").replace(b"Content-Length", b"Location: /b\r\nContent-Length")
    assert failure(transport, serve(answering(answer)).url())[0] == "redirect"


@pytest.mark.parametrize("status", [300, 304, 200])
def test_other_statuses_are_responses(send: Send, serve: Serve, status: int) -> None:
    """Only the redirects that name one place are followed."""
    answer = f"HTTP/1.1 {status} X\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n".encode()
    assert send(serve(answering(answer)).url(), max_redirects=3).status == status


def test_without_location(send: Send, serve: Serve) -> None:
    """A redirect without Location is the response."""
    assert send(serve(answering(OK.replace(b"200 OK", b"302 X"))).url(), max_redirects=3).status == 302


def test_no_way_back_from_https(
    serve: Serve, make_transport: Make, server_context: ServerContext, ca_file: str
) -> None:
    """Https does not lead to http; http may lead to https."""
    transport = make_transport(ca_file=ca_file)
    plain = serve(answering(OK))
    secure = serve(answering(redirect(plain.url())), server_context())
    assert failure(transport, secure.url())[0] == "redirect"
    assert plain.connections == 0
    safe = serve(answering(OK), server_context())
    upgrading = serve(answering(redirect(safe.url())))
    assert transport.send(request_for(upgrading.url(), max_redirects=1)).body == b"ok"


def test_proxy_after_an_upgrade(serve: Serve, make_transport: Make) -> None:
    """Where http leads to https, the proxy for https is the one asked."""
    http_proxy = serve(answering(redirect("https://a.test/")))
    https_proxy = serve(answering(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"))
    kind, _ = failure(
        make_transport(),
        "http://a.test/",
        proxy=ProxySettings(http_proxy.url()),
        https_proxy=ProxySettings(https_proxy.url()),
    )
    assert kind == "proxy"
    assert first_lines(https_proxy) == ["CONNECT a.test:443 HTTP/1.1"]


def test_client_certificate_stays_with_its_origin(
    serve: Serve, make_transport: Make, server_context: ServerContext, ca_file: str, authority: Any
) -> None:
    """A client certificate is not shown to where a response redirects."""
    issued = authority.issue_cert("client.test")
    own = ClientCertificate(
        b"".join(blob.bytes() for blob in issued.cert_chain_pems).decode(), issued.private_key_pem.bytes().decode()
    )
    seen: list[Any] = []

    def handle(peer: Peer) -> None:
        while peer.request() is not None:
            seen.append(peer.sock.getpeercert(binary_form=True))
            peer.send(answers.pop(0))

    def asking() -> ssl.SSLContext:
        context = server_context()
        authority.configure_trust(context)
        context.verify_mode = ssl.CERT_OPTIONAL
        return context

    other = serve(handle, asking())
    server = serve(handle, asking())
    answers = [redirect("/b"), redirect(other.url()), OK]
    transport = make_transport(ca_file=ca_file)
    transport.send(request_for(server.url(), client_certificate=own, max_redirects=2))
    assert [bool(certificate) for certificate in seen] == [True, True, False]


def test_deadline_counts_over_all(transport: Transport, serve: Serve) -> None:
    """The deadline bounds the whole chain, not each hop."""
    deadline = time.monotonic() + 0.5
    slow = serve(lambda peer: peer.wait_for_end())
    server = serve(answering(redirect(slow.url())))
    kind, message = failure(transport, server.url(), deadline=deadline)
    assert kind == "timeout"
    assert "deadline" in message
    assert time.monotonic() - deadline < 5
