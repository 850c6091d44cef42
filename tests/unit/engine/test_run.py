"""One event, seen from Kong's side: what is read, what is written, what is logged."""

from __future__ import annotations

import logging
import socket
import time
from typing import Any

import pytest
from pytest_httpserver import HTTPServer

from request_callout.config.settings import Settings
from request_callout.engine import Engine
from tests.unit.engine.conftest import Access
from tests.unit.engine.kong_double import KongDouble

INTERNAL = (500, b'{"message":"Internal Server Error"}', {"Content-Type": "application/json; charset=utf-8"})


def token_injection(url: str, **request: Any) -> dict[str, Any]:
    return {
        "callouts": [{"name": "auth", "request": {"url": url, **request}, "response": {"body": {"decode": True}}}],
        "upstream": {"headers": {"custom": {"Authorization": "Bearer $(callouts.auth.response.body.token)"}}},
    }


def dead_url() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{listener.getsockname()[1]}/"


def test_one_callout_needs_no_read(access: Access, httpserver: HTTPServer) -> None:
    """A callout and an upstream header cost no awaited call: everything is written at the end."""
    httpserver.expect_request("/token").respond_with_json({"token": "t0"})
    kong = access(token_injection(httpserver.url_for("/token")))
    assert kong.exchanges == 0
    assert [method for method, _ in kong.log] == [
        "kong.service.request.set_header",
        "kong.ctx.shared.set",
        "kong.log.set_serialize_value",
    ]
    assert kong.written("kong.service.request.set_header") == [("Authorization", "Bearer t0")]
    assert kong.answer is None


def test_nothing_configured_nothing_touched(access: Access) -> None:
    """Without callouts and upstream changes Kong is not called at all."""
    assert access({"callouts": []}).log == []


def test_all_reads_are_gathered(access: Access, httpserver: HTTPServer) -> None:
    """However many parts of the request are needed, they are read in one exchange."""
    httpserver.expect_request("/c").respond_with_json({"token": "t0"})
    config = token_injection(httpserver.url_for("/c"), headers={"forward": True}, query={"forward": True})
    config["callouts"][0]["request"] |= {"body": {"forward": True}, "method": "POST"}
    kong = access(config, KongDouble(kong__request__get_raw_body=b"hello", kong__request__get_raw_query="a=1&b"))
    assert kong.exchanges == 1
    request, _ = httpserver.log[0]
    assert (request.data, request.query_string) == (b"hello", b"a=1&b")


def test_context_is_shared(access: Access, httpserver: HTTPServer) -> None:
    """Other plugins see the request, the caching and the response of each callout."""
    httpserver.expect_request("/token").respond_with_json({"token": "t0"}, headers={"X-A": "1"})
    shared = access(token_injection(httpserver.url_for("/token"))).shared()["auth"]
    assert shared["request"]["params"]["url"] == httpserver.url_for("/token")
    assert shared["request"]["n_retries"] == 0
    assert shared["caching"]["strategy"] == "off"
    assert (shared["response"]["status"], shared["response"]["body"]) == (200, {"token": "t0"})
    assert shared["response"]["headers"]["x-a"] == "1"


@pytest.mark.parametrize(
    ("script", "body"),
    [
        ("local t = kong.ctx.shared.callouts.auth.response.body.token", {"token": "t0"}),
        ("local body = kong.ctx.shared.callouts.auth.response.body body.token = 't1'", {"token": "t1"}),
        ("table.insert(kong.ctx.shared.callouts.auth.response.body, 't1') ", {"token": "t0", "1": "t1"}),
        ("kong.ctx.shared.callouts.auth.response.body = nil", None),
    ],
)
def test_what_a_script_makes_of_the_context_is_shared(
    access: Access, httpserver: HTTPServer, script: str, body: Any
) -> None:
    """Other plugins see the context as the last script left it, whether it changed it or only read it."""
    httpserver.expect_request("/token").respond_with_json({"token": "t0"})
    config = token_injection(httpserver.url_for("/token"))
    config["upstream"] = {"by_lua": script}
    shared = access(config).shared()["auth"]
    assert shared["response"].get("body") == body
    assert shared["request"]["params"]["method"] == "GET"


def test_a_constant_request_is_the_same_for_every_event(engine: Engine, httpserver: HTTPServer) -> None:
    """A script's changes to a request that is built once last for one event only."""
    httpserver.expect_request("/token").respond_with_json({"token": "t0"})
    config = token_injection(httpserver.url_for("/token"), body={"custom": {"a": "1"}}, method="POST")
    config["callouts"][0]["request"]["by_lua"] = """
        local params = kong.ctx.shared.callouts.auth.request.params
        params.body.n = (params.body.n or 0) + 1
        params.headers["X-N"] = (params.headers["X-N"] or "") .. "x"
        kong.ctx.shared.callouts.auth.caching.bypass = true
    """
    instance = engine.instance(config)
    for _ in range(2):
        kong = KongDouble()
        instance.access(kong)
        assert kong.shared()["auth"]["request"]["params"]["body"] == {"a": "1", "n": 1}
    sent = [(request.get_json(), request.headers["X-N"]) for request, _ in httpserver.log]
    assert sent == [({"a": "1", "n": 1}, "x")] * 2


