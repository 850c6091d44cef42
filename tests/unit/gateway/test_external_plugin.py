"""The external plugin, spoken to over both protocols as Kong does."""

from __future__ import annotations

import base64
import http.client
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from google.protobuf import json_format, struct_pb2

from request_callout.pdk.protobuf import METHODS
from tests.unit.gateway.conftest import Make
from tests.unit.gateway.stand_ins import Closed, Kong, PluginServer, Upstream

Serve = Callable[..., PluginServer]
TRANSCRIPTS = Path(__file__).parents[2] / "transcripts"
BOTH = pytest.mark.parametrize("protocol", ["protobuf", "msgpack"])


def document(up: Upstream, config: dict[str, Any] | None = None, **route: Any) -> dict[str, Any]:
    plugin = {"name": "request-callout", "config": config or {}}
    return {"services": [{"name": "up", "url": up.url, "routes": [{"name": "r", **route, "plugins": [plugin]}]}]}


def recorded(protocol: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (TRANSCRIPTS / f"{protocol}.jsonl").read_text().splitlines()]


def recorded_document(up: Upstream) -> dict[str, Any]:
    return {
        "services": [
            {
                "name": "up",
                "url": up.url,
                "routes": [
                    {"name": "cap", "paths": ["~/users/(?<uid>[a-z0-9]+)/(\\d+)"], "strip_path": False},
                    {"name": "keyed", "paths": ["/keyed"], "plugins": [{"name": "key-auth"}]},
                    {"name": "exit", "paths": ["/exit"]},
                ],
            }
        ],
        "consumers": [{"username": "alice", "custom_id": "al", "keyauth_credentials": [{"key": "sekret"}]}],
        "plugins": [{"name": "request-callout", "config": {"text": "x"}}],
    }


def as_argument(value: Any) -> Any:
    """A recorded argument as the codec takes it."""
    return value["v"] if isinstance(value, dict) and set(value) == {"v"} else value


def shared_value(key: str, value: Any) -> bytes:
    """A KV message as Google's library writes it, nulls included."""
    content = json_format.ParseDict(value, struct_pb2.Value()).SerializeToString()
    size = len(content)
    return b"\x0a" + bytes([len(key)]) + key.encode() + b"\x12" + bytes([size & 127 | 128, size >> 7]) + content


def comparable(value: Any) -> Any:
    """A recorded reply without what differs by run: times, ports, ids of requests and of random origin."""
    if isinstance(value, dict):
        dropped = {"created_at", "updated_at", "port", "ws_id"}
        kept = {name: comparable(one) for name, one in value.items() if name not in dropped and one is not False}
        return {name: "" if name == "x-credential-identifier" else one for name, one in kept.items()}
    return value


RUN_DEPENDENT = {"kong.client.get_port", "kong.request.get_port", "kong.node.get_id", "kong.node.get_hostname"}
RUN_DEPENDENT |= {"kong.nginx.get_var", "kong.client.get_credential", "kong.vault.get"}


def events(protocol: str) -> list[list[dict[str, Any]]]:
    """The recorded calls, one list for each event."""
    result: list[list[dict[str, Any]]] = []
    for entry in recorded(protocol):
        if entry.get("method") == "kong.client.get_ip":
            result.append([])
        if "method" in entry and result:
            result[-1].append(entry)
    return result


REQUESTS = {
    "/users/bob/42": (
        "POST",
        "/users/bob/42?a=1&a=2&b&c=%20x",
        b'{"k":[1,2]}',
        [("Content-Type", "application/json"), ("X-Case", "Mixed"), ("X-Dup", "1"), ("X-Dup", "2")],
    ),
    "/keyed": ("GET", "/keyed?apikey=sekret", b"", []),
}


def send(gateway: str, method: str, target: str, body: bytes, fields: list[tuple[str, str]]) -> int:
    host = gateway.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=10)
    connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
    for name, value in [("Host", "127.0.0.1:8000"), ("User-Agent", "curl/7.88.1"), ("Accept", "*/*"), *fields]:
        connection.putheader(name, value)
    if body:
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body or None)
    status = connection.getresponse().status
    connection.close()
    return status


