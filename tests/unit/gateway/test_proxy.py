"""The proxy port: what the upstream gets and what the client gets back."""

from __future__ import annotations

import socket
import struct
import threading
from http.server import BaseHTTPRequestHandler

import pytest

from tests.unit.gateway.conftest import Make
from tests.unit.gateway.stand_ins import Upstream


def service(up: Upstream, path: str = "", **route: object) -> dict[str, object]:
    return {"services": [{"name": "s", "url": up.url + path, "routes": [{"name": "r", **route}]}]}


def raw_exchange(address: str, request: bytes) -> bytes:
    host, _, port = address.removeprefix("http://").rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(request)
        connection.settimeout(10)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
        return received


def test_upstream_gets_kongs_headers(make: Make, up: Upstream) -> None:
    """The upstream gets Kong's forwarding fields, the service's host, and one request id that the client gets too."""
    gateway = make(service(up, paths=["/a"]))
    response = gateway.get("/a/b?x=1&x=2", headers={"X-Forwarded-For": "9.9.9.9", "X-Own": "1"})
    got = up.requests[0]
    assert response.text == "upstream"
    assert got.target == "/b?x=1&x=2"
    port = gateway.proxy.rpartition(":")[2]
    assert [(name, value) for name, value in got.headers if name.startswith(("Via", "Host", "Conn", "X-"))] == [
        ("Host", f"127.0.0.1:{up.port}"),
        ("Via", "1.1 kong/3.9.1"),
        ("Connection", "keep-alive"),
        ("X-Forwarded-For", "9.9.9.9, 127.0.0.1"),
        ("X-Forwarded-Proto", "http"),
        ("X-Forwarded-Host", "127.0.0.1"),
        ("X-Forwarded-Port", port),
        ("X-Forwarded-Path", "/a/b"),
        ("X-Forwarded-Prefix", "/a"),
        ("X-Real-IP", "127.0.0.1"),
        ("X-Kong-Request-Id", response.headers["X-Kong-Request-Id"]),
        ("X-Own", "1"),
    ]


def test_client_gets_kongs_headers(make: Make, up: Upstream) -> None:
    """A proxied answer keeps the upstream's fields and their order, and gets Via and the latencies."""
    up.answer = (203, [("Server", "up/1"), ("X-Two", "a"), ("X-Two", "b"), ("Keep-Alive", "x")], b"body")
    gateway = make(service(up, paths=["/"]))
    response = gateway.get("/")
    assert response.status_code == 203
    assert response.raw.headers.getlist("X-Two") == ["a", "b"]
    assert response.headers["Server"] == "up/1"
    assert response.headers["Via"] == "1.1 kong/3.9.1"
    assert "Keep-Alive" not in response.headers
    assert "Content-Type" not in response.headers
    assert int(response.headers["X-Kong-Upstream-Latency"]) >= 0
    assert int(response.headers["X-Kong-Proxy-Latency"]) >= 0
    assert "X-Kong-Response-Latency" not in response.headers


def test_hop_by_hop_fields_end_at_the_gateway(make: Make, up: Upstream) -> None:
    """What the Connection field names, and the fields of one connection, are not sent on."""
    gateway = make(service(up, paths=["/"]))
    head = (
        "GET /x HTTP/1.1\r\nHost: h\r\nConnection: close, X-Gone\r\nX-Gone: 1\r\nTE: gzip\r\nKeep-Alive: 5\r\n"
        "Proxy-Connection: keep-alive\r\nUpgrade: h2c\r\nX-Dup: 1\r\nX-Dup: 2\r\nx-Stays: yes\r\n\r\n"
    )
    raw_exchange(gateway.proxy, head.encode())
    got = up.requests[0]
    for name in ("X-Gone", "TE", "Keep-Alive", "Proxy-Connection", "Upgrade"):
        assert got.header(name) is None, name
    assert got.all("X-Dup") == ["1", "2"]
    assert ("x-Stays", "yes") in got.headers


