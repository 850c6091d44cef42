"""What one conformance test works with: a gateway, a configuration on it, a callee, an upstream and a client."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from tests.conformance import client
from tests.conformance.callee import PATIENCE_S, Callee, Reply
from tests.conformance.client import Answer, Headers

UPSTREAM_BODY = b"from the upstream"
WITNESS = "kong.response.exit(200, kong.ctx.shared.callouts)"
"""A script for a plugin that runs after the callouts: it answers with what it sees of them."""


@dataclass(frozen=True)
class Gateway:
    """Where a gateway is, and what it is: the embedded one on one of the protocols, or a Kong.

    ``log`` gives what it has logged so far, with its plugin server; nothing for a Kong.
    """

    kind: str
    proxy: str
    admin: str
    log: Callable[[], str] = str

    @property
    def embedded(self) -> bool:
        return self.kind != "kong"

    def post(self, declaration: Mapping[str, Any]) -> Answer:
        """``POST /config`` with a declarative configuration."""
        body = json.dumps({"config": yaml.safe_dump(dict(declaration), sort_keys=False)}).encode()
        return client.request(f"{self.admin}/config", "POST", {"Content-Type": "application/json"}, body)


def callout(
    name: str,
    url: str,
    *,
    decode: bool | None = None,
    response: Mapping[str, Any] | None = None,
    depends_on: Sequence[str] | None = None,
    cache: Mapping[str, Any] | None = None,
    **request: Any,
) -> dict[str, Any]:
    """One entry of ``callouts``; ``request`` are the fields of its request, ``decode`` is that of the response.

    A URL that starts with ``/`` is one of the test's callee.
    """
    made: dict[str, Any] = {"name": name, "request": {"url": url, **request}}
    if depends_on is not None:
        made["depends_on"] = list(depends_on)
    if cache is not None:
        made["cache"] = dict(cache)
    response = dict(response or {})
    if decode is not None:
        response["body"] = {**response.get("body", {}), "decode": decode}
    if response:
        made["response"] = response
    return made


def function(phase_code: str, name: str = "post-function") -> dict[str, Any]:
    """The plugin ``post-function`` (or ``pre-function``) with a script for the access phase."""
    return {"name": name, "config": {"access": [phase_code]}}


class Site:
    """A service with one route of its own for each test; what is sent to ``/x`` reaches the upstream as ``/up/x``."""

    def __init__(self, gateway: Gateway, callee: Callee, upstream: Callee) -> None:
        self.gateway = gateway
        self.callee = callee
        self.upstream = upstream
        self.path = f"/t-{uuid.uuid4().hex[:12]}"
        self._url = gateway.proxy + self.path

    def plugin(self, callouts: Sequence[Mapping[str, Any]], **parts: Any) -> dict[str, Any]:
        """The configuration of the plugin: ``callouts`` with the callee's address, ``upstream``, ``cache``."""
        placed = []
        for one in callouts:
            request = dict(one["request"])
            if isinstance(request.get("url"), str) and request["url"].startswith("/"):
                request["url"] = self.callee.url + request["url"]
            placed.append({**one, "request": request})
        config = {name: part for name, part in parts.items() if part is not None}
        return {"name": "request-callout", "config": {"callouts": placed, **config}}

    def declaration(self, plugins: Sequence[Mapping[str, Any]], **more: Any) -> dict[str, Any]:
        """A declarative configuration with these plugins on the route.

        ``route`` and ``service`` are merged into those entities, ``routes`` are further routes; anything else goes to
        the top level.
        """
        route = {"name": self.path[1:], "paths": [self.path], "plugins": list(plugins), **more.pop("route", {})}
        service = {
            "name": f"service-{self.path[1:]}",
            "url": f"{self.upstream.url}/up",
            "retries": 0,
            **more.pop("service", {}),
            "routes": [route, *more.pop("routes", ())],
        }
        return {"_format_version": "3.0", "services": [service], **more}

    def configure(
        self,
        callouts: Sequence[Mapping[str, Any]] = (),
        *,
        upstream: Mapping[str, Any] | None = None,
        cache: Mapping[str, Any] | None = None,
        plugins: Sequence[Mapping[str, Any]] = (),
        witness: bool = False,
        **more: Any,
    ) -> None:
        """Load the plugin with these callouts, beside other plugins, and wait until it is in force."""
        ours = self.plugin(callouts, upstream=upstream, cache=cache)
        witnesses = [function(WITNESS)] if witness else []
        self.load(self.declaration([ours, *plugins, *witnesses], **more))

    def load(self, declaration: dict[str, Any]) -> None:
        """Load a declarative configuration and wait until it is in force."""
        marker = f"/ready-{uuid.uuid4().hex}"
        route = {
            "name": marker[1:],
            "paths": [marker],
            "plugins": [function("kong.response.exit(204)", "pre-function")],
        }
        service = {"name": f"marker-{marker[1:]}", "url": "http://127.0.0.1:1", "routes": [route]}
        answer = self.gateway.post({**declaration, "services": [*declaration["services"], service]})
        assert answer.status in (200, 201), answer.text
        # A Kong takes a configuration over in its workers, and a moment later; the marker is the end of the file.
        deadline = time.monotonic() + PATIENCE_S
        needed = 1 if self.gateway.embedded else 5
        while needed:
            if client.request(self.gateway.proxy + marker).status == 204:
                needed -= 1
                continue
            assert time.monotonic() < deadline, "the configuration is not in force"
            time.sleep(0.01)

    def refused(self, callouts: Sequence[Mapping[str, Any]], **parts: Mapping[str, Any]) -> str:
        """Assert that the gateway's own rules do not accept this configuration; gives back what it says."""
        answer = self.gateway.post(self.declaration([self.plugin(callouts, **parts)]))
        assert answer.status == 400, f"{answer.status}: {answer.text}"
        return answer.text

    def unusable(self, callouts: Sequence[Mapping[str, Any]], **parts: Mapping[str, Any]) -> str:
        """Assert that this configuration is accepted and then every request gets 500; gives back what the log says.

        These are the problems that a schema can't see. The log of a Kong can't be seen from here; then it is empty.
        """
        written = len(self.gateway.log())
        self.load(self.declaration([self.plugin(callouts, **parts)]))
        for _ in range(2):
            answer = self.get()
            assert (answer.status, answer.json["message"]) == (500, "Internal Server Error")
        assert not self.callee.received()
        assert not self.upstream.received()
        return self.gateway.log()[written:]

    def request(self, method: str = "GET", path: str = "", headers: Headers = (), body: bytes | None = None) -> Answer:
        """Send a request to the test's route; ``path`` follows the route's own and may have a query."""
        return client.request(self._url + path, method, headers, body)

    def get(self, path: str = "", headers: Headers = ()) -> Answer:
        return self.request("GET", path, headers)

    def post_json(self, value: object, path: str = "", content_type: str = "application/json") -> Answer:
        return self.request("POST", path, {"Content-Type": content_type}, json.dumps(value).encode())

    def context(self, path: str = "", headers: Headers = ()) -> Any:
        """GET with ``witness=True``: what a plugin that runs afterwards sees of ``kong.ctx.shared.callouts``."""
        answer = self.get(path, headers)
        assert answer.status == 200, answer.text
        return answer.json

    def shows(self, template: str, path: str = "", headers: Headers = (), **more: Any) -> str:
        """What becomes of a value that may hold expressions: here a header that the upstream gets, in brackets."""
        self.configure(upstream={"headers": {"custom": {"X-Value": f"[{template}]"}}}, **more)
        answer = self.get(path, headers)
        assert answer.status == 200, answer.text
        value = self.upstream.one().header("X-Value") or ""
        assert (value[:1], value[-1:]) == ("[", "]"), value
        return value[1:-1]

    def sees(self, expression: str, path: str = "", headers: Headers = (), **more: Any) -> str:
        """The value of an expression (without ``$(`` and ``)``) as text."""
        return self.shows(f"$({expression})", path, headers, **more)

    def returns(self, script: str, path: str = "", headers: Headers = (), **more: Any) -> Any:
        """What a script that ends with ``return {...}`` gives, run as ``upstream.by_lua`` and answered as JSON."""
        self.configure(upstream={"by_lua": f"kong.response.exit(200, (function() {script} end)())"}, **more)
        answer = self.get(path, headers)
        assert answer.status == 200, answer.text
        return answer.json


def default_upstream() -> Reply:
    """The answer of an upstream that no test has told what to answer."""
    return Reply(200, UPSTREAM_BODY, (("Content-Type", "text/plain"),))
