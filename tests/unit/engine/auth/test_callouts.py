"""Callouts that are sent with a fetched token."""

from __future__ import annotations

import gc
import socket
from typing import Any

import gevent
import pytest
from gevent.event import Event
from gevent.server import StreamServer

from request_callout.config.settings import Settings, TransportSettings
from request_callout.engine import Engine
from tests.unit.engine.auth.token_server import TokenServer, authorized_by, guarded, shown, token
from tests.unit.engine.gevent_callee import (
    PATIENCE_S,
    Callee,
    Clock,
    Reply,
    configured,
    engine_with,
    event,
    seen,
    spawned,
    states,
    until,
)

FAILED = (400, b"service callout error", {"Content-Type": "text/plain; charset=utf-8"})
NO_CACHE: dict[str, Any] = {"cache": {"strategy": "off"}}


def error_of(engine: Engine, tokens: TokenServer | str, callee: Callee, **parts: Any) -> str:
    """What the log record says of a callout that can't get a token; the callee must not be asked."""
    got = event(configured(engine, authorized_by(tokens, callee, **parts), **NO_CACHE))
    assert got.kong.answer == FAILED
    assert (got.context["request"]["error"]["reason"], got.fields["attempts"]) == ("error", 0)
    assert got.context["request"]["error"]["err"] == got.fields["error"]
    assert callee.asked == []
    return str(got.fields["error"])


def test_a_hundred_callouts_one_token(engine: Engine, tokens: TokenServer, callee: Callee) -> None:
    """However many callouts start at once, the token is asked for once, and all are sent with it."""
    tokens.gate.clear()
    greenlets = spawned(configured(engine, authorized_by(tokens, callee), **NO_CACHE), 100)
    tokens.until_asked(1)
    tokens.gate.set()
    assert [one.body for one in seen(greenlets)] != []
    assert shown(callee) == ["Bearer t1"] * 100
    assert len(tokens.asked) == 1
    assert tokens.forms == [{"grant_type": "client_credentials"}]


def test_instances_with_equal_settings_share_a_token(engine: Engine, tokens: TokenServer, callee: Callee) -> None:
    """Another plugin, another callout or a configuration made anew does not ask for another one."""
    one = authorized_by(tokens, callee)
    both = [one, {**authorized_by(tokens, callee, method="POST"), "name": "b"}]
    for plugin_id in ("p", "q"):
        event(configured(engine, *both, plugin_id=plugin_id, **NO_CACHE))
    event(configured(engine, authorized_by(tokens, callee, auth={"client_id": "other"}), **NO_CACHE))
    assert shown(callee) == ["Bearer t1"] * 4 + ["Bearer t2"]


def test_a_token_is_fetched_anew_when_it_expires(
    timed: Engine, clock: Clock, tokens: TokenServer, callee: Callee
) -> None:
    """Within its time less the leeway one token serves all, then another one does."""
    instance = configured(timed, authorized_by(tokens, callee), **NO_CACHE)
    for seconds in (0, 3500, 100, 3000):
        clock.now += seconds
        event(instance)
    assert shown(callee) == ["Bearer t1", "Bearer t1", "Bearer t2", "Bearer t2"]


def test_a_hit_needs_no_token(timed: Engine, clock: Clock, tokens: TokenServer, callee: Callee) -> None:
    """The key does not depend on the token: what was fetched with one is found after it has expired."""
    instance = configured(timed, authorized_by(tokens, callee), cache={"strategy": "memory", "cache_ttl": 9999})
    assert states(instance, 2) == ["miss", "hit"]
    clock.now += 4000
    assert states(instance, 1) == ["hit"]
    assert len(tokens.asked) == 1


@pytest.mark.parametrize(
    "auth", [{"client_id": "other"}, {"scopes": ["a"]}, {"audience": "a"}, {"extra_parameters": {"a": "b"}}]
)
def test_another_client_has_entries_of_its_own(
    engine: Engine, tokens: TokenServer, callee: Callee, auth: dict[str, Any]
) -> None:
    """Who the callout is sent as is part of the key; the secret is not."""
    event(configured(engine, authorized_by(tokens, callee)))
    assert event(configured(engine, authorized_by(tokens, callee, auth=auth))).state == "miss"
    assert event(configured(engine, authorized_by(tokens, callee, auth={"client_secret": "new"}))).state == "hit"