def test_no_route(make: Make, up: Upstream) -> None:
    """Without a route Kong answers 404 itself, with its own fields and the request id in the body."""
    gateway = make(service(up, paths=["/a"]))
    response = gateway.get("/b")
    assert response.status_code == 404
    rid = response.headers["X-Kong-Request-Id"]
    assert response.text == f'{{\n  "message":"no Route matched with those values",\n  "request_id":"{rid}"\n}}'
    assert response.headers["Content-Type"] == "application/json; charset=utf-8"
    assert response.headers["Server"] == "kong/3.9.1"
    assert "X-Kong-Response-Latency" in response.headers
    assert "Via" not in response.headers


def test_no_service(make: Make) -> None:
    """A route without a service gives 503."""
    gateway = make({"routes": [{"paths": ["/a"]}]})
    response = gateway.get("/a")
    assert (response.status_code, response.json()["message"]) == (503, "no Service found with those values")


def test_connection_refused(make: Make) -> None:
    """An upstream that takes no connections gives 502 with nginx's message and the proxied fields."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        gateway = make({"services": [{"name": "s", "url": f"http://127.0.0.1:{port}", "routes": [{"paths": ["/"]}]}]})
        response = gateway.get("/")
    assert response.status_code == 502
    assert response.json()["message"] == "An invalid response was received from the upstream server"
    assert response.headers["Via"] == "1.1 kong/3.9.1"


def test_name_resolution(make: Make) -> None:
    """A host name that does not resolve gives 503."""
    gateway = make({"services": [{"name": "s", "host": "nowhere.invalid", "routes": [{"paths": ["/"]}]}]})
    response = gateway.get("/")
    assert (response.status_code, response.json()["message"]) == (503, "name resolution failed")


def test_upstream_timeout(make: Make, up: Upstream) -> None:
    """An upstream that does not answer in time gives 504, after as many more attempts as ``retries`` says."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(8)
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        gateway = make({"services": [{"url": url, "read_timeout": 50, "retries": 2, "routes": [{"paths": ["/"]}]}]})
        response = gateway.get("/")
        assert (response.status_code, response.json()["message"]) == (504, "The upstream server is timing out")
        silent.settimeout(5)
        attempts = [silent.accept()[0] for _ in range(3)]
        silent.settimeout(0.05)
        with pytest.raises(TimeoutError):
            silent.accept()
        for one in attempts:
            one.close()


def test_broken_answer_is_not_repeated_for_post(make: Make, up: Upstream) -> None:
    """A POST that was sent is not sent again; a GET is."""

    def hang_up(handler: BaseHTTPRequestHandler) -> None:
        handler.close_connection = True

    up.handler = hang_up
    gateway = make({"services": [{"url": up.url, "retries": 1, "routes": [{"paths": ["/"]}]}]})
    assert gateway.request("POST", "/", data=b"x").status_code == 502
    assert len(up.requests) == 1
    assert gateway.get("/").status_code == 502
    assert len(up.requests) >= 3


@pytest.mark.parametrize("size", [0, 5, 9000, 3_000_000])
def test_request_bodies_arrive_whole(make: Make, up: Upstream, size: int) -> None:
    """A body reaches the upstream as it came, whether it was kept in memory or in a file."""
    gateway = make(service(up, paths=["/"]))
    body = bytes(i % 251 for i in range(size))
    assert gateway.request("POST", "/p", data=body).status_code == 200
    assert up.requests[0].body == body


def test_chunked_request_gets_a_length(make: Make, up: Upstream) -> None:
    """A chunked body is read first and sent with its length, as Kong does with request buffering."""
    gateway = make(service(up, paths=["/"]))
    gateway.request("POST", "/p", data=iter([b"ab", b"cd"]))
    got = up.requests[0]
    assert (got.body, got.header("Content-Length"), got.header("Transfer-Encoding")) == (b"abcd", "4", None)