@pytest.mark.parametrize(
    ("settings", "shared"),
    [
        (Settings(share="full"), True),
        (Settings(share="meta"), False),
        (Settings(share_max_bytes=5), False),
        (Settings(share="off"), None),
    ],
)
def test_sharing_is_governed(settings: Settings, shared: bool | None, httpserver: HTTPServer) -> None:
    """``share`` and ``share_max_bytes`` decide whether others see bodies, or anything."""
    httpserver.expect_request("/token").respond_with_json({"token": "t0"})
    engine = Engine(settings)
    kong = KongDouble()
    engine.instance(token_injection(httpserver.url_for("/token"))).access(kong)
    engine.close()
    if shared is None:
        assert kong.written("kong.ctx.shared.set") == []
    else:
        assert ("body" in kong.shared()["auth"]["response"]) is shared
    assert kong.written("kong.service.request.set_header") == [("Authorization", "Bearer t0")]


def test_log_record(access: Access, httpserver: HTTPServer) -> None:
    """Kong's log record gets URL without user info and query values, status, latency and attempts."""
    httpserver.expect_request("/token").respond_with_json({"token": "t0"})
    url = httpserver.url_for("/token").replace("http://", "http://user:pass@") + "?key=secret"
    [(name, record)] = access(token_injection(url)).written("kong.log.set_serialize_value")
    assert name == "request_callout"
    fields = record["auth"]
    assert fields["url"] == httpserver.url_for("/token") + "?key"
    assert (fields["status"], fields["attempts"]) == (200, 1)
    assert 0 < fields["latency"] < 5000


def test_failure_answers_and_is_logged(access: Access, caplog: pytest.LogCaptureFixture) -> None:
    """A callout that can't be made gives the configured answer, and one line with the request's id."""
    config = token_injection(dead_url(), error={"error_response_code": 503, "error_response_msg": "no token"})
    kong = access(config)
    assert kong.answer == (503, b"no token", {"Content-Type": "text/plain; charset=utf-8"})
    assert kong.written("kong.service.request.set_header") == []
    [line] = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert "request-id" in line
    assert "callout auth" in line
    assert "refused" in line


def test_retries_are_in_the_context(access: Access, httpserver: HTTPServer) -> None:
    """Each retry has its reason in ``request.retries``."""
    httpserver.expect_ordered_request("/token").respond_with_data("", status=502)
    httpserver.expect_ordered_request("/token").respond_with_data("no json")
    httpserver.expect_ordered_request("/token").respond_with_json({"token": "t2"})
    kong = access(token_injection(httpserver.url_for("/token"), error={"http_statuses": [502], "retries": 2}))
    request = kong.shared()["auth"]["request"]
    assert request["n_retries"] == 2
    assert [(one["reason"], one["http_code"]) for one in request["retries"]] == [("code", 502), ("error", 200)]
    assert kong.written("kong.service.request.set_header") == [("Authorization", "Bearer t2")]


def test_the_deadline_bounds_all_attempts(httpserver: HTTPServer) -> None:
    """All callouts of a request with their retries end at the deadline."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        engine = Engine(Settings(deadline_ms=200))
        kong = KongDouble()
        started = time.monotonic()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        engine.instance(token_injection(url, error={"on_error": "retry", "retries": 50})).access(kong)
        engine.close()
    assert time.monotonic() - started < 2
    assert kong.answer is not None
    assert kong.answer[0] == 400


def test_script_error_is_logged_with_its_place(access: Access, caplog: pytest.LogCaptureFixture) -> None:
    """A runtime error gives 500 to the client and field, line and Lua's message to the log."""
    kong = access({"callouts": [], "upstream": {"by_lua": "local x\nreturn x.y"}})
    assert kong.answer == INTERNAL
    text = caplog.text
    assert "config.upstream.by_lua" in text
    assert "line 2" in text
    assert "attempt to index" in text


def test_secrets_stay_out_of_the_log(access: Access, caplog: pytest.LogCaptureFixture) -> None:
    """What came from a vault is not in a log line, even if a script's error quotes it."""
    caplog.set_level(logging.DEBUG)
    secret = "hunter2-very-secret"
    config = {
        "callouts": [
            {
                "name": "a",
                "request": {
                    "url": dead_url() + f"$(error('{secret}'))",
                    "headers": {"custom": {"X": secret}, "$refs": {"custom": {"X": "{vault://env/x}"}}},
                },
            }
        ]
    }
    kong = access(config)
    assert kong.answer == INTERNAL
    assert "***" in caplog.text
    assert secret not in caplog.text