def test_a_refused_token_is_renewed_once(engine: Engine, tokens: TokenServer, callee: Callee) -> None:
    """After a 401 the callout is sent once more with a new token; no retry of the policy is used up."""
    guarded(callee, {"t2"})
    got = event(configured(engine, authorized_by(tokens, callee), **NO_CACHE))
    assert (got.kong.answer, got.body, got.fields["attempts"]) == (None, {"n": 2}, 2)
    assert got.context["request"]["n_retries"] == 0
    assert shown(callee) == ["Bearer t1", "Bearer t2"]


def test_a_body_is_sent_again_with_the_new_token(engine: Engine, tokens: TokenServer, callee: Callee) -> None:
    """Also a POST: the callee has said that it did nothing."""
    guarded(callee, {"t2"})
    request = {"method": "POST", "body": {"custom": {"a": "b"}}}
    event(configured(engine, authorized_by(tokens, callee, **request), **NO_CACHE))
    assert [(one["REQUEST_METHOD"], one["CONTENT_LENGTH"]) for one in callee.asked] == [("POST", "9")] * 2


@pytest.mark.parametrize("error", [{}, {"http_statuses": [401]}, {"http_statuses": [401], "retries": 0}])
def test_a_second_401_is_the_answer(
    timed: Engine, clock: Clock, tokens: TokenServer, callee: Callee, error: dict[str, Any]
) -> None:
    """When the new token is refused too, that is what the callee says; for a while no further one is tried."""
    guarded(callee, set())
    error = {"on_error": "fail", **error}
    instance = configured(timed, authorized_by(tokens, callee, error=error), **NO_CACHE)
    got = event(instance)
    assert (got.fields["status"], got.fields["attempts"]) == (401, 2)
    assert got.kong.answer == (FAILED if "http_statuses" in error else None)
    assert shown(callee) == ["Bearer t1", "Bearer t2"]
    assert event(instance).fields["attempts"] == 1
    assert len(tokens.asked) == 2
    clock.now += 11
    guarded(callee, {"t3"})
    assert event(instance).fields["status"] == 200
    assert shown(callee)[2:] == ["Bearer t2", "Bearer t2", "Bearer t3"]


def test_who_was_sent_with_an_older_token_gets_the_newer_one(
    engine: Engine, tokens: TokenServer, callee: Callee
) -> None:
    """A 401 for a token that has been replaced meanwhile is always answered with the new one, and fetches none."""
    go_on = Event()

    def reply(number: int) -> Reply:
        if number == 1:
            go_on.wait(PATIENCE_S)
        return Reply({"n": number}, 401 if number <= 3 else 200)

    callee.reply = reply
    instance = configured(engine, authorized_by(tokens, callee), **NO_CACHE)
    late = spawned(instance)
    callee.until_asked(1)
    assert event(instance).fields["status"] == 401
    go_on.set()
    assert seen(late)[0].fields["status"] == 200
    assert shown(callee) == ["Bearer t1", "Bearer t1", "Bearer t2", "Bearer t2"]
    assert len(tokens.asked) == 2


def test_a_server_that_gives_the_same_token_again(engine: Engine, tokens: TokenServer, callee: Callee) -> None:
    """When the new token is the refused one, the callee is not asked again with it."""
    tokens.reply = lambda _: token(1)
    guarded(callee, set())
    got = event(configured(engine, authorized_by(tokens, callee), **NO_CACHE))
    assert (got.fields["status"], got.fields["attempts"], len(tokens.asked)) == (401, 1, 2)


def test_many_refused_at_once_share_one_new_token(engine: Engine, tokens: TokenServer, callee: Callee) -> None:
    """When a token is revoked, one renewal serves all callouts that were sent with it."""
    guarded(callee, {"t1", "t2"})
    instance = configured(engine, authorized_by(tokens, callee), **NO_CACHE)
    event(instance)
    guarded(callee, {"t2"})
    got = seen(spawned(instance, 20))
    assert [one.fields["status"] for one in got] == [200] * 20
    assert len(tokens.asked) == 2


