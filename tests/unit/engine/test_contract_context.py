"""What other plugins, and later expressions, see of the callouts."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from pytest_httpserver import HTTPServer

from request_callout.config.settings import Settings
from request_callout.engine import Engine
from request_callout.engine.kong import Call
from request_callout.pdk.protobuf import METHODS
from tests.unit.engine.conftest import Access
from tests.unit.engine.kong_double import KongDouble


class EncodingKong(KongDouble):
    """A Kong double that takes what ProtoBuf can say, and no more: calls are encoded as for a real one."""

    def read(self, calls: Sequence[Call]) -> list[Any]:
        for name, args in calls:
            METHODS[name].encode_call(args)
        return super().read(calls)

    def write(self, method: str, *args: Any) -> None:
        METHODS[method].encode_call(args)
        super().write(method, *args)

    def ask(self, call: Call, told: Callable[[Any], None]) -> None:
        METHODS[call[0]].encode_call(call[1])
        super().ask(call, told)

    def exit(self, status: int, body: bytes | None, headers: Mapping[str, str | list[str]]) -> None:
        METHODS["kong.response.exit"].encode_call((status, body, headers))
        super().exit(status, body, headers)


def shared_with(settings: Settings, config: dict[str, Any], **replies: Any) -> Any:
    engine = Engine(settings)
    kong = KongDouble(**replies)
    engine.instance(config).access(kong)
    engine.close()
    return kong.shared()["a"]


def nested(depth: int) -> bytes:
    return b'{"a":' * depth + b"1" + b"}" * depth


@pytest.mark.parametrize("by_lua", ["kong.response.exit(200)", "error('x')"])
def test_what_is_not_stored_is_not_shared_when_the_script_ends_the_request(
    access: Access, httpserver: HTTPServer, by_lua: str
) -> None:
    """With ``store: false`` nobody sees headers and body after ``response.by_lua``, also if that ends the request."""
    httpserver.expect_request("/").respond_with_data("private", headers={"X-Private": "1"})
    response = {"headers": {"store": False}, "body": {"store": False}, "by_lua": by_lua}
    callout = {"name": "a", "request": {"url": httpserver.url_for("/")}, "response": response}
    assert access({"callouts": [callout]}).shared()["a"]["response"] == {"status": 200}


@pytest.mark.parametrize("settings", [Settings(share="meta"), Settings(share_max_bytes=100)])
def test_request_bodies_are_governed_as_responses_are(settings: Settings, httpserver: HTTPServer) -> None:
    """``share`` and ``share_max_bytes`` hold for the body of the callout's request too."""
    httpserver.expect_request("/").respond_with_data("ok")
    request = {"url": httpserver.url_for("/"), "method": "POST", "body": {"forward": True}}
    config = {"callouts": [{"name": "a", "request": request}]}
    shared = shared_with(settings, config, kong__request__get_raw_body=b"x" * 1000)
    assert "body" not in shared["request"]["params"]


@pytest.mark.parametrize(
    ("received", "left", "kept"), [("s", "string.rep('x', 1000)", False), ("x" * 1000, "'s'", True)]
)
def test_the_size_that_counts_is_that_of_what_is_shared(
    httpserver: HTTPServer, received: str, left: str, kept: bool
) -> None:
    """``share_max_bytes`` bounds the body that a script left, not the one that was received."""
    httpserver.expect_request("/").respond_with_data(received)
    response = {"by_lua": f"kong.ctx.shared.callouts.a.response.body = {left}"}
    config = {"callouts": [{"name": "a", "request": {"url": httpserver.url_for("/")}, "response": response}]}
    assert ("body" in shared_with(Settings(share_max_bytes=100), config)["response"]) is kept


def test_a_deeply_nested_response_costs_the_sharing_only(
    access: Access, httpserver: HTTPServer, caplog: pytest.LogCaptureFixture
) -> None:
    """A callee's body that nests deeper than can be passed on is not shared; the request goes on."""
    httpserver.expect_request("/").respond_with_data(nested(120))
    callout = {"name": "a", "request": {"url": httpserver.url_for("/")}, "response": {"body": {"decode": True}}}
    kong = EncodingKong()
    access({"callouts": [callout]}, kong)
    assert kong.answer is None
    assert "unexpected error" not in caplog.text


def test_a_deeply_nested_client_body_costs_the_sharing_only(
    access: Access, httpserver: HTTPServer, caplog: pytest.LogCaptureFixture
) -> None:
    """A client's body that nests deeper than can be passed on is sent to the callee all the same."""
    httpserver.expect_request("/").respond_with_data("ok")
    body = {"forward": True, "decode": True, "custom": {"x": "1"}}
    request = {"url": httpserver.url_for("/"), "method": "POST", "body": body}
    kong = EncodingKong(kong__request__get_raw_body=nested(120))
    access({"callouts": [{"name": "a", "request": request}]}, kong)
    assert kong.answer is None
    assert json.loads(httpserver.log[0][0].data) == json.loads(nested(120)) | {"x": "1"}
    assert "unexpected error" not in caplog.text


@pytest.mark.parametrize("path", ["x_trace_id", '["X-Trace-Id"]', '["x-trace-id"]'])
def test_response_headers_are_found_alike_in_any_expression(access: Access, httpserver: HTTPServer, path: str) -> None:
    """A response header has the same value in an expression that is a mere path and in one that computes."""
    httpserver.expect_request("/").respond_with_data("", headers={"X-Trace-Id": "t"})
    header = f"callouts.a.response.headers{path if path.startswith('[') else '.' + path}"
    config = {
        "callouts": [{"name": "a", "request": {"url": httpserver.url_for("/")}}],
        "upstream": {"headers": {"custom": {"Path": f"$({header})", "Computed": f"$({header} or '')"}}},
    }
    [(written,)] = access(config).written("kong.service.request.set_headers")
    assert written["Path"] == written["Computed"]


def test_the_context_can_be_encoded_as_it_is_shared(access: Access, httpserver: HTTPServer) -> None:
    """What scripts may leave in the context (lists with holes, number keys, null, infinity) reaches Kong."""
    by_lua = "kong.ctx.shared.callouts.mine = {hole = {[3] = 1}, mixed = {1, a = 2}, null = ngx.null, inf = 1/0}"
    kong = EncodingKong()
    access({"callouts": [], "upstream": {"by_lua": by_lua}}, kong)
    assert kong.shared()["mine"]["hole"] == [None, None, 1]
    assert kong.shared()["mine"]["mixed"] == {"1": 1, "a": 2}
