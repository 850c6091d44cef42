"""How the callout's request and the upstream request are built, where it is easily got wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pytest_httpserver import HTTPServer

from request_callout.engine.kong import BodyFileError
from request_callout.lua.host import PdkError
from tests.unit.engine.conftest import Access
from tests.unit.engine.kong_double import KongDouble

PARAMS = "kong.ctx.shared.callouts.a.request.params"


def callout(url: str, **request: Any) -> dict[str, Any]:
    return {"callouts": [{"name": "a", "request": {"url": url, **request}}]}


def received(httpserver: HTTPServer) -> Any:
    [(request, _)] = httpserver.log
    return request


@pytest.fixture
def url(httpserver: HTTPServer) -> str:
    httpserver.expect_request("/").respond_with_data("ok")
    return httpserver.url_for("/")


@pytest.mark.parametrize("body", [{"forward": True, "remove": ["a"]}, {"remove": ["a"]}])
def test_removing_from_no_body_makes_none(
    access: Access, url: str, httpserver: HTTPServer, body: dict[str, Any]
) -> None:
    """``body.remove`` has nothing to remove from where there is no body: the callout gets none."""
    access(callout(url, body=body))
    assert received(httpserver).data == b""
    assert "Content-Type" not in received(httpserver).headers


def test_removing_from_no_body_leaves_the_upstream_request_alone(access: Access) -> None:
    """``upstream.body.remove`` does not give a body to a request that has none."""
    kong = access({"callouts": [], "upstream": {"body": {"remove": ["a"]}}})
    assert kong.written("kong.service.request.set_raw_body") == []
    assert kong.written("kong.service.request.set_header") == []


def test_a_body_that_is_not_forwarded_is_dropped_whatever_is_removed(access: Access) -> None:
    """``forward: false`` drops the client's body; ``remove`` alone does not make a new one."""
    config = {"callouts": [], "upstream": {"body": {"forward": False, "remove": ["a"]}}}
    kong = access(config, KongDouble(kong__request__get_raw_body=b'{"a":1,"b":2}'))
    assert kong.written("kong.service.request.set_raw_body") == [(b"",)]


def test_a_removed_content_type_stays_removed(access: Access, url: str, httpserver: HTTPServer) -> None:
    """A ``Content-Type`` in ``headers.remove`` does not come back with a forwarded body."""
    config = callout(url, method="POST", headers={"remove": ["Content-Type"]}, body={"forward": True})
    client = {"content-type": "text/secret"}
    access(
        config,
        KongDouble(
            kong__request__get_raw_body=b"x",
            kong__request__get_headers=client,
            kong__request__get_header=client.get,
        ),
    )
    assert received(httpserver).data == b"x"
    assert received(httpserver).headers.get("Content-Type") is None


@pytest.mark.parametrize("media_type", ["application/json-patch+json", "application/json-seq", "text/plain"])
def test_a_custom_body_is_declared_as_json(access: Access, url: str, httpserver: HTTPServer, media_type: str) -> None:
    """A forwarded ``Content-Type`` of anything but JSON is replaced, also if its name begins like JSON's."""
    config = callout(url, method="POST", headers={"forward": True}, body={"custom": {"a": "1"}})
    access(config, KongDouble(kong__request__get_headers={"content-type": media_type}))
    assert received(httpserver).headers.getlist("Content-Type") == ["application/json"]


def test_a_body_that_is_not_used_is_not_read(access: Access, url: str) -> None:
    """A forwarded body that ``custom`` replaces, since ``decode`` is false, is not asked for."""

    def unreadable() -> bytes:
        raise BodyFileError("/nowhere/0001")

    config = callout(url, method="POST", body={"forward": True, "custom": {"a": "1"}})
    assert access(config, KongDouble(kong__request__get_raw_body=unreadable)).answer is None


@pytest.mark.parametrize("host", ["a b", "a..b", "h\\\\@x"])
@pytest.mark.parametrize("on_error", ["fail", "continue"])
def test_a_host_that_is_none_answers_500(
    access: Access, caplog: pytest.LogCaptureFixture, host: str, on_error: str
) -> None:
    """A URL that an expression made and that is none is no callout error: 500, whatever ``on_error`` says."""
    kong = access(callout(f"http://$('{host}')/", error={"on_error": on_error}))
    assert kong.answer is not None
    assert kong.answer[0] == 500
    assert "config.callouts[1].request.url" in caplog.text


