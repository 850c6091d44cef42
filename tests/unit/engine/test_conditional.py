"""Callouts with ``when``."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from request_callout.config.settings import Settings
from request_callout.engine import Engine
from tests.unit.engine.conftest import Access
from tests.unit.engine.kong_double import KongDouble
from tests.unit.engine.sending_double import SendingDouble


def callout(name: str, path: str | None = None, **parts: Any) -> dict[str, Any]:
    request = {"url": f"http://callee.test{path or '/' + name}", **parts.pop("request", {})}
    return {"name": name, "request": request, "response": {"body": {"decode": True}}, **parts}


def headers(**custom: str) -> dict[str, Any]:
    return {"headers": {"custom": {name.replace("_", "-"): value for name, value in custom.items()}}}


@pytest.mark.parametrize("nothing", ["nil", "false", "ngx.null", "headers.absent", "query_params.flag == '1'"])
def test_nil_false_and_null_skip(engine: Engine, access: Access, nothing: str) -> None:
    """A callout whose expression gives nil, false or null is not made: its context and its log field say so."""
    double = SendingDouble(engine)
    kong = access({"callouts": [callout("a", when=f"$({nothing})")]})
    assert double.sent == []
    assert kong.answer is None
    assert kong.shared() == {"a": {"skipped": True}}
    [(_, fields)] = kong.written("kong.log.set_serialize_value")
    assert (fields["a"]["skipped"], fields["a"]["attempts"]) == (True, 0)


@pytest.mark.parametrize("something", ["true", "0", "''", "{}", "headers.host", "query_params.flag"])
def test_all_else_is_true(engine: Engine, access: Access, something: str) -> None:
    """Any other value makes the callout, as in Lua: zero and the empty string too."""
    double = SendingDouble(engine)
    kong = access({"callouts": [callout("a", when=f"$({something})")]}, KongDouble(kong__request__get_raw_query="flag"))
    assert double.paths == ["/a"]
    assert "skipped" not in kong.shared()["a"]


def test_the_condition_is_evaluated_after_what_it_reads(engine: Engine, access: Access) -> None:
    """What a condition reads of another callout is awaited, though nothing is declared."""
    SendingDouble(engine, lambda request: (200, {"premium": "premium" in request.url}))
    both = [
        callout("standard"),
        callout("premium"),
        callout("x", when="$(callouts.standard.response.body.premium)"),
        callout("y", when="$(callouts.premium.response.body.premium)"),
    ]
    shared = access({"callouts": both}).shared()
    assert shared["x"] == {"skipped": True}
    assert shared["y"]["response"]["status"] == 200


def test_nothing_is_built_for_a_skipped_callout(engine: Engine, access: Access) -> None:
    """No expression of the request is evaluated and no script runs: neither can fail."""
    double = SendingDouble(engine)
    request = {"url": "$(nothing.there)", "by_lua": "error('no')"}
    kong = access({"callouts": [callout("a", when="$(nil)", request=request)]})
    assert (kong.answer, double.sent) == (None, [])


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("callouts.a.response.body.token", ""),
        ("callouts.a.response.headers['x-a']", ""),
        ("callouts.a.response.body.token or 'none'", "none"),
        ("callouts.a.response.body.list[1].deep or 'none'", "none"),
        ("callouts['a'].response.status == nil", "true"),
        ("callouts.a.skipped", "true"),
        ("(function() local all = callouts return all.a.response.body.x or 'none' end)()", "none"),
    ],
)
@pytest.mark.parametrize("scripted", [False, True])
def test_what_reads_a_skipped_callout_gets_nil(
    engine: Engine, access: Access, expression: str, value: str, scripted: bool
) -> None:
    """An expression may ask for any part of a skipped callout's response: it is nil, and so is all below it."""
    SendingDouble(engine)
    script = {"by_lua": "kong.ctx.shared.seen = kong.ctx.shared.callouts.a.skipped"}
    more = [callout("s", request=script)] if scripted else []
    upstream = headers(X_A=f"[$({expression})]")
    kong = access({"callouts": [callout("a", when="$(false)"), *more], "upstream": upstream})
    assert kong.written("kong.service.request.set_header") == [("X-A", f"[{value}]")]


