"""key-auth, pre-function and post-function, and which configuration of a plugin applies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.gateway.conftest import Make
from tests.unit.gateway.stand_ins import PluginServer, Upstream

CONSUMERS = [
    {"username": "alice", "custom_id": "al", "keyauth_credentials": [{"key": "k1"}]},
    {"username": "bob", "keyauth_credentials": [{"key": "k2"}]},
]


def routes(up: Upstream, *plugins: dict[str, Any], **more: Any) -> dict[str, Any]:
    route = {"name": "r", "paths": ["/a"], "plugins": list(plugins)}
    return {"services": [{"name": "s", "url": up.url, "routes": [route]}], "consumers": CONSUMERS, **more}


def key_auth(**config: Any) -> dict[str, Any]:
    return {"name": "key-auth", "config": config}


def function(source: str, name: str = "pre-function") -> dict[str, Any]:
    return {"name": name, "config": {"access": [source]}}


def test_key_names_the_consumer(make: Make, up: Upstream) -> None:
    """A known key lets the request through with the consumer's fields, which the client can't forge."""
    gateway = make(routes(up, key_auth()))
    forged = {"apikey": "k1", "X-Consumer-Username": "root", "X-Anonymous-Consumer": "true"}
    assert gateway.get("/a", headers=forged).status_code == 200
    got = up.requests[0]
    assert got.all("X-Consumer-Username") == ["alice"]
    assert got.header("X-Consumer-Custom-ID") == "al"
    assert got.header("X-Consumer-ID") == gateway.gateway.configuration.consumers[0].id
    assert got.header("X-Credential-Identifier") is not None
    assert got.header("X-Anonymous-Consumer") is None
    gateway.get("/a?apikey=k2")
    assert up.requests[1].header("X-Consumer-Custom-ID") is None


@pytest.mark.parametrize(
    ("path", "headers", "message"),
    [
        ("/a", {}, "No API key found in request"),
        ("/a", {"apikey": "wrong"}, "Unauthorized"),
        ("/a?apikey=k1&apikey=k2", {}, "Duplicate API key found"),
    ],
)
def test_key_refused(make: Make, up: Upstream, path: str, headers: dict[str, str], message: str) -> None:
    """Without one good key the client gets 401 and the reason."""
    response = make(routes(up, key_auth(realm="me"))).get(path, headers=headers)
    assert (response.status_code, response.json()["message"]) == (401, message)
    assert response.headers["WWW-Authenticate"] == 'Key realm="me"'
    assert not up.requests


def test_hidden_credentials(make: Make, up: Upstream) -> None:
    """With hide_credentials the upstream does not see the key."""
    gateway = make(routes(up, key_auth(hide_credentials=True)))
    gateway.get("/a?b=1&apikey=k1")
    gateway.get("/a", headers={"apikey": "k1"})
    assert up.requests[0].target == "/?b=1"
    assert up.requests[1].header("apikey") is None


def test_functions_edit_and_answer(make: Make, up: Upstream) -> None:
    """Functions run in order around the others, see what came before them, and may answer."""
    gateway = make(
        routes(
            up,
            function("kong.ctx.shared.list = {1, 2}; kong.service.request.set_header('X-One', 'a')"),
            function(
                "local cjson = require 'cjson' "
                "kong.response.set_header('X-List', cjson.encode(kong.ctx.shared.list)) "
                "if kong.request.get_query_arg('stop') then "
                "return kong.response.exit(299, {one = kong.request.get_header('X-One')}) end",
                "post-function",
            ),
        )
    )
    assert gateway.get("/a").headers["X-List"] == "[1,2]"
    assert up.requests[0].header("X-One") == "a"
    stopped = gateway.get("/a?stop")
    assert (stopped.status_code, stopped.json(), len(up.requests)) == (299, {"one": "a"}, 1)


def test_function_that_fails(make: Make, up: Upstream) -> None:
    """An error in a function is Kong's 500."""
    response = make(routes(up, function("local x = nil; x.y = 1"))).get("/a")
    assert (response.status_code, response.json()["message"]) == (500, "An unexpected error occurred")


def test_functions_see_the_callouts(make: Make, up: Upstream, serve: Callable[..., PluginServer]) -> None:
    """What the external plugin shares is there for post-function."""
    server = serve(lambda kong: kong("ctx.shared.set", "callouts", {"c": {"body": {"l": [1, {"a": "b"}]}}}))
    witness = function("kong.response.exit(200, kong.ctx.shared.callouts.c.body.l[2].a)", "post-function")
    gateway = make(routes(up, {"name": "request-callout", "config": {}}, witness), server=server)
    assert gateway.get("/a").text == "b"


def test_most_specific_configuration_applies(make: Make, up: Upstream, serve: Callable[..., PluginServer]) -> None:
    """Of a plugin's configurations the one for route and consumer wins, then consumer, route, service, global."""
    server = serve(lambda kong: kong("response.set_header", "X-Config", kong.config["text"]))

    def callout(text: str, **place: str) -> dict[str, Any]:
        return {"name": "request-callout", "config": {"text": text}, **place}

    document = {
        "services": [
            {
                "name": "s",
                "url": up.url,
                "routes": [
                    {"name": "r", "paths": ["/r"], "plugins": [callout("route")]},
                    {"name": "plain", "paths": ["/plain"]},
                ],
                "plugins": [callout("service")],
            },
            {"name": "other", "url": up.url, "routes": [{"name": "o", "paths": ["/other"]}]},
        ],
        "consumers": CONSUMERS,
        "plugins": [
            callout("global"),
            callout("alice", consumer="alice"),
            callout("alice on r", consumer="alice", route="r"),
            key_auth(anonymous="nobody"),
        ],
    }
    gateway = make(document, server=server)

    def applied(path: str, key: str | None = None) -> str:
        return gateway.get(path, headers={"apikey": key} if key else {}).headers["X-Config"]

    assert [applied("/r"), applied("/plain"), applied("/other")] == ["route", "service", "global"]
    assert [applied("/r", "k1"), applied("/plain", "k1"), applied("/r", "k2")] == ["alice on r", "alice", "route"]
