"""What explain warns of, and what it leaves alone."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.unit.cli.explain.explaining import ROOT, callout, codes, explained, run

READS_A = {"headers": {"custom": {"X-A": "$(callouts.a.response.body.x)"}}}
READS_ALL = {"headers": {"custom": {"X": "$(f(callouts))"}}}
READS_ERROR_OF_A = {"headers": {"custom": {"X-A": "$(callouts.a.request.error and 'down')"}}}
DECODED = {"body": {"decode": True}}
MEMORY = {"strategy": "memory"}
STATUSES: dict[str, Any] = {"error": {"http_statuses": [500]}}
WAITING: dict[str, Any] = {"by_lua": "local x = 1"}
SETS_KEY = "kong.ctx.shared.callouts.a.caching.cache_key = 'k'"
KEPT_FROM_CLIENT = {"forward": True, "remove": ["Authorization", "Cookie"]}
IDEMPOTENCY_KEY = {"custom": {"Idempotency-Key": "$(headers.x)"}}
CLIENTS_OWN = {"custom": {"Authorization": "$(headers.authorization)"}}
OF_ITS_OWN = {"forward": True, "custom": {"authorization": "Bearer $(headers.x)"}, "remove": ["Cookie"]}
GUARDED = {"headers": {"custom": {"X": "$(callouts.a.response.headers.x or 'none')"}}}
THERE = {"host": "redis.example", "password": "{vault://env/redis}"}
CLIENTS = "https://h.example/?a=$(ngx.escape_uri(headers.x))"
POSTED: dict[str, Any] = {"method": "POST", "body": {"forward": True}}
READS_BODY = {"headers": {"custom": {"X-A": "$(callouts.a.response.body)"}}}
TOKENS = {"type": "oauth2_client_credentials", "client_id": "c", "client_secret": "{vault://env/secret}"}
GO_ON = {"on_error": "continue"}
LOOKS_AT_THE_ERROR = {
    "headers": {"custom": {"X": "$(choice(callouts.a.request.error, callouts.a.response.headers.x))"}}
}
TOLERANT: dict[str, Any] = {"error": {"on_error": "continue", "fallback": {"body": "{}"}}, "response": DECODED}

DESERVED: list[tuple[str, dict[str, Any]]] = [
    ("body-of-get", {"callouts": [callout(body={"custom": {"a": "1"}})]}),
    ("body-of-get", {"callouts": [callout(body={"forward": True})]}),
    ("retry-not-idempotent", {"callouts": [callout(method="POST", error={"retries": 1})]}),
    ("retry-not-idempotent", {"callouts": [callout(method="PATCH", error={"retries": 1, "retry_methods": ["PATCH"]})]}),
    ("plain-secret", {"callouts": [callout(headers={"custom": {"Authorization": "Bearer abcdef"}})]}),
    ("plain-secret", {"callouts": [callout(headers={"custom": {"X-Api-Key": "abcdef"}})]}),
    ("plain-secret", {"callouts": [callout(body={"custom": {"client_secret": "abcdef"}}, method="POST")]}),
    ("plain-secret", {"callouts": [callout(url="https://h.example/?api_key=abcdef")]}),
    ("plain-secret", {"callouts": [callout(url="https://user:abcdef@h.example/")]}),
    ("plain-secret", {"callouts": [callout(auth={"type": "basic", "username": "u", "password": "abcdef"})]}),
    ("plain-secret", {"callouts": [callout(http_opts={"proxy": {"http_proxy": "http://u:abcdef@p:3128"}})]}),
    ("plain-secret", {"callouts": [callout(by_lua='local password = "abcdef"', depends_on=[])]}),
    ("plain-secret", {"callouts": [], "cache": {"strategy": "redis", "redis": {"password": "abcdef"}}}),
    ("tls-not-verified", {"callouts": [callout(http_opts={"ssl_verify": False})]}),
    ("credentials-over-http", {"callouts": [callout(url="http://h.example/", headers=CLIENTS_OWN)]}),
    ("credentials-over-http", {"callouts": [], "cache": {"strategy": "redis", "redis": THERE}}),
    ("forwards-credentials", {"callouts": [callout(headers={"forward": True})]}),
    ("client-chooses-host", {"callouts": [callout(url="https://$(headers.x_host)/")]}),
    ("unescaped-in-url", {"callouts": [callout(url="https://h.example/$(headers.x_id)")]}),
    ("fail-open", {"callouts": [callout(error={"on_error": "continue"}, response=DECODED)], "upstream": READS_A}),
    ("fail-open", {"callouts": [callout(error={"on_error": "continue"})]}),
    ("fail-open", {"callouts": [callout(method="POST", error={"on_error": "continue", "http_statuses": [403]})]}),
    ("not-decoded", {"callouts": [callout()], "upstream": READS_A}),
    ("not-stored", {"callouts": [callout(response={"body": {"decode": True, "store": False}})], "upstream": READS_A}),
    ("cache-never-hit", {"callouts": [callout(response={"by_lua": SETS_KEY}, **STATUSES)], "cache": MEMORY}),
    ("key-by-script", {"callouts": [callout(by_lua=SETS_KEY, query={"forward": True}, **STATUSES)], "cache": MEMORY}),
    ("cache-seldom-hit", {"callouts": [callout(headers=KEPT_FROM_CLIENT, **STATUSES)], "cache": MEMORY}),
    ("errors-cached", {"callouts": [callout()], "cache": MEMORY}),
    ("cached-write", {"callouts": [callout(method="POST", **STATUSES)], "cache": MEMORY}),
    ("over-deadline", {"callouts": [callout(http_opts={"timeouts": {"total": 900}})], "deadline_ms": 500}),
    ("breaker-without-timeouts", {"callouts": [callout(circuit_breaker={"failures": 3})]}),
    ("sequence-by-script", {"callouts": [callout("a"), callout("b", **WAITING), callout("c")]}),
    (
        "unknown-callout",
        {"callouts": [callout()], "upstream": {"headers": {"custom": {"X": "$(callouts.no.response.body.x)"}}}},
    ),
    ("body-of-get", {"callouts": [callout(body={"format": "raw", "content": "a"})]}),
    ("key-by-script", {"callouts": [callout(by_lua=SETS_KEY, url=CLIENTS, **STATUSES)], "cache": MEMORY}),
    ("key-by-script", {"callouts": [callout(by_lua=SETS_KEY, **POSTED, **STATUSES)], "cache": MEMORY}),
    ("not-stored", {"callouts": [callout(response={"body": {"store": False}})], "upstream": READS_BODY}),
    ("credentials-over-http", {"callouts": [callout(auth={**TOKENS, "token_url": "http://id.example/"})]}),
    ("credentials-over-http", {"callouts": [callout(url="http://u:$(shared.x)@h.example/")]}),
    ("tls-not-verified", {"callouts": [], "cache": {"strategy": "redis", "redis": {"ssl": True, "ssl_verify": False}}}),
]  # fmt: skip


@pytest.mark.parametrize(("code", "config"), DESERVED, ids=[f"{n}-{code}" for n, (code, _) in enumerate(DESERVED)])
def test_what_deserves_a_warning_gets_it(code: str, config: dict[str, Any]) -> None:
    """Each of these has this warning and no other, with its line and a remedy."""
    found = [one for one in explained(config)["warnings"] if one["code"] not in ("no-timeouts", "any-status")]
    assert [one["code"] for one in found] == [code]
    assert all(one["line"] and one["remedy"] and one["path"].startswith("plugins[1].config") for one in found)


FINE: list[dict[str, Any]] = [
    {"callouts": [callout(method="POST", body={"custom": {"a": "$(headers.a)"}})]},
    {"callouts": [callout(method="PUT", error={"retries": 1})]},
    {"callouts": [callout(method="POST", error={"retries": 1, "retry_methods": ["GET"]})]},
    {"callouts": [callout(method="POST", error={"retries": 1}, headers=IDEMPOTENCY_KEY)]},
    {"callouts": [callout(method="POST", error={"retries": 1}, body={"custom": {"grant_type": "client_credentials"}})]},
    {"callouts": [callout(headers={"custom": {"Authorization": "Bearer $(headers.x_token)", "Accept": "text/plain"}})]},
    {"callouts": [callout(body={"custom": {"client_secret": "{vault://env/secret}"}}, method="POST")]},
    {"callouts": [callout(url="https://h.example/?page=3")]},
    {"callouts": [callout(url="http://127.0.0.1:8080/", headers=CLIENTS_OWN)]},
    {"callouts": [callout(headers=KEPT_FROM_CLIENT)]},
    {"callouts": [callout(url="https://$(headers.x_host)/", destination={"allow_hosts": ["*.example.com"]})]},
    {"callouts": [callout(url="https://h.example/$(ngx.escape_uri(headers.x_id))")]},
    {"callouts": [callout(**TOLERANT)], "upstream": READS_A},
    {"callouts": [callout(method="POST", error={"on_error": "continue"})]},
    {"callouts": [callout(error={"on_error": "continue"})], "upstream": {"by_lua": "f(kong.ctx.shared.callouts)"}},
    {"callouts": [callout(error={"on_error": "continue"})], "upstream": READS_ERROR_OF_A},
    {"callouts": [callout(error={"on_error": "continue"})], "upstream": READS_ALL},
    {"callouts": [callout("a"), callout("b", depends_on=[], **WAITING), callout("c", depends_on=[])]},
    {"callouts": [callout("a", **WAITING)]},
    {"callouts": [callout(cache={"statuses": [200]})], "cache": MEMORY},
    {"callouts": [callout(headers=OF_ITS_OWN)]},
    {"callouts": [callout(error={"on_error": "continue"})], "upstream": GUARDED},
    {"callouts": [], "cache": {"strategy": "redis", "redis": {**THERE, "ssl": True}}},
    {"callouts": [], "cache": {"strategy": "redis", "redis": {"ssl_verify": False}}},
    {"callouts": [callout(error={"when": "$(callouts.a.response.status >= 500)"})], "cache": MEMORY},
    {"callouts": [callout(method="POST", error={"on_error": "retry", "retries": 0})]},
    {"callouts": [callout(by_lua=SETS_KEY, **STATUSES)], "cache": MEMORY},
    {"callouts": [callout()], "upstream": {"headers": {"custom": {"X": "$(tostring(callouts.a.response))"}}}},
    {"callouts": [callout()], "upstream": {"headers": {"custom": {"X": "$(tostring(callouts))"}}}},
    {"callouts": [callout()], "upstream": READS_BODY},
    {"callouts": [callout(response={"by_lua": "local x = 1"})], "upstream": READS_A},
    {"callouts": [callout(error=GO_ON, response=DECODED, cache={"ttl": "$(callouts.a.response.body.x)"})]},
    {"callouts": [callout(error=GO_ON)], "upstream": LOOKS_AT_THE_ERROR},
    {"callouts": [callout(url="http://[::1]/", headers=CLIENTS_OWN)]},
    {"callouts": [callout(url="http://[::1]:8080/", headers=CLIENTS_OWN)]},
    {"callouts": [callout(url="http://localhost/", headers=CLIENTS_OWN)]},
    {"callouts": [callout(url="{vault://env/url}")]},
    {"callouts": [callout(auth={"type": "bearer", "token": "{vault://env/token}"})]},
]  # fmt: skip


@pytest.mark.parametrize("config", FINE)
def test_what_is_fine_is_left_alone(config: dict[str, Any]) -> None:
    """What looks alike and is meant so has no warning."""
    assert codes(config) == []


def test_callouts_without_timeouts_are_one_warning() -> None:
    """All callouts without timeouts are named in one warning, unless a deadline of the configuration bounds them."""
    config: dict[str, Any] = {
        "callouts": [callout("a"), callout("b"), callout("c", http_opts={"timeouts": {"total": 1}})]
    }
    found = [one for one in explained(config)["warnings"] if one["code"] == "no-timeouts"]
    assert [one["message"] for one in found] == ["a service that hangs (a and b) holds each request for up to 55 s"]
    assert explained({**config, "deadline_ms": 900})["warnings"] == []


def test_any_status_is_a_success() -> None:
    """A result that is used whatever its status is an advice; with http_statuses it is not."""
    config = {"callouts": [callout(response=DECODED)], "upstream": READS_A, "deadline_ms": 1000}
    assert [one["code"] for one in explained(config)["warnings"]] == ["any-status"]
    config = {**config, "callouts": [callout(response=DECODED, **STATUSES)]}
    assert explained(config)["warnings"] == []


@pytest.mark.parametrize(
    "part",
    [{"error": {"when": "$(callouts.a.response.status >= 400)"}}, {"response": {**DECODED, "by_lua": "local x = 1"}}],
)
def test_what_looks_at_the_status_is_no_success_of_any(part: dict[str, Any]) -> None:
    """An expression or a script of the callout may look at it."""
    config = {"callouts": [callout(**{"response": DECODED, **part})], "upstream": READS_A, "deadline_ms": 1000}
    assert explained(config)["warnings"] == []


@pytest.mark.parametrize("timeouts", [{}, {"timeouts": {"connect": 500, "write": 0, "read": 0}}])
def test_timeouts_that_are_the_servers_bound_nothing(timeouts: dict[str, Any]) -> None:
    """A timeout of 0 is the server's: a service that hangs holds the request as without it."""
    found = explained({"callouts": [callout(http_opts=timeouts)]})["warnings"]
    assert [one["code"] for one in found] == ["no-timeouts"]
    found = explained({"callouts": [callout(http_opts={"timeouts": {"connect": 0, "write": 0, "read": 500}})]})[
        "warnings"
    ]
    assert "no-timeouts" not in [one["code"] for one in found]


