"""upstream.target: the request is proxied where the callouts say."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import pytest
import trustme

from tests.conformance.callee import Callee, reply_json
from tests.conformance.site import UPSTREAM_BODY, Site, callout


@pytest.fixture
def tls_callee() -> Iterator[Callee]:
    """A callee that speaks TLS; Kong does not verify an upstream's certificate unless told to."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    callee = Callee(reply_json({"tls": True}), context)
    yield callee
    callee.close()


def test_target_host_and_port(site: Site) -> None:
    """Host and port by what a callout said; the Host header is then the host, without the port."""
    site.callee.on("/where", reply_json({"host": "127.0.0.1", "port": site.callee.port}))
    target = {"host": "$(callouts.a.response.body.host)", "port": "$(callouts.a.response.body.port)"}
    site.configure([callout("a", "/where", decode=True)], upstream={"target": target})
    assert site.get("/x?q=1").json == {"id": 7, "name": "callee"}
    got = site.callee.one("/up/x")
    assert (got.query, got.header("Host")) == ("q=1", "127.0.0.1")
    assert not site.upstream.received()


def test_target_port_alone(site: Site) -> None:
    """A port alone keeps the service's host."""
    site.configure(upstream={"target": {"port": str(site.callee.port)}})
    assert site.get().status == 200
    assert site.callee.one().header("Host") == "127.0.0.1"


def test_target_host_alone(site: Site) -> None:
    """A host alone keeps the service's port."""
    service = {"url": f"http://localhost:{site.upstream.port}/up"}
    site.configure(upstream={"target": {"host": "127.0.0.1"}}, service=service)
    assert site.get("/x").body == UPSTREAM_BODY
    assert site.upstream.one("/up/x").header("Host") == "127.0.0.1"


def test_target_host_by_name(site: Site) -> None:
    """A name is resolved where the service's host is a name too, and a Host of one's own stays."""
    service = {"url": "http://localhost:1/up"}
    target = {"host": "localhost", "port": str(site.upstream.port)}
    site.configure(upstream={"target": target, "headers": {"custom": {"Host": "mine.test"}}}, service=service)
    assert site.get().body == UPSTREAM_BODY
    assert site.upstream.one().header("Host") == "mine.test"


def test_target_name_in_place_of_an_address(site: Site) -> None:
    """Kong resolves no name for a service whose host is an address: 500."""
    site.configure(upstream={"target": {"host": "localhost"}})
    assert site.get().status == 500
    assert not site.upstream.received()


def test_target_path(site: Site) -> None:
    """A path replaces the upstream request's, the service's too; it is escaped, and the query stays."""
    site.configure(upstream={"target": {"path": "/v2/$(query_params.id)/ü"}})
    site.get("/x?id=7")
    got = site.upstream.one()
    assert got.target == "/v2/7/%C3%BC?id=7"


def test_target_scheme(site: Site, tls_callee: Callee) -> None:
    """A scheme alone decides whether the connection to the service is TLS."""
    site.configure(upstream={"target": {"scheme": "$('https')", "port": str(tls_callee.port)}})
    assert site.get().json == {"tls": True}


def test_target_and_preserve_host(site: Site) -> None:
    """With a target the Host is the target's on a route with preserve_host too."""
    target = {"host": "127.0.0.1", "port": str(site.upstream.port)}
    site.configure(upstream={"target": target, "headers": {"forward": False}}, route={"preserve_host": True})
    assert site.get(headers={"Host": "client.example"}).status == 200
    assert site.upstream.one().all("Host") == ["127.0.0.1"]


@pytest.mark.parametrize("target", [{"host": "x y"}, {"port": "eighty"}, {"scheme": "ftp"}, {"path": "v1"}])
def test_target_that_is_none(site: Site, target: dict[str, str]) -> None:
    """A result that can be no target is a 500, and nobody gets the request."""
    site.configure(upstream={"target": {name: f"$('{value}')" for name, value in target.items()}})
    answer = site.get()
    assert (answer.status, answer.json["message"]) == (500, "Internal Server Error")
    assert not site.upstream.received()
    if site.gateway.embedded:
        assert f"config.upstream.target.{next(iter(target))}: the result" in site.gateway.log()
