"""How callouts are sent: TLS, forward proxies, connections, sizes."""

from __future__ import annotations

import base64
import select
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.conformance.callee import Callee, Reply, reply_json
from tests.conformance.conftest import SiteWith
from tests.conformance.site import Site, callout


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """A certificate authority that nobody trusts unless told to."""
    return trustme.CA()


@pytest.fixture
def secure(authority: trustme.CA) -> Iterator[Callee]:
    """A callee with TLS and a certificate for callee.example and 127.0.0.1."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("callee.example", "127.0.0.1").configure_cert(context)
    callee = Callee(reply_json({"id": 7}), context)
    yield callee
    callee.close()


def test_certificates_are_verified(site: Site, secure: Callee) -> None:
    """ssl_verify is true by default: a certificate of an unknown authority is an error."""
    site.configure([callout("a", secure.url)])
    assert site.get().status == 400
    assert not secure.received()


def test_verification_can_be_switched_off(site: Site, secure: Callee) -> None:
    """With ssl_verify: false any certificate will do."""
    site.configure([callout("a", secure.url, http_opts={"ssl_verify": False})])
    assert site.get().status == 200
    assert secure.one()


def test_script_may_change_how_it_is_sent(site: Site, secure: Callee) -> None:
    """request.by_lua may change ssl_verify in request.params, as everything else there."""
    script = "kong.ctx.shared.callouts.a.request.params.ssl_verify = false"
    site.configure([callout("a", secure.url, by_lua=script)])
    assert site.get().status == 200
    assert secure.one()


def test_script_may_change_the_timeouts(site: Site) -> None:
    """request.by_lua may set timeouts in request.params, in milliseconds."""
    over = threading.Event()
    site.callee.on("/a", Reply(hold=lambda: over.wait(10)))
    script = "kong.ctx.shared.callouts.a.request.params.timeouts = {connect = 300, write = 300, read = 300}"
    site.configure([callout("a", "/a", by_lua=script)])
    answer = site.get()
    over.set()
    assert answer.status == 400


@pytest.mark.embedded("needs the server option --ca-file")
def test_ca_file(site_with: SiteWith, secure: Callee, authority: trustme.CA, tmp_path: Path) -> None:
    """Certificates are verified against --ca-file, for ssl_server_name if it is given."""
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    site = site_with(f"--ca-file={bundle}")
    site.configure(
        [callout("a", secure.url), callout("b", secure.url, http_opts={"ssl_server_name": "callee.example"})]
    )
    assert site.get().status == 200
    assert len(secure.received()) == 2
    site.configure([callout("a", secure.url, http_opts={"ssl_server_name": "wrong.example"})])
    assert site.get().status == 400
    assert len(secure.received()) == 2


def test_server_name_is_sent(site: Site, authority: trustme.CA) -> None:
    """ssl_server_name is the SNI."""
    names: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    context.sni_callback = lambda _, name, __: names.append(name)
    callee = Callee(reply_json({}), context)
    site.configure([callout("a", callee.url, http_opts={"ssl_server_name": "sni.example", "ssl_verify": False})])
    assert site.get().status == 200
    callee.close()
    assert names == ["sni.example"]


def test_plain_http_goes_through_the_http_proxy(site: Site, upstream: Callee) -> None:
    """With proxy.http_proxy the request goes to the proxy, with the whole URL and the credentials."""
    proxy = Callee(reply_json({"id": 9}))
    options = {"http_proxy": proxy.url, "auth_username": "user", "auth_password": "pa:ss"}
    site.configure(
        [callout("a", "http://callee.example/x?y=1", decode=True, http_opts={"proxy": options})],
        upstream={"headers": {"custom": {"X-Id": "$(callouts.a.response.body.id)"}}},
    )
    assert site.get().status == 200
    proxy.close()
    got = proxy.one()
    assert (got.target, got.header("Host")) == ("http://callee.example/x?y=1", "callee.example")
    assert got.header("Proxy-Authorization") == "Basic " + base64.b64encode(b"user:pa:ss").decode()
    assert upstream.one().header("X-Id") == "9"


class Tunnel:
    """A forward proxy that knows CONNECT only; ``asked`` has the heads of the requests that it got."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        client, _ = self._listener.accept()
        with client:
            head = b""
            while b"\r\n\r\n" not in head:
                head += client.recv(65536)
            self.asked.append(head.decode())
            host, port = head.split()[1].decode().rsplit(":", 1)
            with socket.create_connection((host, int(port))) as callee:
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                self._pass(client, callee)

    @staticmethod
    def _pass(client: socket.socket, callee: socket.socket) -> None:
        other = {client: callee, callee: client}
        while True:
            for ready in select.select([client, callee], [], [], 10)[0]:
                data = ready.recv(65536)
                if not data:
                    return
                other[ready].sendall(data)

    def close(self) -> None:
        self._listener.close()


def test_https_goes_through_a_tunnel(site: Site, secure: Callee) -> None:
    """With proxy.https_proxy an https callout goes through CONNECT; the credentials are for the proxy only."""
    tunnel = Tunnel()
    proxy = {"https_proxy": tunnel.url, "auth_username": "user", "auth_password": "secret"}
    site.configure([callout("a", f"{secure.url}/x", http_opts={"ssl_verify": False, "proxy": proxy})])
    assert site.get().status == 200
    tunnel.close()
    assert tunnel.asked[0].startswith(f"CONNECT 127.0.0.1:{secure.port} HTTP/1.1\r\n")
    assert base64.b64encode(b"user:secret").decode() in tunnel.asked[0]
    got = secure.one()
    assert (got.target, got.header("Proxy-Authorization")) == ("/x", None)


