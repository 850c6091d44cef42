"""What a request with the secret leaves behind, and what it tells its client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from request_callout.config.settings import Settings
from request_callout.engine import Engine
from request_callout.telemetry.trace_bounds import MAX_RECORD_BYTES
from request_callout.telemetry.traces import Traces
from tests.unit.engine.gevent_callee import Callee, Clock, Reply, until
from tests.unit.engine.kong_double import KongDouble

SECRET = "a secret of enough length"


@pytest.fixture
def callee() -> Iterator[Callee]:
    callee = Callee()
    yield callee
    callee.close()


def kong(given: str | None = SECRET, headers: dict[str, Any] | None = None, **replies: Any) -> KongDouble:
    """An event whose request has this value in X-Callout-Debug."""
    sent = {"host": "gateway.test", **(headers or {}), **({} if given is None else {"x-callout-debug": given})}
    return KongDouble(
        kong__request__get_header=lambda name: sent.get(name),
        kong__request__get_headers=lambda most: dict(sent),
        kong__request__get_method="POST",
        kong__request__get_path="/orders",
        **replies,
    )


def handle(config: dict[str, Any], event: KongDouble, times: int = 1) -> list[dict[str, Any]]:
    """Let a configuration handle an event; the traces it leaves."""
    records: list[bytes] = []

    def emit(record: bytes) -> bool:
        records.append(record)
        return True

    engine = Engine(Settings(deadline_ms=5_000), observers=[Traces(SECRET, emit)])
    instance = engine.instance({"__plugin_id": "p", **config})
    assert instance.problems == ()
    for _ in range(times):
        instance.access(event)
    engine.close()
    return [json.loads(record) for record in records]


def one(url: str, **request: Any) -> dict[str, Any]:
    return {"callouts": [{"name": "a", "request": {"url": url, **request}}]}


def timing(event: KongDouble) -> str:
    (args,) = [args for args in event.written("kong.response.add_header") if args[0] == "Server-Timing"]
    value: str = args[1]
    return value


def test_a_trace_tells_of_each_attempt(callee: Callee) -> None:
    """Request, plan, callout, its attempts with both messages, and what goes upstream stand in the record."""
    callee.reply = lambda number: Reply({"n": number}, status=503 if number == 1 else 200)
    config = one(callee.url, error={"on_error": "retry", "retries": 1, "http_statuses": [503]})
    config["upstream"] = {
        "headers": {"custom": {"X-A": "1"}},
        "body": {"custom": {"a": "$(callouts.a.response.status)"}},
    }
    event = kong()
    (trace,) = handle(config, event)
    assert (trace["request"]["method"], trace["request"]["path"]) == ("POST", "/orders")
    assert trace["plan"] == [{"name": "a", "level": 0, "waits_for": []}]
    (callout,) = trace["callouts"]
    assert (callout["result"], callout["status"]) == ("ok", 200)
    first, second = callout["attempts"]
    assert [first["response"]["status"], second["response"]["status"]] == [503, 200]
    assert second["response"]["body"] == {"bytes": 8, "text": '{"n":2}'}
    assert callout["start_ms"] <= first["start_ms"] <= first["end_ms"] <= second["start_ms"] <= second["end_ms"]
    assert {"what": "set header", "name": "X-A", "value": "1"} in trace["upstream"]
    assert {"what": "set body", "body": {"bytes": 11, "text": '{"a":"200"}'}} in trace["upstream"]
    assert trace["outcome"] == "proxied"
    assert trace["server_timing"] == timing(event)


def test_the_client_is_told_what_took_how_long(callee: Callee) -> None:
    """Server-Timing has the whole and each callout, with its status and attempts."""
    event = kong()
    handle(one(callee.url), event)
    whole, a = timing(event).split(", ")
    assert whole.startswith("request-callout;dur=")
    assert a.startswith("a;dur=")
    assert a.endswith(';desc="200"')


@pytest.mark.parametrize("given", [SECRET, "another one of enough length"])
def test_the_header_goes_no_further(callee: Callee, given: str) -> None:
    """Neither the upstream nor a callee to which headers are forwarded gets it, whatever its value."""
    event = kong(given, {"x-other": "1"})
    handle(one(callee.url, headers={"forward": True}), event)
    assert callee.asked[0]["HTTP_X_OTHER"] == "1"
    assert "HTTP_X_CALLOUT_DEBUG" not in callee.asked[0]
    assert ("x-callout-debug",) in event.written("kong.service.request.clear_header")


def test_an_expression_does_not_see_the_header(callee: Callee) -> None:
    """The secret is for the plugin alone: headers that expressions work with are without it."""
    headers = {"custom": {"X-Seen": "$(headers['x-callout-debug'] or headers.host)"}}
    handle(one(callee.url, headers=headers), kong("another one of enough length"))
    assert callee.asked[0]["HTTP_X_SEEN"] == "gateway.test"


def test_values_of_a_query_that_a_script_sets_are_hidden() -> None:
    """What a script adds to the query by name is told with its names."""
    by_lua = f"kong.service.request.set_query({{code = '{PLANTED[0]}'}})"
    (trace,) = handle({"callouts": [], "upstream": {"by_lua": by_lua}}, kong())
    assert trace["upstream"] == [{"what": "set query", "value": "code=***"}]


@pytest.mark.parametrize("given", [None, "", "another one of enough length", SECRET + "x"])
def test_without_the_secret_nothing_is_told(callee: Callee, given: str | None) -> None:
    """A missing or wrong secret: no timing, no trace, no hint."""
    event = kong(given)
    assert handle(one(callee.url), event) == []
    assert event.written("kong.response.add_header") == []
    assert len(event.written("kong.request.get_path")) == 0


def test_an_answer_is_traced(callee: Callee) -> None:
    """What the plugin answers itself stands in the record, and the answer has the header."""
    event = kong()
    (trace,) = handle({"callouts": [], "upstream": {"by_lua": "kong.response.exit(418, 'tea')"}}, event)
    assert (trace["outcome"], trace["status"]) == ("answered", 418)
    assert trace["answer"]["body"]["text"] == "tea"
    assert timing(event)


def test_a_failure_is_traced() -> None:
    """A callout that ends the request says why, in its attempt and for the whole."""
    (trace,) = handle(one("http://127.0.0.1:1/"), kong())
    assert trace["outcome"] == "failed"
    assert "callout a" in trace["failure"]
    assert trace["callouts"][0]["attempts"][0]["error_kind"] == "connect"


def test_the_cache_is_traced(callee: Callee) -> None:
    """A response from the cache stands at its callout, which has no attempt then."""
    callee.reply = lambda number: Reply({"n": number}, headers={"Cache-Control": "max-age=60"})
    miss, hit = handle({**one(callee.url), "cache": {"strategy": "memory"}}, kong(), times=2)
    assert (miss["callouts"][0]["cache"], len(miss["callouts"][0]["attempts"])) == ("miss", 1)
    assert (hit["callouts"][0]["cache"], hit["callouts"][0]["attempts"]) == ("hit", [])
    assert hit["callouts"][0]["response"]["body"]["text"] == '{"n":1}'
    assert "cache hit" in hit["server_timing"]


def test_elements_follow_their_list(callee: Callee) -> None:
    """A callout for each element stands before the calls for its elements, in their order."""
    config = {"callouts": [{"name": "a", "for_each": {"items": "$({1, 2})"}, "request": {"url": callee.url}}]}
    (trace,) = handle(config, kong())
    assert [one.get("index") for one in trace["callouts"]] == [None, 1, 2]
    assert trace["callouts"][0]["items"] == 2
    assert '"2 items"' in trace["server_timing"]


def test_a_client_body_is_traced(callee: Callee) -> None:
    """The client's body is read for a trace, if it is short enough."""
    event = kong(headers={"content-length": "7"}, kong__request__get_raw_body=b'{"a":1}')
    (trace,) = handle(one(callee.url), event)
    assert trace["request"]["body"] == {"bytes": 7, "text": '{"a":1}'}
    event = kong(headers={"content-length": "10000000"}, kong__request__get_raw_body=b"x")
    (trace,) = handle(one(callee.url), event)
    assert trace["request"]["body"]["note"] == "over 256 KiB, not read"