@pytest.mark.parametrize("url", ["http://a..b/", "http://h\\@x/"])
def test_a_constant_host_that_is_none_is_refused(engine: Any, url: str) -> None:
    """A constant URL that the HTTP client could not use is found when the configuration is loaded."""
    instance = engine.instance({"__plugin_id": "p", **callout(url)})
    assert [problem.path for problem in instance.problems] == ["config.callouts[1].request.url"]


@pytest.mark.parametrize("change", ["method = 'G T'", "headers.x = 'a\\nb'", "headers['a b'] = 'x'"])
def test_what_a_script_left_and_http_cannot_say_answers_500(
    access: Access, url: str, caplog: pytest.LogCaptureFixture, change: str
) -> None:
    """A script that leaves an impossible method or header has failed, not the callee: 500, and its field in the log."""
    kong = access(callout(url, by_lua=f"{PARAMS}.{change}", error={"on_error": "continue"}))
    assert kong.answer is not None
    assert kong.answer[0] == 500
    assert "config.callouts[1].request.by_lua" in caplog.text


def test_a_script_may_give_a_value_to_a_parameter_without_one(access: Access, url: str, httpserver: HTTPServer) -> None:
    """The parameter ``b`` (true in Lua) that a script sets to 1 is sent as ``b=1``."""
    config = callout(url, query={"forward": True}, by_lua=f"{PARAMS}.query.b = 1")
    access(config, KongDouble(kong__request__get_raw_query="b"))
    assert received(httpserver).query_string == b"b=1"


@pytest.mark.parametrize(("before", "value", "after"), [(b'{"a":true}', "1", 1), (b'{"a":[0]}', "{false}", [False])])
def test_a_script_may_turn_a_boolean_into_a_number_and_back(
    access: Access, url: str, httpserver: HTTPServer, before: bytes, value: str, after: Any
) -> None:
    """A change that is only one of type, between true and 1 or false and 0, is sent."""
    body = {"forward": True, "decode": True}
    config = callout(url, method="POST", body=body, by_lua=f"{PARAMS}.body.a = {value}")
    access(config, KongDouble(kong__request__get_raw_body=before))
    assert json.dumps(json.loads(received(httpserver).data)["a"]) == json.dumps(after)


def test_a_nested_list_is_no_parameter(access: Access, url: str, httpserver: HTTPServer) -> None:
    """A parameter that a script left as a list of lists is refused, with the field."""
    kong = access(callout(url, by_lua=f"{PARAMS}.query = {{a = {{{{1}}}}}}"))
    assert kong.answer is not None
    assert kong.answer[0] == 500
    assert httpserver.log == []


@pytest.mark.parametrize("other", ["2^70", "'\\255'"])
def test_numbers_that_json_lacks_are_null(
    access: Access, url: str, httpserver: HTTPServer, caplog: pytest.LogCaptureFixture, other: str
) -> None:
    """Infinity and NaN in a body are sent as null, whatever else is in it."""
    access(callout(url, method="POST", by_lua=f"{PARAMS}.body = {{a = 1/0, b = 0/0, c = {other}}}"))
    assert "unexpected error" not in caplog.text
    document = json.loads(received(httpserver).data.decode("latin-1"))
    assert (document["a"], document["b"]) == (None, None)


def test_a_very_deep_client_body_is_no_crash(access: Access, caplog: pytest.LogCaptureFixture) -> None:
    """A client's JSON of a thousand levels, to be merged, is passed on or refused with 400."""
    body = b'{"a":' * 1015 + b"1" + b"}" * 1015
    config = {"callouts": [], "upstream": {"body": {"custom": {"x": "1"}}}}
    kong = access(config, KongDouble(kong__request__get_raw_body=body))
    assert kong.answer is None or kong.answer[0] == 400
    assert "unexpected error" not in caplog.text


def test_a_body_that_kong_cannot_give_is_no_crash(access: Access, caplog: pytest.LogCaptureFixture) -> None:
    """Where Kong itself fails to give the client's body, the client gets 500 and the log one line with the reason."""

    def failing() -> bytes:
        raise PdkError("kong.request.get_raw_body: request body did not fit into client body buffer")

    config = {"callouts": [], "upstream": {"body": {"custom": {"x": "1"}}}}
    kong = access(config, KongDouble(kong__request__get_raw_body=failing))
    assert kong.answer is not None
    assert kong.answer[0] == 500
    assert "did not fit" in caplog.text
    assert "unexpected error" not in caplog.text