def test_whose_deadline_ends_all() -> None:
    """The deadline of the configuration is told at its own place, the server's at the last callout of the way."""
    long: dict[str, Any] = {"http_opts": {"timeouts": {"total": 40_000}}}
    callouts = [callout("a", **long), callout("b", depends_on=["a"], **long)]
    bounded: dict[str, Any] = {"callouts": callouts}
    (found,) = explained(bounded)["warnings"]
    assert found["path"] == "plugins[1].config.callouts[2].request.http_opts.timeouts"
    assert found["message"].startswith(
        "timeouts and retries of a then b come to 80 s, but the server's --deadline-ms ends all after 55 s: "
    )
    (found,) = explained({**bounded, "deadline_ms": 50_000})["warnings"]
    assert found["path"] == "plugins[1].config.deadline_ms"
    assert "but deadline_ms ends all after 50 s" in found["message"]
    assert explained({"callouts": callouts[:1], "deadline_ms": 40_000})["warnings"] == []


def test_who_waits_for_a_script_anyway_is_not_named() -> None:
    """Who reads its result, and who says what it waits for, is not held up by the script."""
    reads: dict[str, Any] = {"headers": {"custom": {"X": "$(callouts.b.response.headers.x)"}}}
    callouts = [callout("a"), callout("b", **WAITING), callout("c", **reads), callout("d", depends_on=["a"])]
    (found,) = [one for one in explained({"callouts": callouts})["warnings"] if one["code"] == "sequence-by-script"]
    assert found["message"] == "for its script, b is not run side by side with a"