def test_bad_configuration_answers_500(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    """A bad configuration is an instance whose every event is answered with 500; the reasons are logged once."""
    instance = engine.instance({"__plugin_id": "p", "callouts": [{"name": "a", "request": {"url": "ftp://x"}}]})
    assert [problem.path for problem in instance.problems] == ["config.callouts[1].request.url"]
    for _ in range(3):
        kong = KongDouble()
        instance.access(kong)
        assert kong.answer == INTERNAL
    assert len([record for record in caplog.records if "config.callouts[1].request.url" in record.getMessage()]) == 1


def test_exit_with_a_table(access: Access) -> None:
    """``kong.response.exit`` with a table answers with JSON, and nothing is sent to the upstream."""
    kong = access({"callouts": [], "upstream": {"by_lua": "kong.response.exit(201, {a = 1}, {['X-Y'] = 'z'})"}})
    assert kong.answer == (201, b'{"a":1}', {"X-Y": "z", "Content-Type": "application/json; charset=utf-8"})


def test_cached_response_is_not_fetched_again(access: Access, engine: Engine, httpserver: HTTPServer) -> None:
    """A second equal request is answered from memory; the log record tells."""
    httpserver.expect_oneshot_request("/token").respond_with_json({"token": "t0"})
    instance = engine.instance(token_injection(httpserver.url_for("/token")) | {"cache": {"strategy": "memory"}})
    states = []
    for _ in range(2):
        kong = KongDouble()
        instance.access(kong)
        states.append(kong.written("kong.log.set_serialize_value")[0][1]["auth"]["cache"])
        assert kong.written("kong.service.request.set_header") == [("Authorization", "Bearer t0")]
    assert states == ["miss", "hit"]


def test_a_body_file_that_cannot_be_read(access: Access, caplog: pytest.LogCaptureFixture) -> None:
    """A client body in a file of another container gives 500, and the log names nginx's option."""
    from request_callout.engine.kong import BodyFileError

    def unreadable() -> bytes:
        raise BodyFileError("/nowhere/0001")

    config = {"callouts": [], "upstream": {"body": {"custom": {"a": "1"}}}}
    assert access(config, KongDouble(kong__request__get_raw_body=unreadable)).answer == INTERNAL
    assert "nginx_http_client_body_buffer_size" in caplog.text


def test_what_cannot_leave_lua_is_not_shared(access: Access, caplog: pytest.LogCaptureFixture) -> None:
    """A function left in the context costs the sharing and a log line, not the request."""
    kong = access({"callouts": [], "upstream": {"by_lua": "kong.ctx.shared.callouts.f = function() end"}})
    assert kong.answer is None
    assert kong.written("kong.ctx.shared.set") == []
    assert "function" in caplog.text


def test_a_script_may_share_what_it_likes(access: Access) -> None:
    """What scripts add to the callouts' context reaches other plugins, also without any callout."""
    kong = access({"callouts": [], "upstream": {"by_lua": "kong.ctx.shared.callouts.mine = {list = {1, 2}, n = 1.5}"}})
    assert kong.shared() == {"mine": {"list": [1, 2], "n": 1.5}}


def test_a_script_cannot_send_to_no_url(access: Access, caplog: pytest.LogCaptureFixture) -> None:
    """A URL that a script made and that is none gives 500 and a line with the script's field."""
    by_lua = "kong.ctx.shared.callouts.a.request.params.url = 'nowhere'"
    assert access({"callouts": [{"name": "a", "request": {"url": "http://h/", "by_lua": by_lua}}]}).answer == INTERNAL
    assert "config.callouts[1].request.by_lua" in caplog.text


def test_a_failed_callout_is_in_the_context(access: Access, httpserver: HTTPServer) -> None:
    """The error message and other plugins see the failed callout itself: its response and the reason."""
    httpserver.expect_request("/token").respond_with_json({"why": "locked"}, status=423)
    error = {
        "http_statuses": [423],
        "error_response_msg": "$(callouts.auth.response.status): $(callouts.auth.response.body.why)",
    }
    kong = access(token_injection(httpserver.url_for("/token"), error=error))
    assert kong.answer is not None
    assert kong.answer[1] == b"423: locked"
    assert kong.shared()["auth"]["request"]["error"] == {"reason": "code", "err": "status 423", "http_code": 423}


def test_what_frames_the_message_is_not_cleared(access: Access) -> None:
    """With ``upstream.headers.forward: false`` all is cleared but what frames the message or names its target."""
    client = {"host": "h", "content-length": "3", "connection": "close", "transfer-encoding": "chunked", "x-a": "1"}
    kong = KongDouble(kong__request__get_headers=client)
    access({"callouts": [], "upstream": {"headers": {"forward": False}}}, kong)
    assert kong.written("kong.service.request.clear_header") == [("x-a",)]