def test_a_renewal_that_fails_keeps_what_the_callee_said(engine: Engine, tokens: TokenServer, callee: Callee) -> None:
    """Without a new token the callout fails, and the context has the 401 that led there."""
    tokens.reply = lambda number: token(1) if number == 1 else Reply({"error": "invalid_client"}, 401)
    guarded(callee, set())
    got = event(configured(engine, authorized_by(tokens, callee, error={"on_error": "continue"}), **NO_CACHE))
    assert got.kong.answer is None
    assert got.context["request"]["error"] == {
        "reason": "error",
        "err": f"no token from {tokens.url}: status 401, invalid_client",
        "http_code": 401,
    }
    assert (got.context["response"]["status"], got.body) == (401, {"error": "no"})


def test_another_status_is_no_reason_to_renew(engine: Engine, tokens: TokenServer, callee: Callee) -> None:
    """403 says that the token is good but not enough (RFC 6750, section 3.1)."""
    callee.reply = lambda _: Reply({}, 403)
    got = event(configured(engine, authorized_by(tokens, callee, error={"http_statuses": [403]}), **NO_CACHE))
    assert (got.fields["attempts"], len(tokens.asked)) == (1, 1)


ANSWERS: dict[str, tuple[Reply, str]] = {
    "HTML": (Reply(b"<html>Sign in</html>", headers={"Content-Type": "text/html"}), "the answer is no JSON object"),
    "error code": (Reply({"error": "invalid_scope", "error_description": "s3cr3t"}, 400), "status 400, invalid_scope"),
    "redirect": (Reply(b"", 307, {"Location": "http://127.0.0.1:1/"}), "redirects are not followed"),
    "huge": (Reply({"access_token": "t" * 70_000, "token_type": "bearer"}), "over 65536 bytes"),
    "server error": (Reply(b"s3cr3t", 500), "status 500"),
}


@pytest.mark.parametrize(("reply", "message"), ANSWERS.values(), ids=ANSWERS.keys())
def test_a_token_server_without_a_token_fails_the_callout(
    engine: Engine, tokens: TokenServer, callee: Callee, reply: Reply, message: str
) -> None:
    """Whatever it answers, the callout is an error under its policy, with a short text and nothing of the answer."""
    tokens.reply = lambda _: reply
    error = error_of(engine, tokens, callee)
    assert error.startswith("no token from http://127.0.0.1:")
    assert message in error
    assert "s3cr3t" not in error
    assert len(tokens.asked) == 1


def test_a_token_server_that_is_down(engine: Engine, callee: Callee) -> None:
    """Who can't be reached is named once, without the query of the URL."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
    error = error_of(engine, f"http://127.0.0.1:{port}/token?key=s3cr3t", callee)
    assert error.startswith(f"no token from http://127.0.0.1:{port}/token: connection refused")
    assert "s3cr3t" not in error
    assert error.count("/token") == 1


def test_a_token_server_that_speaks_no_http(engine: Engine, callee: Callee) -> None:
    """Bytes that are no HTTP are an error."""
    server = StreamServer(("127.0.0.1", 0), lambda peer, _: peer.sendall(b"\x00\x01garbage\r\n\r\n"))
    server.start()
    try:
        assert "broken response" in error_of(engine, f"http://127.0.0.1:{server.server_port}/", callee)
    finally:
        server.stop()


def test_a_slow_token_server_is_waited_for_as_long_as_the_timeouts_say(
    engine: Engine, tokens: TokenServer, callee: Callee
) -> None:
    """The times of http_opts hold for the token too."""
    tokens.gate.clear()
    timeouts = {"connect": 1000, "write": 1000, "read": 50}
    error = error_of(engine, tokens, callee, http_opts={"timeouts": timeouts})
    assert error == f"no token from {tokens.url}: read timed out after 50 ms"


def test_a_callout_waits_for_a_token_within_its_own_deadline(tokens: TokenServer, callee: Callee) -> None:
    """When the time for the request's callouts is over, so is the waiting."""
    tokens.gate.clear()
    engine = engine_with(deadline_ms=100)
    try:
        assert error_of(engine, tokens, callee).startswith("no token from ")
    finally:
        engine.close()