@pytest.mark.parametrize("path", list(REQUESTS))
def test_recorded_protobuf_replies(make: Make, up: Upstream, serve: Serve, path: str) -> None:
    """Every call of a recorded event gets from this gateway, as decoded, what the running Kong answered."""
    calls = next(
        event
        for event in events("protobuf")
        if any(one["method"] == "kong.request.get_path" and one["reply"]["v"] == path for one in event)
    )
    got: list[tuple[str, Any, Any]] = []

    def script(kong: Kong) -> None:
        for one in calls:
            name, args = one["method"], one["args"]
            argument = as_argument(args)
            wanted = METHODS[name].decode_result(bytes.fromhex(one["reply_hex"])) if "reply_hex" in one else None
            if name == "kong.ctx.shared.set":
                got.append((name, kong.send(name, shared_value(args["k"], args["v"])), wanted))
                continue
            if "k" in (args if isinstance(args, dict) else {}):
                given: tuple[Any, ...] = (args["k"], args["v"])
            elif isinstance(args, list):
                given = tuple(args)
            elif name.endswith("set_raw_body"):
                given = (base64.b64decode(argument),)
            else:
                given = () if args == {} else (argument,)
            got.append((name, kong(name.removeprefix("kong."), *given), wanted))

    server = serve(script)
    gateway = make(recorded_document(up), server=server)
    method, target, body, fields = REQUESTS[path]
    assert send(gateway.proxy, method, target, body, fields) == 200
    assert len(got) == len(calls)
    for name, answered, wanted in got:
        if name not in RUN_DEPENDENT:
            assert comparable(answered) == comparable(wanted), name
    sent = up.requests[0]
    assert sent.body == b'{"new":true}'
    assert sent.target.partition("?")[2] == "m=a&m=b&q=1%202&t"
    assert sent.all("X-Multi") == ["a", "b"]
    assert sent.header("X-Case") is None


@pytest.mark.parametrize("path", list(REQUESTS))
def test_recorded_msgpack_replies(make: Make, up: Upstream, serve: Serve, path: str) -> None:
    """The same for MsgPack: every recorded call gets the recorded answer."""
    calls = next(
        event
        for event in events("msgpack")
        if any(one["method"] == "kong.request.get_path" and one["reply"] == path for one in event)
    )
    got: list[tuple[str, Any, Any]] = []

    def text_keys(value: Any) -> Any:
        if isinstance(value, bytes):
            return {"__bytes__": value.decode()}
        if isinstance(value, dict):
            return {str(name): text_keys(one) for name, one in value.items()}
        return [text_keys(one) for one in value] if isinstance(value, list) else value

    def script(kong: Kong) -> None:
        for one in calls:
            reply = kong(one["method"].removeprefix("kong."), *one["args"])
            got.append((one["method"], text_keys(reply), one["reply"]))

    server = serve(script, protocol="msgpack")
    gateway = make(recorded_document(up), server=server, protocol="msgpack")
    method, target, body, fields = REQUESTS[path]
    assert send(gateway.proxy, method, target, body, fields) == 200
    assert len(got) == len(calls)
    for name, answered, wanted in got:
        if name not in RUN_DEPENDENT:
            assert comparable(answered) == comparable(wanted), name
    assert up.requests[0].all("X-Evil") == []
    assert up.requests[0].header("X-Inj") == "a%0D%0AX-Evil: 1"


