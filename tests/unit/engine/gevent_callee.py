"""A callee in the tests' own gevent hub, and configurations that call it: what happens when is up to the test."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import gevent
from gevent.event import Event
from gevent.pywsgi import WSGIServer

from request_callout.config.settings import Settings
from request_callout.engine import Engine, Instance
from tests.unit.engine.kong_double import KongDouble

PATIENCE_S = 10.0


@dataclass
class Reply:
    """An answer; a dict is sent as JSON."""

    body: Any = b"ok"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


class Callee:
    """Answers with ``reply(number of the request)``, while ``gate`` is open; counts what it was asked."""

    def __init__(self, reply: Callable[[int], Reply] = lambda number: Reply({"n": number})) -> None:
        self.reply = reply
        self.asked: list[dict[str, Any]] = []
        self.gate = Event()
        self.gate.set()
        self._server = WSGIServer(("127.0.0.1", 0), self._answer, log=None)
        self._server.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/"

    def close(self) -> None:
        self.gate.set()
        self._server.stop(timeout=1)

    def until_asked(self, times: int) -> None:
        """Wait until it was asked this often."""
        until(lambda: len(self.asked) >= times)

    def _answer(self, environ: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
        self.asked.append(environ)
        reply = self.reply(len(self.asked))
        self.gate.wait(PATIENCE_S)
        body = json.dumps(reply.body).encode() if isinstance(reply.body, dict) else reply.body
        start(f"{reply.status} X", [*reply.headers.items(), ("Content-Length", str(len(body)))])
        return [body]


def until(condition: Callable[[], bool]) -> None:
    """Let the other greenlets go on until this holds."""
    with gevent.Timeout(PATIENCE_S):
        while not condition():
            gevent.sleep(0)


class Clock:
    """A clock that stands still until the test moves it."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


def callout(callee: Callee, *, cache: dict[str, Any] | None = None, **parts: Any) -> dict[str, Any]:
    """A callout ``a`` that decodes its response; ``parts`` are those of ``request``, but for ``response``."""
    response = {"body": {"decode": True}, **parts.pop("response", {})}
    request = {"url": callee.url, **parts}
    return {"name": "a", "request": request, "response": response, **({"cache": cache} if cache else {})}


def configured(engine: Engine, *callouts: dict[str, Any], plugin_id: str = "p", **parts: Any) -> Instance:
    config = {"__plugin_id": plugin_id, "cache": {"strategy": "memory"}, "callouts": list(callouts), **parts}
    instance = engine.instance(config)
    assert isinstance(instance, Instance), instance.problems
    return instance


@dataclass
class Seen:
    """What one event came to."""

    state: str | None
    kong: KongDouble

    @property
    def body(self) -> Any:
        return self.context["response"]["body"]

    @property
    def context(self) -> Any:
        return self.kong.shared()["a"]

    @property
    def fields(self) -> Any:
        return self.kong.written("kong.log.set_serialize_value")[-1][1]["a"]


def event(instance: Instance, **replies: Any) -> Seen:
    """One event; ``replies`` are those of Kong."""
    kong = KongDouble(**replies)
    instance.access(kong)
    written = kong.written("kong.log.set_serialize_value")
    return Seen(written[-1][1]["a"].get("cache") if written else None, kong)


def states(instance: Instance, times: int) -> list[str | None]:
    return [event(instance).state for _ in range(times)]


def spawned(instance: Instance, times: int = 1, **replies: Any) -> list[gevent.Greenlet[..., Seen]]:
    """Events in greenlets, each of which has come to where it waits by the time this returns."""
    greenlets = [gevent.spawn(event, instance, **replies) for _ in range(times)]
    until(lambda: all(greenlet.started for greenlet in greenlets))
    gevent.sleep(0)
    return greenlets


def seen(greenlets: list[gevent.Greenlet[..., Seen]]) -> list[Seen]:
    return [greenlet.get(timeout=PATIENCE_S) for greenlet in greenlets]


def engine_with(clock: Clock | None = None, deadline_ms: int = 5_000) -> Engine:
    return Engine(Settings(deadline_ms=deadline_ms), clock)