def test_proxy_url_of_scheme_https_is_unusable(site: Site) -> None:
    """A proxy URL of scheme https makes the configuration unusable."""
    proxy = {"http_proxy": "https://127.0.0.1:1"}
    text = site.unusable([callout("a", "/a", http_opts={"proxy": proxy})])
    assert not site.gateway.embedded or "http_proxy" in text


def test_connections_are_kept(site: Site) -> None:
    """Connections are kept and used again."""
    site.configure([callout("a", "/a")])
    for _ in range(3):
        assert site.get().status == 200
    assert len({request.connection for request in site.callee.received()}) == 1


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_connection_that_was_closed_meanwhile(site: Site, method: str) -> None:
    """A kept connection that the callee has closed meanwhile is renewed: the client notices nothing."""
    site.callee.on("/a", Reply(hang_up=True))
    site.configure([callout("a", "/a", method=method)])
    for number in range(1, 6):
        assert site.get().status == 200
        assert site.callee.closed(number)
    assert len(site.callee.received()) == 5


@pytest.mark.parametrize(
    "reply",
    [Reply(headers=(("X-Large", "x" * 70_000),)), Reply(body=b"x" * (11 * 1024 * 1024))],
    ids=["headers", "body"],
)
def test_size_of_answers_is_limited(site: Site, reply: Reply) -> None:
    """Answers with more than 64 KiB of headers or 10 MiB of body are errors; the next request is served."""
    site.callee.on("/a", reply, reply_json({}))
    site.configure([callout("a", "/a")])
    assert site.get().status == 400
    assert site.get().status == 200


def test_body_of_5_mb_from_the_client(site: Site) -> None:
    """A client's body of 5 MB reaches callee and upstream whole (the gateway must keep it in memory)."""
    site.configure([callout("a", "/a", method="POST", body={"forward": True})])
    body = bytes(range(256)) * (5 * 4096)
    answer = site.request("POST", "", {"Content-Type": "application/octet-stream"}, body)
    assert answer.status == 200
    assert site.callee.one().body == body
    assert site.upstream.one().body == body


def test_body_of_5_mb_from_the_callee(site: Site) -> None:
    """A response of 5 MB is decoded, handed to a script and answered to the client whole."""
    text = "x" * (5 * 1024 * 1024)
    site.callee.on("/a", reply_json({"text": text}))
    site.configure(
        [callout("a", "/a", decode=True)],
        upstream={"by_lua": "kong.response.exit(200, kong.ctx.shared.callouts.a.response.body)"},
    )
    answer = site.get()
    assert answer.status == 200
    assert answer.json == {"text": text}


def test_chunked_response(site: Site) -> None:
    """A response in chunks is read as one."""
    raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nX-After: 1\r\n\r\n"
    site.callee.on("/a", Reply(raw=raw))
    site.configure([callout("a", "/a")], upstream={"headers": {"custom": {"X-B": "$(callouts.a.response.body)"}}})
    site.get()
    assert site.upstream.one().header("X-B") == "abcde"


def test_response_until_the_end_of_the_connection(site: Site) -> None:
    """A response without a length ends with the connection."""
    site.callee.on("/a", Reply(raw=b"HTTP/1.1 200 OK\r\n\r\nall of it"))
    site.configure([callout("a", "/a")], upstream={"headers": {"custom": {"X-B": "$(callouts.a.response.body)"}}})
    site.get()
    assert site.upstream.one().header("X-B") == "all of it"


def test_interim_responses_are_passed_over(site: Site) -> None:
    """A 1xx response is not the response."""
    raw = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    site.callee.on("/a", Reply(raw=raw))
    site.configure([callout("a", "/a")], witness=True)
    response = site.context()["a"]["response"]
    assert (response["status"], response["body"]) == (200, "ok")


def test_client_that_hangs_up(site: Site) -> None:
    """A client that goes away while its callouts run does no harm: others are served, then and afterwards."""
    go_on = threading.Event()
    site.callee.on("/a", Reply(hold=lambda: go_on.wait(10)), reply_json({}))
    site.configure([callout("a", "/a")])
    host, port = site.gateway.proxy.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as client:
        client.sendall(f"GET {site.path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert site.callee.arrived("/a")
    assert site.get().status == 200
    go_on.set()
    assert [site.get().status for _ in range(3)] == [200] * 3


def test_many_requests_at_once(site: Site) -> None:
    """Requests in flight at the same time do not see each other's context."""
    site.configure(
        [callout("a", "/a", headers={"custom": {"X-N": "$(headers.x_n)"}}, by_lua="kong.ctx.shared.n = 1")],
        upstream={"headers": {"custom": {"X-Sent": "$(kong.ctx.shared.callouts.a.request.params.headers['X-N'])"}}},
    )
    failures: list[object] = []

    def client(number: int) -> None:
        for turn in range(5):
            answer = site.get(headers={"X-N": f"{number}-{turn}"})
            if answer.status != 200:
                failures.append(answer)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    got = site.upstream.received()
    assert len(got) == 40
    assert all(request.header("X-Sent") == request.header("X-N") for request in got)
