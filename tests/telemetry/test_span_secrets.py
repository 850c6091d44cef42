"""Secrets stay out of every byte that goes to the collector."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.callee import Callee, Reply
from tests.conformance.site import callout
from tests.servers.redis_server import HOST, running
from tests.telemetry.collector import Collector
from tests.telemetry.conftest import Observed, Traced

SECRET = "SECRET"
HEADERS = {"custom": {"Authorization": "Bearer SECRETTOKEN", "X-Api-Key": "SECRETKEY", "Cookie": "SECRETCOOKIE"}}


def secrets_of_a_request(callee: Callee) -> list[dict[str, Any]]:
    """Callouts with a secret in every place that may hold one, some that fail with it in their error."""
    port, go_on = callee.port, {"on_error": "continue"}
    user = f"http://SECRETUSER:SECRETPASSWORD@127.0.0.1:{port}"
    proxy = {"http_proxy": "http://SECRETP:SECRETQ@127.0.0.1:1", "auth_username": "SECRETU", "auth_password": "SECRETW"}
    auth = {
        "type": "oauth2_client_credentials",
        "token_url": f"http://127.0.0.1:{port}/token?k=SECRETTOKENQUERY",
        "client_id": "SECRETID",
        "client_secret": "SECRETCLIENT",
    }
    vault = "{vault://env/span-secret}"
    return [
        callout("user", f"{user}/user?a=SECRETQUERY#SECRETFRAGMENT", headers=HEADERS),
        callout("dead", "http://SECRETUSER:SECRETPASSWORD@127.0.0.1:1/?a=SECRETQUERY", error=go_on),
        callout("query", "/query", query={"forward": True, "custom": {"k": "SECRETVALUE"}}),
        callout("body", "/body", method="POST", body={"forward": True, "custom": {"p": "SECRETPASSWORD"}}, error=go_on),
        callout("forwarded", "/forwarded", headers={"forward": True}),
        callout("proxied", "/proxied", http_opts={"proxy": proxy}, error=go_on),
        callout("authorized", "/authorized", auth=auth, error=go_on),
        callout("vault", "/vault", headers={"custom": {"X-Vault": vault}}),
        callout("script", "/script", by_lua="error('it is ' .. kong.request.get_header('x-client'))"),
    ]


def test_no_secret_reaches_the_collector(observed: Observed, collector: Collector, callee: Callee) -> None:
    """User info, query values, headers, bodies, vaults, proxies, OAuth and Redis: none of it is exported."""
    with running("--requirepass", "SECRETREDIS") as redis:
        site = observed(
            OTEL_EXPORTER_OTLP_HEADERS="api-key=SECRETEXPORTER",
            SPAN_SECRET="SECRETVAULT",
        )
        callee.on("/user", Reply(500, b"SECRETRESPONSE", (("Set-Cookie", "SECRETSET"),)))
        settings = {"host": HOST, "port": redis.port, "password": "SECRETREDIS"}
        site.configure([*secrets_of_a_request(callee)], cache={"strategy": "redis", "redis": settings})
        traced = Traced(site, collector)
        headers = {"Authorization": "SECRETAUTH", "Cookie": "SECRETCOOKIE", "X-Client": "value"}
        traced.get("?q=SECRETPARAMETER", **headers)
        assert {span.callout for span in traced.attempts()} >= {"user", "dead", "query", "body", "vault", "forwarded"}
    assert collector.headers[0]["api-key"] == "SECRETEXPORTER"
    assert b"REDACTED" in collector.bytes
    assert SECRET.encode() not in collector.bytes
    assert "SECRETEXPORTER" not in site.gateway.log()


@pytest.mark.parametrize("statuses", [[], [200]], ids=["ok", "failed"])
def test_a_url_of_a_vault_is_not_exported(
    observed: Observed, collector: Collector, callee: Callee, statuses: list[int]
) -> None:
    """A reference that is the whole of the URL shows neither in it nor in the error."""
    site = observed(SPAN_SECRET=f"{callee.url}/SECRETPATH")
    site.configure([callout("a", "{vault://env/span-secret}", error={"http_statuses": statuses} if statuses else {})])
    traced = Traced(site, collector)
    traced.get()
    (attempt,) = traced.attempts()
    assert attempt.attributes["server.address"] == "***"
    assert b"SECRETPATH" not in collector.bytes