@BOTH
def test_configuration_as_handed(
    make: Make, up: Upstream, serve: Serve, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nulls and absent fields are left out, references resolved with the originals beside, Kong's own keys added."""
    monkeypatch.setenv("MY_SECRET", "s3cret")
    server = serve(lambda kong: None, protocol=protocol)
    config = {
        "text": None,
        "secret": "{vault://env/missing}",
        "custom": {"a": "{vault://env/my-secret}", "b": "plain"},
    }
    gateway = make(document(up, config, paths=["/"]), server=server, protocol=protocol)
    assert gateway.get("/").status_code == 200
    handed = dict(server.configs[0])
    assert isinstance(handed.pop("__seq__"), int)
    route_id = gateway.gateway.configuration.routes[0].id
    plugin_id = gateway.gateway.configuration.plugins[0].id
    assert handed == {
        "level": 1,
        "secret": "",
        "custom": {"a": "s3cret", "b": "plain"},
        "$refs": {"secret": "{vault://env/missing}", "custom": {"a": "{vault://env/my-secret}"}},
        "__plugin_id": plugin_id,
        "__key__": f"plugins:request-callout:{route_id}::::0dc6f45b-8f8d-40d2-a504-473544ee190b",
        "__ws_id": "0dc6f45b-8f8d-40d2-a504-473544ee190b",
        "route_id": route_id,
    }


@BOTH
def test_exit(make: Make, up: Upstream, serve: Serve, protocol: str) -> None:
    """``kong.response.exit`` answers the client, never the plugin, and nothing reaches the upstream."""
    after: list[str] = []

    def script(kong: Kong) -> None:
        kong("response.set_header", "X-Before", "1")
        kong("response.exit", 418, b"tea" if protocol == "protobuf" else "tea", {"X-Two": ["a", "b"]})
        after.append("went on")

    gateway = make(document(up, paths=["/"]), server=serve(script, protocol=protocol), protocol=protocol)
    response = gateway.get("/")
    assert (response.status_code, response.text) == (418, "tea")
    assert response.raw.headers.getlist("X-Two") == ["a", "b"]
    assert response.headers["X-Before"] == "1"
    assert response.headers["Server"] == "kong/3.9.1"
    assert "Content-Type" not in response.headers
    assert not up.requests
    assert not after


def test_protobuf_starts_one_instance_and_reuses_connections(make: Make, up: Upstream, serve: Serve) -> None:
    """One configuration is started once, and the next request goes over the connection that is there."""
    server = serve(lambda kong: None)
    gateway = make(document(up, paths=["/"]), server=server)
    for _ in range(5):
        assert gateway.get("/").status_code == 200
    assert (len(server.configs), server.events, server.connections) == (1, [1] * 5, 1)


def test_protobuf_closed_connection_repeats_the_event(make: Make, up: Upstream, serve: Serve) -> None:
    """A connection that closes during an event makes the gateway forget the instances, start them and try again."""

    def script(kong: Kong) -> None:
        if len(server.events) < 3:
            raise Closed
        kong("service.request.set_header", "X-Try", str(len(server.events)))

    server = serve(script)
    gateway = make(document(up, paths=["/"]), server=server)
    assert gateway.get("/").status_code == 200
    assert server.events == [1, 2, 3]
    assert up.requests[0].header("X-Try") == "3"
    assert server.closed == []


def test_protobuf_fails_closed(make: Make, up: Upstream) -> None:
    """A server that can't be reached gives the client 500."""
    gateway = make(document(up, paths=["/"]))
    response = gateway.get("/")
    assert (response.status_code, response.json()["message"]) == (500, "An unexpected error occurred")
    assert not up.requests


def test_msgpack_fails_open(make: Make, up: Upstream, serve: Serve) -> None:
    """An error that the server answers to an event is logged, and the request goes on."""

    def script(kong: Kong) -> None:
        kong("service.request.set_header", "X-Before", "1")
        raise RuntimeError("boom")

    server = serve(script, protocol="msgpack")
    gateway = make(document(up, paths=["/"]), server=server, protocol="msgpack")
    assert gateway.get("/").status_code == 200
    assert up.requests[0].header("X-Before") == "1"


def test_msgpack_start_fails_closed(make: Make, up: Upstream) -> None:
    """An instance that can't be started gives 500 on MsgPack too."""
    gateway = make(document(up, paths=["/"]), protocol="msgpack")
    assert gateway.get("/").status_code == 500
    assert not up.requests


def test_msgpack_unknown_instance_is_started_again(make: Make, up: Upstream, serve: Serve) -> None:
    """The words "no plugin instance" make the gateway start the instance again and repeat the event."""

    def script(kong: Kong) -> None:
        if len(server.events) == 1:
            raise RuntimeError("No plugin instance 1")

    server = serve(script, protocol="msgpack")
    gateway = make(document(up, paths=["/"]), server=server, protocol="msgpack")
    assert gateway.get("/").status_code == 200
    assert server.events == [1, 2]


@pytest.mark.parametrize(
    ("method", "args"),
    [
        ("no.such.method", ()),
        ("service.request.set_method", ("FETCH",)),
        ("service.request.set_path", ("no-slash",)),
        ("service.request.set_scheme", ("ftp",)),
        ("service.request.set_header", ("X", None)),
        ("response.exit", (99, None, None)),
        ("response.get_status", ()),
        ("request.get_headers", (1001,)),
    ],
)
def test_protobuf_errors_in_kong_end_the_request(
    make: Make, up: Upstream, serve: Serve, method: str, args: tuple[Any, ...]
) -> None:
    """A method that is not there, or that raises an error in Kong, ends the request with 500."""
    server = serve(lambda kong: kong(method, *args))
    gateway = make(document(up, paths=["/"]), server=server)
    response = gateway.get("/")
    assert (response.status_code, response.json()["message"]) == (500, "An unexpected error occurred")
    assert not up.requests


def test_msgpack_errors_in_kong_end_the_request(make: Make, up: Upstream, serve: Serve) -> None:
    """On MsgPack too an error inside Kong is 500; only a function that is not there is passed over."""
    server = serve(lambda kong: kong("service.request.set_method", "FETCH"), protocol="msgpack")
    gateway = make(document(up, paths=["/"]), server=server, protocol="msgpack")
    assert gateway.get("/").status_code == 500


def test_start_without_an_instance_leaves_a_claim(
    make: Make, up: Upstream, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer to start_instance without an id is 500, and the next request waits for the claim before its 500."""
    monkeypatch.setattr("request_callout.gateway.instances.CLAIM_WAIT_S", 0.3)
    server = serve(lambda kong: None)
    server.refuse_start = True
    gateway = make(document(up, paths=["/"]), server=server)
    assert gateway.get("/").elapsed.total_seconds() < 0.3
    second = gateway.get("/")
    assert (second.status_code, second.elapsed.total_seconds() >= 0.3) == (500, True)
    server.refuse_start = False
    assert gateway.get("/").status_code == 200


def test_large_body_protobuf(make: Make, up: Upstream, serve: Serve) -> None:
    """A body over the buffer's size and a quarter comes as the path of a file that is gone after the request."""
    seen: list[Any] = []

    def script(kong: Kong) -> None:
        body = kong("request.get_raw_body")
        left = [path for _, path, _ in seen if path and os.path.exists(path)]
        seen.append((body.content, body.path, Path(body.path).read_bytes() if body.path else left))

    gateway = make(document(up, paths=["/"]), server=serve(script))
    small, large = b"x" * 10239, b"y" * 10240
    with requests.Session() as one_connection:
        for body in (large, small):
            one_connection.post(gateway.proxy, data=body, timeout=10)
    assert seen[0][2] == large
    assert up.requests[0].body == large
    assert seen[1] == (small, None, [])


def test_large_body_msgpack(make: Make, up: Upstream, serve: Serve) -> None:
    """On MsgPack such a body makes get_raw_body fail inside Kong: 500."""
    server = serve(lambda kong: kong("request.get_raw_body"), protocol="msgpack")
    gateway = make(document(up, paths=["/"]), server=server, protocol="msgpack")
    assert gateway.request("POST", "/", data=b"x" * 10239).status_code == 200
    assert gateway.request("POST", "/", data=b"x" * 10240).status_code == 500


def test_new_configuration_replaces_the_instance(make: Make, up: Upstream, serve: Serve) -> None:
    """After POST /config the plugin is started with the new configuration, and then the old instance is closed."""
    server = serve(lambda kong: kong("response.set_header", "X-Text", kong.config["text"]))
    gateway = make(document(up, {"text": "one"}, paths=["/"]), server=server)
    assert gateway.get("/").headers["X-Text"] == "one"
    new = {"_format_version": "3.0", **document(up, {"text": "two"}, paths=["/"])}
    response = requests.post(f"{gateway.admin}/config", json={"config": json.dumps(new)}, timeout=10)
    assert response.status_code == 201
    assert gateway.get("/").headers["X-Text"] == "two"
    assert server.closed == [1]