def test_a_total_of_the_timeouts_bounds_the_waiting(engine: Engine, tokens: TokenServer, callee: Callee) -> None:
    """timeouts.total counts the time for the token, too."""
    tokens.gate.clear()
    assert error_of(engine, tokens, callee, http_opts={"timeouts": {"total": 100}})


@pytest.mark.parametrize(("policy", "answer"), [({"on_error": "continue"}, None), ({"error_response_code": 503}, 503)])
def test_the_policy_of_the_callout_holds(
    engine: Engine, tokens: TokenServer, callee: Callee, policy: dict[str, Any], answer: int | None
) -> None:
    """A token that can't be had is an error like any other."""
    tokens.reply = lambda _: Reply(b"", 500)
    got = event(configured(engine, authorized_by(tokens, callee, error=policy), **NO_CACHE))
    assert (got.kong.answer and got.kong.answer[0]) == answer
    assert got.context["request"]["error"]["err"] == f"no token from {tokens.url}: status 500"


def test_a_retry_may_bring_a_token(engine: Engine, tokens: TokenServer, callee: Callee) -> None:
    """Retries with a pause outlast a moment without tokens."""
    tokens.reply = lambda number: token(number) if number > 1 else Reply(b"", 500)
    backoff = {"initial_ms": 200, "max_ms": 200, "factor": 1}
    error = {"on_error": "retry", "retries": 10, "backoff": backoff}
    got = event(configured(engine, authorized_by(tokens, callee, error=error), **NO_CACHE))
    assert (got.kong.answer, got.fields["attempts"]) == (None, 1)
    assert got.context["request"]["retries"][0]["err"] == f"no token from {tokens.url}: status 500"
    assert shown(callee) == ["Bearer t2"]


def test_a_dead_token_server_is_not_stormed(timed: Engine, clock: Clock, tokens: TokenServer, callee: Callee) -> None:
    """All who waited are told, and those who come in the moment after it: one request was made."""
    tokens.reply = lambda _: Reply(b"", 500)
    tokens.gate.clear()
    instance = configured(timed, authorized_by(tokens, callee, error={"retries": 2}), **NO_CACHE)
    greenlets = spawned(instance, 50)
    tokens.until_asked(1)
    tokens.gate.set()
    assert [one.kong.answer for one in [*seen(greenlets), event(instance)]] == [FAILED] * 51
    assert len(tokens.asked) == 1
    clock.now += 1
    tokens.reply = token
    assert event(instance).kong.answer is None


def test_the_first_may_be_killed(engine: Engine, tokens: TokenServer, callee: Callee) -> None:
    """A request that ends while its token is fetched leaves the token to those that wait."""
    tokens.gate.clear()
    first, *others = spawned(configured(engine, authorized_by(tokens, callee), **NO_CACHE), 5)
    tokens.until_asked(1)
    first.kill()
    tokens.gate.set()
    assert [one.kong.answer for one in seen(others)] == [None] * 4
    assert len(tokens.asked) == 1


def test_an_engine_that_closes_ends_the_fetch(tokens: TokenServer, callee: Callee) -> None:
    """No greenlet is left when the process ends its work."""
    engine = engine_with()
    tokens.gate.clear()
    (waits,) = spawned(configured(engine, authorized_by(tokens, callee), **NO_CACHE))
    tokens.until_asked(1)
    engine.close()
    assert "the fetch was ended" in seen([waits])[0].fields["error"]


def test_a_stale_response_is_refreshed_with_a_token(
    timed: Engine, clock: Clock, tokens: TokenServer, callee: Callee
) -> None:
    """A refresh in the background is authorized as the request before it was."""
    config = authorized_by(tokens, callee, cache={"stale_while_revalidate": 10_000})
    instance = configured(timed, config, cache={"strategy": "memory", "cache_ttl": 100})
    assert states(instance, 1) == ["miss"]
    clock.now += 5000
    assert states(instance, 1) == ["stale"]
    callee.until_asked(2)
    until(lambda: event(instance).state == "hit")
    assert shown(callee) == ["Bearer t1", "Bearer t2"]


