"""Load on a callout that is cached in Redis: what each client got, from where, and what the callee was asked for."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conformance.callee import Callee, Received, Reply
from tests.failures import stage
from tests.failures.stage import Answer, Load, PluginServer, TokenService, token

TIMEOUT_MS = 200
"""All three timeouts of Redis."""

HOT_KEYS = 9
SETTLED = 100
RECOVERY_S = 60.0

_HOT = tuple(f"/?key=hot-{number}" for number in range(HOT_KEYS))
_OWN = "/?key=own-"
"""Completed by a request's id: a key that nobody else asks for."""

PATHS = (*_HOT[:3], _OWN, *_HOT[3:6], _OWN, *_HOT[6:], _OWN)


def in_redis(**where: Any) -> dict[str, Any]:
    """The configuration of a cache in the Redis that this says the place of."""
    limits = dict.fromkeys(("connect_timeout", "send_timeout", "read_timeout"), TIMEOUT_MS)
    return {"strategy": "redis", "redis": {**limits, **where}}


def cached(url: str, cache: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration whose callout asks for the token of the request's key, and whose upstream is told all of it."""
    answer = "$(callouts.value.response.body.%s)"
    return {
        "callouts": [
            {
                "name": "value",
                "request": {"url": url, "query": {"custom": {"id": "$(query_params.key)"}}},
                "response": {"body": {"decode": True}},
            }
        ],
        "upstream": {
            "headers": {
                "custom": {
                    "X-Value": answer % "token",
                    "X-Call": answer % "call",
                    "X-Cache": "$(callouts.value.caching.status)",
                }
            }
        },
        "cache": cache,
    }


def echo(request: Received) -> Reply:
    """The upstream: the client gets to know what came from the callout."""
    found = {name: request.header(f"x-{name}") for name in ("value", "call", "cache")}
    return Reply(body=json.dumps(found).encode())


@dataclass(frozen=True)
class Got:
    """What one client got: of which key, whose answer (the callee's number), and what the cache did."""

    key: str
    call: int
    cache: str
    began_s: float
    ended_s: float

    @property
    def is_hot(self) -> bool:
        """Whether others ask for the same."""
        return self.key.startswith("hot-")


class CacheLoad(Load):
    """Sixteen clients; of every four requests three are for one of a few keys, and one for a key of its own."""

    def __init__(self, url: str) -> None:
        self._read: list[Got] = []
        super().__init__(url, PATHS)

    def _target(self, path: str, identity: str) -> str:
        return path + identity if path == _OWN else path

    def got(self, after_s: float = 0.0, before_s: float = float("inf")) -> list[Got]:
        """What all requests got that were begun and answered in this time; every one must have got its value."""
        for answer in self.answers[len(self._read) :]:
            self._read.append(_checked(answer, self._target(answer.path, answer.identity)))
        return [one for one in self._read if after_s < one.began_s and one.ended_s < before_s]

    def wait_for_answers(self, number: int, after_s: float) -> list[Got]:
        """Until so many requests that were begun after this moment are answered."""
        stage.until(lambda: len(self.got(after_s)) >= number, f"{number} answers", RECOVERY_S)
        return self.got(after_s)

    def wait_for_hits(self) -> list[Got]:
        """Until all that is asked for repeatedly comes from the cache, for a while; gives the answers of this while."""

        def settled() -> bool:
            return {one.cache for one in self._last(began_s)} == {"hit"}

        began_s = time.monotonic()
        stage.until(lambda: len(self._last(began_s)) == SETTLED and settled(), f"{SETTLED} hits", RECOVERY_S)
        return self._last(began_s)

    def _last(self, after_s: float) -> list[Got]:
        return [one for one in self.got(after_s) if one.is_hot][-SETTLED:]


def _checked(answer: Answer, target: str) -> Got:
    key = target.partition("=")[2]
    assert answer.status == 200, answer
    found = json.loads(answer.body)
    assert found["value"] == token(key), answer
    return Got(key, int(found["call"]), found["cache"], answer.began_s, answer.ended_s)


def share_of_hits(answers: Sequence[Got]) -> float:
    """Of all answers, also those to requests that nobody else asks for."""
    return sum(one.cache == "hit" for one in answers) / len(answers)


@dataclass(frozen=True)
class CachedSite:
    """A plugin server and the gateway before it, with what they call."""

    server: PluginServer
    proxy: str
    callee: TokenService

    @contextmanager
    def load(self) -> Iterator[CacheLoad]:
        """Load while the block runs, which must end with hits.

        Checked are all answers, that the server's processes stay the same, and that every call of the callee was for
        a miss, of which each got an answer of its own.
        """
        workers = self.server.workers()
        calls_before = self._calls()
        running = CacheLoad(self.proxy)
        try:
            yield running
        finally:
            running.stop()
        got = running.got()
        assert self.server.workers() == workers
        missed = [one.call for one in got if one.cache == "miss"]
        assert len(set(missed)) == len(missed)
        assert set(missed) <= set(range(calls_before, self._calls()))
        assert len(missed) == self._calls() - calls_before - 2  # two were these questions
        assert share_of_hits(got) > 0

    def _calls(self) -> int:
        with urllib.request.urlopen(f"{self.callee.url}/counted?id=count") as answer:
            return int(json.load(answer)["call"])


@contextmanager
def cached_site(folder: Path, cache: Mapping[str, Any], workers: int = 2) -> Iterator[CachedSite]:
    """The whole of it, started and ended again."""
    with ExitStack() as stack:
        callee = TokenService()
        stack.callback(callee.kill)
        upstream = Callee(Reply())
        stack.callback(upstream.close)
        upstream.on("/", echo)
        server = PluginServer(folder, "protobuf", ["--workers", str(workers)])
        stack.callback(server.close)
        configs = {"/": cached(f"{callee.url}/counted", cache)}
        gateway = stack.enter_context(stage.gateway(folder, "protobuf", upstream.url, configs, "--socket", server.path))
        yield CachedSite(server, gateway.proxy, callee)
