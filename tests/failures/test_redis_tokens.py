"""Tokens that live for two seconds, kept by the ``ttl`` that the examples have, under load."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.conformance.callee import Callee, Received, Reply, reply_json
from tests.failures import stage
from tests.failures.cached_stage import in_redis
from tests.failures.stage import Load, PluginServer
from tests.servers.redis_server import HOST, running

EXPIRES_IN_S = 2
EARLIER_S = 0.5
LOAD_S = 10
CLIENTS = 8


class TokenEndpoint:
    """Gives tokens that tell when they were given, and the upstream that wants them to be young."""

    def __init__(self) -> None:
        self.issuer = Callee(Reply())
        self.issuer.on("/oauth/token", self._issue)
        self.upstream = Callee(Reply(body=b"ok"))

    def close(self) -> None:
        self.issuer.close()
        self.upstream.close()

    def _issue(self, _request: Received) -> Reply:
        return reply_json({"access_token": str(time.monotonic()), "expires_in": EXPIRES_IN_S})

    def ages_s(self) -> list[float]:
        """How old the token of each request was when it arrived."""
        received = self.upstream.received()
        return [one.at_s - float((one.header("authorization") or "").removeprefix("Bearer ")) for one in received]


def injection(url: str, cache: Mapping[str, Any]) -> dict[str, Any]:
    """As in ``examples/redis-cache``, with shorter times."""
    body = {"grant_type": "client_credentials", "client_id": "demo-client", "client_secret": "demo-secret"}
    return {
        "callouts": [
            {
                "name": "auth",
                "request": {"url": f"{url}/oauth/token", "method": "POST", "body": {"custom": body}},
                "response": {"body": {"decode": True}},
                "cache": {"ttl": f"$(callouts.auth.response.body.expires_in - {EARLIER_S})", "statuses": [200]},
            }
        ],
        "upstream": {"headers": {"custom": {"Authorization": "Bearer $(callouts.auth.response.body.access_token)"}}},
        "cache": cache,
    }


@contextmanager
def under_load(folder: Path, workers: int, cache: Mapping[str, Any]) -> Iterator[tuple[TokenEndpoint, Load]]:
    """A token endpoint, and clients that cause the need for its tokens."""
    folder.mkdir()
    with ExitStack() as stack:
        endpoint = TokenEndpoint()
        stack.callback(endpoint.close)
        server = PluginServer(folder, "protobuf", ["--workers", str(workers)])
        stack.callback(server.close)
        configs = {"/": injection(endpoint.issuer.url, cache)}
        gateway = stack.enter_context(
            stage.gateway(folder, "protobuf", endpoint.upstream.url, configs, "--socket", server.path)
        )
        clients = Load(gateway.proxy, clients=CLIENTS)
        stack.callback(clients.stop)
        yield endpoint, clients


def test_a_token_is_fetched_again_before_it_expires(tmp_path: Path) -> None:
    """Under ten seconds of load tokens are fetched every one and a half, and none is used after its two seconds."""
    memory: dict[str, Any] = {"strategy": "memory"}
    with (
        running() as redis,
        under_load(tmp_path / "memory", 1, memory) as in_memory,
        under_load(tmp_path / "redis", 2, in_redis(host=HOST, port=redis.port)) as shared,
    ):
        began_s = time.monotonic()
        for _, clients in (in_memory, shared):
            clients.wait_for(200, 1, began_after_s=began_s + LOAD_S)
    for endpoint, clients in (in_memory, shared):
        assert clients.statuses() == {200}
        load_s = max(one.ended_s for one in clients.answers) - min(one.began_s for one in clients.answers)
        ages_s = endpoint.ages_s()
        assert len(ages_s) == len(clients.answers)
        assert max(ages_s) < EXPIRES_IN_S
        fetched = len(endpoint.issuer.received())
        print(f"{fetched} tokens in {load_s:.1f} s for {len(ages_s)} requests, the oldest one {max(ages_s):.2f} s old")
        assert load_s / EXPIRES_IN_S <= fetched <= 1 + load_s / (EXPIRES_IN_S - EARLIER_S)
