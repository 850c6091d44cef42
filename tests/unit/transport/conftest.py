from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import gevent
import pytest
import trustme
from gevent import ssl as gevent_ssl

from request_callout.config.settings import TransportSettings
from request_callout.transport import IncomingResponse, OutgoingRequest, Transport

from .literal_server import LiteralServer

Serve = Callable[..., LiteralServer]
Send = Callable[..., IncomingResponse]
ServerContext = Callable[..., ssl.SSLContext]


@pytest.fixture
def serve() -> Iterator[Serve]:
    servers: list[LiteralServer] = []

    def start(*arguments: Any, **options: Any) -> LiteralServer:
        servers.append(LiteralServer(*arguments, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def make_transport() -> Iterator[Callable[..., Transport]]:
    made: list[Transport] = []

    def make(**settings: Any) -> Transport:
        made.append(Transport(TransportSettings(**settings)))
        return made[-1]

    yield make
    for transport in made:
        transport.close()


@pytest.fixture
def transport(make_transport: Callable[..., Transport]) -> Transport:
    return make_transport()


def request_for(url: str, method: str = "GET", **changes: Any) -> OutgoingRequest:
    values: dict[str, Any] = {
        "headers": [],
        "body": None,
        "connect_timeout_s": 10.0,
        "write_timeout_s": 10.0,
        "read_timeout_s": 10.0,
    }
    return OutgoingRequest(method, url, **(values | changes))


@pytest.fixture
def send(transport: Transport) -> Send:
    def send_one(url: str, method: str = "GET", **changes: Any) -> IncomingResponse:
        return transport.send(request_for(url, method, **changes))

    return send_one


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture
def server_context(authority: trustme.CA) -> ServerContext:
    def make(*names: str) -> ssl.SSLContext:
        context: ssl.SSLContext = gevent_ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*(names or ("127.0.0.1", "localhost"))).configure_cert(context)
        return context

    return make


class FixedResolver:
    """A resolver for gevent's hub that knows these addresses, or hangs until the greenlet is stopped."""

    def __init__(self, *hosts: str, hangs: bool = False) -> None:
        self.hosts = hosts
        self.hangs = hangs

    def getaddrinfo(self, _: str, port: int, *__: Any, **___: Any) -> list[Any]:
        if self.hangs:
            gevent.event.Event().wait()
        return [(2, 1, 6, "", (host, port)) for host in self.hosts]


@pytest.fixture
def resolver() -> Iterator[Callable[[FixedResolver], None]]:
    hub = gevent.get_hub()
    before = hub.resolver

    def use(one: FixedResolver) -> None:
        hub.resolver = cast(Any, one)

    yield use
    hub.resolver = before