def test_a_request_that_cannot_be_read_goes_on(callee: Callee) -> None:
    """What fails while it is read for the trace alone costs the trace a part, the request nothing."""

    def refuse(*_: Any) -> Any:
        raise ValueError("no")

    event = kong(kong__request__get_raw_query=refuse)
    (trace,) = handle(one(callee.url), event)
    assert trace["outcome"] == "proxied"
    assert "could not be read" in trace["request"]["body"]["note"]


def test_a_record_fits_into_a_datagram(callee: Callee) -> None:
    """However much happens, the record stays JSON of at most 60 KiB and says that it was cut."""
    callee.reply = lambda number: Reply({"text": "x" * 20_000}, headers={f"X-{n}": "y" * 500 for n in range(30)})
    config = {
        "callouts": [
            {"name": f"c{n}", "request": {"url": callee.url, "method": "POST", "body": {"custom": {"a": "z" * 5000}}}}
            for n in range(40)
        ]
    }
    (trace,) = handle(config, kong())
    assert len(json.dumps(trace, separators=(",", ":"))) <= MAX_RECORD_BYTES
    assert trace["cut"] is True
    assert len(trace["callouts"]) >= 5


def test_a_refresh_has_a_trace_of_its_own(callee: Callee) -> None:
    """What is fetched anew in the background, after the traced request got the stale response, is told apart."""
    records: list[dict[str, Any]] = []
    clock = Clock()

    def emit(record: bytes) -> bool:
        records.append(json.loads(record))
        return True

    engine = Engine(Settings(deadline_ms=5_000), clock, observers=[Traces(SECRET, emit)])
    config = one(callee.url, headers={"custom": {"Authorization": f"Bearer {PLANTED[0]}"}})
    config["callouts"][0]["cache"] = {"ttl": "10", "stale_while_revalidate": 60}
    instance = engine.instance({"__plugin_id": "p", "cache": {"strategy": "memory"}, **config})
    instance.access(kong())
    clock.now += 11
    event = kong()
    instance.access(event)
    until(lambda: len(records) == 3)
    engine.close()
    assert [(record["background"], record["callouts"][0]["cache"]) for record in records[:2]] == [
        (False, "miss"),
        (False, "stale"),
    ]
    refresh = records[2]
    assert (refresh["background"], refresh["outcome"], refresh["status"]) == (True, "done", None)
    (attempt,) = refresh["callouts"][0]["attempts"]
    assert attempt["response"]["body"]["text"] == '{"n":2}'
    assert len(event.written("kong.response.add_header")) == 1  # the refresh has no client to tell
    assert PLANTED[0] not in json.dumps(records)