def test_any_status_in_an_answer_without_a_script() -> None:
    """An answer made of a result whatever its status is told too: a 500 with JSON would stand in it."""
    respond = {"body": '{"id": "$(callouts.a.response.body.id)"}'}
    config = {"callouts": [callout(response=DECODED)], "upstream": {"respond": respond}, "deadline_ms": 1000}
    assert [one["code"] for one in explained(config)["warnings"]] == ["any-status"]
    config = {**config, "callouts": [callout(response=DECODED, **STATUSES)]}
    assert explained(config)["warnings"] == []


def test_the_sequence_that_a_script_makes_has_a_way_out() -> None:
    """The advice names who could run side by side, and the depends_on with what the script reads."""
    script = "local x = kong.ctx.shared.callouts.a.response.body"
    config = {"callouts": [callout("a"), callout("b"), callout("c", by_lua=script), callout("d")]}
    (found,) = [one for one in explained(config)["warnings"] if one["code"] == "sequence-by-script"]
    assert found["message"] == "for its script, c is not run side by side with a, b and d"
    assert found["remedy"] == "if the script changes nothing that others need: depends_on: [a]"


EXAMPLES = {
    "aggregation": "no-timeouts",
    "aggregation-respond": "no-timeouts any-status",
    "auth-gate": "",
    "circuit-breaker": "no-timeouts breaker-without-timeouts",
    "conditional-callout": "no-timeouts unescaped-in-url any-status",
    "custom-cache-key": "cache-never-hit no-timeouts, no-timeouts key-by-script",
    "deadline": "fail-open",
    "dynamic-url": "no-timeouts unescaped-in-url any-status, no-timeouts any-status",
    "fan-out": "no-timeouts",
    "form-body": "plain-secret no-timeouts any-status",
    "form-format": "plain-secret no-timeouts any-status",
    "guarded-destination": "no-timeouts",
    "header-echo": "",
    "hedging": "no-timeouts any-status",
    "memory-cache": "no-timeouts",
    "msgpack-guard": "no-timeouts any-status",
    "mutual-tls": "no-timeouts",
    "oauth2-client-credentials": "no-timeouts any-status",
    "orchestration": "no-timeouts any-status",
    "orchestration-respond": "no-timeouts any-status",
    "partial-answer": "no-timeouts any-status",
    "redirect-and-gzip": "no-timeouts any-status",
    "redis-cache": "plain-secret no-timeouts any-status",
    "request-collapsing": "no-timeouts",
    "retries-with-backoff": "no-timeouts",
    "retry": "no-timeouts",
    "stale-if-error": "no-timeouts",
    "target-routing": "no-timeouts unescaped-in-url any-status",
    "token-injection": ", ".join(["no-timeouts any-status"] * 3),
    "xml": "no-timeouts any-status",
}
"""What each example deserves: they show one thing each, and leave timeouts and statuses out."""


@pytest.mark.parametrize("name", sorted(path.parent.name for path in ROOT.glob("examples/*/kong.yml")))
def test_examples_have_what_they_deserve(name: str) -> None:
    """The warnings of every example are known."""
    result = run(ROOT / "examples" / name / "kong.yml", "--output", "json")
    found = orjson.loads(result.output)["configurations"]
    assert ", ".join(" ".join(warning["code"] for warning in one["warnings"]) for one in found) == EXAMPLES[name]