def test_a_hedged_callout_needs_one_token(engine: Engine, tokens: TokenServer, callee: Callee) -> None:
    """Both attempts are sent with it."""
    callee.gate.clear()
    greenlets = spawned(configured(engine, authorized_by(tokens, callee, hedge_after_ms=1), **NO_CACHE))
    callee.until_asked(2)
    callee.gate.set()
    seen(greenlets)
    assert shown(callee) == ["Bearer t1"] * 2
    assert len(tokens.asked) == 1


def test_token_errors_do_not_open_the_callees_circuit(engine: Engine, tokens: TokenServer, callee: Callee) -> None:
    """The circuit breaker counts what the callee does, and the token server is another one."""
    tokens.reply = lambda _: Reply(b"", 500)
    config = authorized_by(tokens, callee, circuit_breaker={"failures": 1})
    errors = [event(configured(engine, config, **NO_CACHE)).context["request"]["error"]["reason"] for _ in range(3)]
    assert errors == ["error"] * 3


@pytest.mark.parametrize("settings", [Settings(transport=TransportSettings(allow_hosts=("callee.test",))), None])
def test_destination_rules_hold_for_the_token_url(
    tokens: TokenServer, callee: Callee, settings: Settings | None
) -> None:
    """A token server that the rules of the callout or of the server do not allow is not asked."""
    engine = Engine(settings or Settings())
    destination = {} if settings else {"destination": {"allow_hosts": ["callee.test"]}}
    try:
        error_of(engine, tokens, callee, **destination)
    finally:
        engine.close()
    assert tokens.asked == []


def test_a_scripts_own_header_needs_no_token(engine: Engine, tokens: TokenServer, callee: Callee) -> None:
    """What request.by_lua sets is sent, no token is fetched, and a 401 is the answer."""
    script = "kong.ctx.shared.callouts.a.request.params.headers.AUTHORIZATION = 'Own x'"
    guarded(callee, set())
    got = event(configured(engine, authorized_by(tokens, callee, by_lua=script), **NO_CACHE))
    assert (shown(callee), got.fields["status"]) == (["Own x"], 401)
    assert tokens.asked == []


@pytest.mark.parametrize("place", ["header", "body"])
def test_special_characters_reach_the_token_server(
    engine: Engine, tokens: TokenServer, callee: Callee, place: str
) -> None:
    """An id with a colon and a secret with an ampersand come over in either place."""
    auth = {"client_id": "a:b@c", "client_secret": "p&=+ %ü$", "credentials_in": place}
    event(configured(engine, authorized_by(tokens, callee, auth=auth), **NO_CACHE))
    assert shown(callee) == ["Bearer t1"]
    in_body = {"client_id": "a:b@c", "client_secret": "p&=+ %ü$"} if place == "body" else {}
    assert tokens.forms == [{"grant_type": "client_credentials", **in_body}]
    assert ("HTTP_AUTHORIZATION" in tokens.asked[0]) is (place == "header")


def test_many_events_leave_nothing(engine: Engine, tokens: TokenServer, callee: Callee) -> None:
    """Requests that are ended at any moment leave no greenlet that waits, and the next one works."""
    instance = configured(engine, authorized_by(tokens, callee), **NO_CACHE)
    tokens.reply = lambda number: token(number, expires_in=0)
    for switches in range(12):
        one = gevent.spawn(event, instance)
        for _ in range(switches):
            gevent.sleep(0)
        one.kill()
    assert event(instance).kong.answer is None
    until(lambda: not any(isinstance(one, gevent.Greenlet) and _fetches(one) for one in gc.get_objects()))


def _fetches(greenlet: gevent.Greenlet[..., Any]) -> bool:
    """Whether this is a fetch of a token that has not ended."""
    return "TokenSource" in repr(greenlet) and not greenlet.ready()
