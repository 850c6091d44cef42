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
from tests.failures.stage import Load, PluginServer, identity_of, until
from tests.servers.redis_server import HOST, running

EXPIRES_IN_S = 2
EARLIER_S = 0.5
KEPT_S = EXPIRES_IN_S - EARLIER_S
TOKENS = 7
WITHIN_S = 60.0
CLIENTS = 8

SLOW_REDIS = dict.fromkeys(("connect_timeout", "send_timeout", "read_timeout"), 20_000)
"""A Redis that a busy machine makes slow must not count as one that is down: then nothing is kept."""


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

    def issued(self) -> int:
        """How many tokens were given."""
        return len(self.issuer.received())

    def wait_for(self, tokens: int) -> None:
        """Wait until so many tokens were given."""
        until(lambda: self.issued() >= tokens, f"{tokens} tokens", WITHIN_S)

    def used(self) -> dict[str, tuple[str, float]]:
        """The token of each request that reached the upstream, by the request's id, and when it was there."""
        return {
            identity_of(one.query): ((one.header("authorization") or "").removeprefix("Bearer "), one.at_s)
            for one in self.upstream.received()
        }


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
    """A token is fetched every one and a half seconds, and no request that is begun later than that gets the old one.

    So none is used after its two seconds, if a request takes less than half a second to get to the upstream.
    """
    memory: dict[str, Any] = {"strategy": "memory"}
    with (
        running() as redis,
        under_load(tmp_path / "memory", 1, memory) as in_memory,
        under_load(tmp_path / "redis", 2, in_redis(host=HOST, port=redis.port, **SLOW_REDIS)) as shared,
    ):
        for endpoint, clients in (in_memory, shared):
            endpoint.wait_for(TOKENS)
            clients.wait_for(200, CLIENTS, began_after_s=time.monotonic())
    for endpoint, clients in (in_memory, shared):
        assert clients.statuses() == {200}
        used = endpoint.used()
        assert used.keys() == {one.identity for one in clients.answers}
        assert len({token for token, _ in used.values()}) == endpoint.issued()
        # It is kept from the moment of its answer, which was before anybody could send it to the upstream.
        there_s: dict[str, float] = {}
        for token, at_s in used.values():
            there_s[token] = min(at_s, there_s.get(token, at_s))
        late_s = [one.began_s - there_s[used[one.identity][0]] for one in clients.answers]
        assert max(late_s) < KEPT_S
        load_s = max(one.ended_s for one in clients.answers) - min(one.began_s for one in clients.answers)
        print(f"{endpoint.issued()} tokens in {load_s:.1f} s for {len(used)} requests")
        assert endpoint.issued() <= 1 + load_s / KEPT_S
