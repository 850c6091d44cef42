"""What a client's values can do to a callout's request: nothing but fill the place they were put in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from gevent.server import StreamServer
from gevent.socket import socket

from request_callout.engine import Engine
from tests.unit.engine.conftest import engine  # noqa: F401  (a fixture)
from tests.unit.engine.kong_double import KongDouble

EVIL = "x\r\nX-Injected: yes\r\n\r\nGET /second HTTP/1.1\r\nHost: h\r\n\r\n"
PARAMS = "kong.ctx.shared.callouts.a.request.params"


class Wire:
    """A server that keeps every byte it gets."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.server = StreamServer(("127.0.0.1", 0), self.handle)
        self.server.start()
        self.address = f"127.0.0.1:{self.server.server_port}"

    def handle(self, sock: socket, _address: object) -> None:
        data = bytearray()
        while b"\r\n\r\n" not in data and (more := sock.recv(65536)):
            data += more
            self.received += more
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        while more := sock.recv(65536):
            self.received += more
        sock.close()


@pytest.fixture
def wire() -> Iterator[Wire]:
    wire = Wire()
    yield wire
    wire.server.stop()


CASES: dict[str, dict[str, Any]] = {
    "header value": {"headers": {"custom": {"X-A": "$(headers.evil)"}}},
    "host": {"headers": {"custom": {"Host": "$(headers.evil)"}}},
    "path": {"url": "http://ADDRESS/$(headers.evil)"},
    "query in the URL": {"url": "http://ADDRESS/?a=$(headers.evil)"},
    "query": {"query": {"custom": {"a": "$(headers.evil)"}}},
    "authority": {"url": "http://ADDRESS$(headers.evil)/"},
    "user info": {"url": "http://$(headers.evil)@ADDRESS/"},
    "fragment": {"url": "http://ADDRESS/#$(headers.evil)"},
    "forwarded header": {"headers": {"forward": True}},
    "method of a script": {"by_lua": f"{PARAMS}.method = kong.request.get_header('evil')"},
    "header name of a script": {"by_lua": f"{PARAMS}.headers[kong.request.get_header('evil')] = 'v'"},
    "header value of a script": {"by_lua": f"{PARAMS}.headers.a = {{'b', kong.request.get_header('evil')}}"},
    "query name of a script": {"by_lua": f"{PARAMS}.query = {{[kong.request.get_header('evil')] = 'v'}}"},
    "query text of a script": {"by_lua": f"{PARAMS}.query = kong.request.get_header('evil')"},
    "framing headers of a script": {
        "method": "POST",
        "by_lua": f"{PARAMS}.headers['Transfer-Encoding'] = 'chunked' {PARAMS}.headers['Content-Length'] = '999' "
        f"{PARAMS}.body = '0\\r\\n\\r\\nGET /second HTTP/1.1\\r\\n\\r\\n'",
    },
}


@pytest.mark.parametrize("request_", CASES.values(), ids=CASES.keys())
def test_one_callout_is_one_request(engine: Engine, wire: Wire, request_: dict[str, Any]) -> None:  # noqa: F811
    """Line breaks in a client's value add no header and no request, wherever a configuration puts the value."""
    request = {"url": "http://ADDRESS/", **request_}
    request["url"] = request["url"].replace("ADDRESS", wire.address)
    kong = KongDouble(
        kong__request__get_headers={"host": "h", "evil": EVIL}, kong__request__get_header=lambda name: EVIL
    )
    instance = engine.instance({"__plugin_id": "p", "callouts": [{"name": "a", "request": request}]})
    assert instance.problems == ()
    instance.access(kong)
    head, _, body = bytes(wire.received).partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert [line for line in lines[1:] if line.lower().startswith((b"x-injected", b"get ", b"transfer-encoding"))] == []
    lengths = [line for line in lines if line.lower().startswith(b"content-length:")]
    assert lengths == ([b"Content-Length: %d" % len(body)] if request.get("method") == "POST" else [])
    assert bool(head) == (kong.answer is None)
    if not lengths:
        assert body == b""


def test_credentials_of_one_url_do_not_go_to_another(engine: Engine, wire: Wire) -> None:  # noqa: F811
    """An at sign in a client's value moves no request to another host once the host is written down."""
    kong = KongDouble(kong__request__get_headers={"host": "h", "evil": "@127.0.0.1:1/"})
    url = f"http://{wire.address}/$(headers.evil)"
    engine.instance({"__plugin_id": "p", "callouts": [{"name": "a", "request": {"url": url}}]}).access(kong)
    assert bytes(wire.received).startswith(b"GET /@127.0.0.1:1/ HTTP/1.1\r\n")