def test_compressed_bodies_stay_compressed(make: Make, up: Upstream) -> None:
    """Nothing is decompressed on the way, in either direction."""
    up.answer = (200, [("Content-Encoding", "gzip")], b"\x1f\x8bnot really gzip")
    gateway = make(service(up, paths=["/"]))
    request = (
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc"
    )
    received = raw_exchange(gateway.proxy, request)
    assert up.requests[0].body == b"abc"
    assert received.endswith(b"\r\n\r\n\x1f\x8bnot really gzip")


def test_answers_stream(make: Make, up: Upstream) -> None:
    """A part of the answer reaches the client before the upstream has sent the rest."""
    gateway = make(service(up, paths=["/"]))
    asked = gateway.get

    def slowly(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response_only(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"5\r\nfirst\r\n")
        handler.wfile.flush()
        if seen.wait(10):
            handler.wfile.write(b"4\r\nlast\r\n0\r\n\r\n")

    seen = threading.Event()
    up.handler = slowly
    with asked("/", stream=True) as response:
        chunks = response.iter_content(chunk_size=None)
        assert next(chunks) == b"first"
        seen.set()
        assert b"".join(chunks) == b"last"


def test_an_answer_cut_short_is_cut_short_for_the_client(make: Make, up: Upstream) -> None:
    """If the upstream hangs up in the middle of its body, the client's connection is closed, not ended in order."""

    def cut(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response_only(200)
        handler.send_header("Content-Length", "10")
        handler.end_headers()
        handler.wfile.write(b"half")
        handler.close_connection = True

    up.handler = cut
    gateway = make(service(up, paths=["/"]))
    with pytest.raises(Exception, match=r"IncompleteRead|Connection (broken|reset|aborted)"):
        gateway.get("/")


def test_client_that_hangs_up(make: Make, up: Upstream, caplog: pytest.LogCaptureFixture) -> None:
    """A client that goes away, in its own body or in the answer's, costs one line of log; the next one is served."""
    up.answer = (200, [], b"x" * 4_000_000)
    gateway = make(service(up, paths=["/"]))
    host, _, port = gateway.proxy.removeprefix("http://").rpartition(":")
    for request in (
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf",
        b"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
    ):
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.sendall(request)
            if request.startswith(b"GET"):
                assert connection.recv(1) == b"H"
    assert len(gateway.get("/").content) == 4_000_000
    assert not [record for record in caplog.records if record.exc_info]


def test_head_and_no_content(make: Make, up: Upstream) -> None:
    """HEAD keeps the length and has no body; 204 has neither."""
    gateway = make(service(up, paths=["/"]))
    response = gateway.request("HEAD", "/")
    assert (response.headers["Content-Length"], response.content) == ("8", b"")
    up.answer = (204, [], b"")
    assert gateway.get("/").status_code == 204


def test_preserve_host(make: Make, up: Upstream) -> None:
    """With preserve_host the upstream gets the client's Host."""
    gateway = make(service(up, paths=["/"], preserve_host=True))
    gateway.get("/", headers={"Host": "Example.com:81"})
    assert up.requests[0].header("Host") == "Example.com:81"


def test_https_only_routes_want_https(make: Make, up: Upstream) -> None:
    """A route for https alone answers plain HTTP with 426, or with the redirect it names."""
    gateway = make(service(up, paths=["/"], protocols=["https"]))
    response = gateway.get("/")
    assert (response.status_code, response.headers["Upgrade"]) == (426, "TLS/1.2, HTTP/1.1")
    gateway = make(service(up, paths=["/"], protocols=["https"], https_redirect_status_code=302))
    response = gateway.get("/x?y", headers={"Host": "h"}, allow_redirects=False)
    assert (response.status_code, response.headers["Location"]) == (302, "https://h/x?y")


def test_error_format_follows_accept(make: Make, up: Upstream) -> None:
    """Kong's errors come in the format that the client prefers."""
    gateway = make(service(up, paths=["/a"]))
    response = gateway.get("/", headers={"Accept": "text/html;q=0.9, text/plain"})
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert response.text.startswith("no Route matched with those values\nrequest_id: ")