def test_a_member_of_nil_stays_an_error_elsewhere(engine: Engine, access: Access) -> None:
    """An expression that reads no skipped callout fails where it asks nil for a member, also after one that does."""
    SendingDouble(engine)
    upstream = headers(X_A="$(callouts.a.response.body.x or 1)", X_B="$(callouts.b.response.body.none.deeper or 1)")
    kong = access({"callouts": [callout("a", when="$(nil)"), callout("b")], "upstream": upstream})
    assert kong.answer is not None
    assert kong.answer[0] == 500


def test_a_script_sees_that_a_callout_was_skipped(engine: Engine, access: Access) -> None:
    """For scripts there is no response; a member of it is an error, as in any Lua."""
    SendingDouble(engine)
    script = (
        "local a = kong.ctx.shared.callouts.a  kong.response.exit(200, tostring(a.skipped) .. tostring(a.response))"
    )
    kong = access({"callouts": [callout("a", when="$(nil)")], "upstream": {"by_lua": script}})
    assert kong.answer is not None
    assert kong.answer[1] == b"truenil"
    fails = {"by_lua": "local x = kong.ctx.shared.callouts.a.response.body"}
    failed = access({"callouts": [callout("a", when="$(nil)")], "upstream": fails})
    assert failed.answer is not None
    assert failed.answer[0] == 500


def test_a_skipped_callout_leaves_the_cache_alone(engine: Engine, access: Access) -> None:
    """Nothing is stored for it: the first request for which it is made is a miss."""
    double = SendingDouble(engine)
    config = {"callouts": [callout("a", when="$(query_params.go)")], "cache": {"strategy": "memory"}}
    access(config)
    kong = access(config, KongDouble(kong__request__get_raw_query="go"))
    assert len(double.sent) == 1
    assert kong.shared()["a"]["caching"]["status"] == "miss"


def test_an_expression_that_fails_ends_the_request(
    engine: Engine, access: Access, caplog: pytest.LogCaptureFixture
) -> None:
    """A condition that raises an error answers 500, and the log names the field."""
    SendingDouble(engine)
    kong = access({"callouts": [callout("a", when="$(nothing.there)")]})
    assert kong.answer is not None
    assert kong.answer[0] == 500
    assert "callout a: config.callouts[1].when: " in caplog.text


def test_parts_of_the_client_request_are_in_the_gathered_read(engine: Engine, access: Access) -> None:
    """What a condition reads of the client's request is read before the callouts, with all else."""
    SendingDouble(engine)
    callouts = [callout("a", when="$(headers.host)"), callout("b", when="$(query_params.x)")]
    assert access({"callouts": callouts}).exchanges == 1


def test_a_skipped_callout_has_a_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Where callouts are logged, so is that one was skipped."""
    caplog.set_level(logging.INFO, "request_callout")
    engine = Engine(Settings())
    engine.instance({"callouts": [callout("a", when="$(nil)")]}).access(KongDouble())
    engine.close()
    assert [record.getMessage() for record in caplog.records] == ["[request-id] callout a: skipped"]


def test_forgiveness_ends_with_the_expression(engine: Engine, access: Access) -> None:
    """While an expression that reads a skipped callout waits for Kong, others are as strict as ever."""
    SendingDouble(engine)
    strict = {"callouts": [], "upstream": headers(X_A="$(nothing.there)")}
    answers: list[Any] = []

    def path() -> str:
        answers.append(access(strict).answer)
        return "/x"

    forgiving = headers(
        X_A="$(callouts.a.response.body.x or kong.request.get_path() .. tostring(callouts.a.response.y))"
    )
    config = {"callouts": [callout("a", when="$(nil)")], "upstream": forgiving}
    kong = access(config, KongDouble(kong__request__get_path=path))
    assert kong.written("kong.service.request.set_header") == [("X-A", "/xnil")]
    assert [answer[0] for answer in answers] == [500]
    assert access(strict).answer[0] == 500  # type: ignore[index]