@pytest.mark.parametrize(
    "token", ["opaque-4cb1f6a2", "eyJhbGciOiJub25lIn0.eyJzdWIiOiI3In0.c2ln"], ids=["opaque", "JWT"]
)
def test_tokens_that_were_got_stand_nowhere_in_a_trace(callee: Callee, token: str) -> None:
    """A token of ``request.auth`` is hidden in what is sent and in whatever quotes it; the way to it is no attempt."""
    grant = {"access_token": token, "token_type": "Bearer", "expires_in": 3600}
    callee.reply = lambda number: Reply(grant) if number == 1 else Reply(f"your token was {token}".encode())
    auth = {
        "type": "oauth2_client_credentials",
        "token_url": callee.url,
        "client_id": "a",
        "client_secret": PLANTED[0],
    }
    config = one(callee.url, auth=auth)
    config["upstream"] = {"headers": {"custom": {"X-Said": "$(callouts.a.response.body)"}}}
    config["callouts"][0]["response"] = {"body": {"decode": False}}
    (trace,) = handle(config, kong())
    assert callee.asked[1]["HTTP_AUTHORIZATION"] == f"Bearer {token}"
    (attempt,) = trace["callouts"][0]["attempts"]
    assert ["Authorization", "***"] in attempt["request"]["headers"]
    assert attempt["response"]["body"]["text"] == "your token was ***"
    assert token not in json.dumps(trace)
    assert PLANTED[0] not in json.dumps(trace)


PLANTED = [f"planted-{n}-7f3a" for n in range(16)]


def test_secrets_stand_nowhere_in_a_trace(callee: Callee) -> None:
    """Secrets of headers, queries, bodies, URLs and configuration are in no part of the record."""
    p = PLANTED
    echoed = {"password": p[0], "deep": [{"api_key": p[1]}], "said": f"you sent Bearer {p[2]}", "sid": p[3]}
    callee.reply = lambda number: Reply(echoed, headers={"Set-Cookie": f"sid={p[3]}", "Location": f"/?token={p[4]}"})
    url = callee.url.replace("http://", f"http://user:{p[5]}@")
    config = one(
        f"{url}?q={p[6]}",
        method="POST",
        headers={"forward": True, "custom": {"X-Api-Key": p[7], "X-Said": f"token={p[8]}"}},
        body={"custom": {"client_secret": p[9], "about": f"password: {p[10]}"}},
    )
    config["upstream"] = {
        "headers": {"custom": {"Authorization": f"Basic {p[11]}", "X-Echo": "$(callouts.a.response.body)"}},
        "query": {"custom": {"v": p[12]}},
    }
    config["callouts"][0]["response"] = {"body": {"decode": False}}
    event = kong(
        headers={
            "authorization": f"Bearer {p[2]}",
            "cookie": f"a=b; session={p[13]}",
            "content-length": "60",
            "x-note": f"my session was {p[13]} and {SECRET}",
            "content-type": "application/x-www-form-urlencoded",
        },
        kong__request__get_raw_query=f"access_token={p[14]}&b={p[6]}",
        kong__request__get_raw_body=f"passwd={p[15]}&name=x".encode(),
    )
    (trace,) = handle(config, event)
    told = json.dumps(trace) + timing(event)
    assert [secret for secret in [*p, SECRET] if secret in told] == []
    assert "access_token=***" in told
    assert "passwd=***&name=x" in told
