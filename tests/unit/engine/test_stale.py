"""Responses that are used when their time is over: while they are fetched anew, and when that fails."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from request_callout.config.settings import Settings
from request_callout.engine import Engine, Instance, refresh
from request_callout.lua import Host, LuaContext
from request_callout.lua.state import State
from tests.unit.engine.gevent_callee import (
    Callee,
    Clock,
    Reply,
    callout,
    configured,
    event,
    seen,
    spawned,
    until,
)

REVALIDATE = {"ttl": "10", "stale_while_revalidate": 20}
IF_ERROR = {"ttl": "10", "stale_if_error": 20}


@pytest.fixture
def callee() -> Iterator[Callee]:
    callee = Callee()
    yield callee
    callee.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def engine(clock: Clock) -> Iterator[Engine]:
    engine = Engine(Settings(deadline_ms=5_000), clock)
    yield engine
    assert len(engine.flights) == 0
    engine.close()


def refreshed(engine: Engine) -> None:
    """Wait until nothing runs in the background."""
    until(lambda: not len(engine.background))


def filled(engine: Engine, config: dict[str, Any], **parts: Any) -> Instance:
    """An instance whose callout's response has just been stored."""
    instance = configured(engine, config, **parts)
    assert event(instance).state == "miss"
    return instance


def test_a_stale_response_is_used_while_it_is_fetched_anew(engine: Engine, callee: Callee, clock: Clock) -> None:
    """The stale response is the answer at once; what the background fetched is that of the next request."""
    instance = filled(engine, callout(callee, cache=REVALIDATE))
    clock.now += 10
    callee.gate.clear()
    stale = event(instance)
    assert (stale.state, stale.body, stale.context["caching"]["status"]) == ("stale", {"n": 1}, "stale")
    callee.gate.set()
    refreshed(engine)
    assert [(one.state, one.body["n"]) for one in (event(instance), event(instance))] == [("hit", 2)] * 2
    assert len(callee.asked) == 2


def test_it_is_fetched_once_for_all(engine: Engine, callee: Callee, clock: Clock) -> None:
    """However many requests find it stale, one refresh runs for it."""
    instance = filled(engine, callout(callee, cache=REVALIDATE))
    clock.now += 10
    callee.gate.clear()
    assert [event(instance).state for _ in range(20)] == ["stale"] * 20
    callee.until_asked(2)
    assert [event(instance).state for _ in range(20)] == ["stale"] * 20
    callee.gate.set()
    refreshed(engine)
    assert len(callee.asked) == 2


def test_after_the_stale_time_it_is_a_miss(engine: Engine, callee: Callee, clock: Clock) -> None:
    """When the stale time is over too, a request waits for a new response."""
    instance = filled(engine, callout(callee, cache=REVALIDATE))
    clock.now += 30
    got = event(instance)
    assert (got.state, got.body) == ("miss", {"n": 2})


def test_a_refresh_that_fails_leaves_the_stale_response(
    engine: Engine, callee: Callee, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """A failed refresh is one line in the log, and the response is used on while its stale time lasts."""
    negative = {**REVALIDATE, "negative_ttl": 60}
    instance = filled(engine, callout(callee, cache=negative, error={"http_statuses": [500]}))
    callee.reply = lambda number: Reply({"n": number}, 500 if number < 4 else 200)
    clock.now += 10
    caplog.set_level(logging.WARNING)
    for _ in range(3):
        got = event(instance)
        assert (got.state, got.body) == ("stale", {"n": 1})
        refreshed(engine)
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 1
    assert "callout a" in lines[0]
    assert "status 500" in lines[0]
    assert event(instance).body == {"n": 4}


def test_a_miss_waits_for_a_refresh(engine: Engine, callee: Callee, clock: Clock) -> None:
    """A request that can't use the stale response any more takes that of the refresh in flight."""
    instance = filled(engine, callout(callee, cache=REVALIDATE))
    clock.now += 29
    callee.gate.clear()
    event(instance)
    callee.until_asked(2)
    clock.now += 1
    greenlets = spawned(instance)
    callee.gate.set()
    assert [(one.state, one.body) for one in seen(greenlets)] == [("coalesced", {"n": 2})]
    refreshed(engine)


def test_a_refresh_retries_by_the_policy(engine: Engine, callee: Callee, clock: Clock) -> None:
    """The policy's retries are made for a refresh as well."""
    policy = {"http_statuses": [500], "on_error": "retry", "retries": 2}
    instance = filled(engine, callout(callee, cache=REVALIDATE, error=policy))
    callee.reply = lambda number: Reply({"n": number}, 500 if number < 4 else 200)
    clock.now += 10
    event(instance)
    refreshed(engine)
    got = event(instance)
    assert (got.state, got.body) == ("hit", {"n": 4})


def test_a_refresh_is_stored_as_the_response_script_says(engine: Engine, callee: Callee, clock: Clock) -> None:
    """response.by_lua decides about a refreshed response too: here for how long it is kept."""
    script = """
        local a = kong.ctx.shared.callouts.a
        a.caching.cache_ttl = a.response.body.ttl
    """
    callee.reply = lambda number: Reply({"n": number, "ttl": 10 * number})
    config = callout(callee, cache={"stale_while_revalidate": 5}, response={"by_lua": script})
    instance = filled(engine, config)
    clock.now += 10
    assert event(instance).state == "stale"
    refreshed(engine)
    clock.now += 19
    assert event(instance).state == "hit"
    clock.now += 1
    assert event(instance).state == "stale"
    refreshed(engine)


def test_a_refresh_whose_script_needs_kong_fails(
    engine: Engine, callee: Callee, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """The client's request is gone when a refresh comes back: a script that asks for it ends the refresh."""
    script = "local method = kong.request.get_method()"
    instance = configured(engine, callout(callee, cache=REVALIDATE, response={"by_lua": script}))
    event(instance, kong__request__get_method="GET")
    clock.now += 10
    assert event(instance, kong__request__get_method="GET").state == "stale"
    refreshed(engine)
    assert "needs Kong" in caplog.text
    assert event(instance, kong__request__get_method="GET").body == {"n": 1}
    refreshed(engine)


def test_a_refresh_sends_what_the_request_did(engine: Engine, callee: Callee, clock: Clock) -> None:
    """The refresh is the request as it was built for the client that found the response stale, with its key."""
    headers = {"custom": {"X-Who": "$(headers.who)"}}
    config = callout(callee, cache={**REVALIDATE, "ttl": "$(headers.ttl)"}, headers=headers)
    instance = configured(engine, config)
    client = {"kong__request__get_headers": {"who": "ann", "ttl": "10"}}
    event(instance, **client)
    clock.now += 10
    event(instance, **client)
    refreshed(engine)
    assert [environ["HTTP_X_WHO"] for environ in callee.asked] == ["ann", "ann"]
    assert event(instance, **client).state == "hit"


def test_refreshes_are_limited_and_end_with_the_engine(
    callee: Callee, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process runs a limited number of refreshes, and closing the engine ends them."""
    monkeypatch.setattr(refresh, "MOST_AT_ONCE", 5)
    engine = Engine(Settings(deadline_ms=5_000), clock)
    config = callout(callee, cache=REVALIDATE, headers={"custom": {"X-N": "$(headers.n)"}})
    instance = configured(engine, config)
    clients = [{"kong__request__get_headers": {"n": str(number)}} for number in range(10)]
    for client in clients:
        event(instance, **client)
    clock.now += 10
    callee.gate.clear()
    assert [event(instance, **client).state for client in clients] == ["stale"] * len(clients)
    assert len(engine.background) == 5
    callee.until_asked(15)
    engine.close()
    assert len(engine.background) == len(engine.flights) == 0


@pytest.mark.parametrize("on_error", ["fail", "retry", "continue"])
def test_a_stale_response_is_used_instead_of_an_error(
    engine: Engine, callee: Callee, clock: Clock, on_error: str
) -> None:
    """If the callout fails, the stale response is the answer under every policy, as if it had not failed."""
    policy = {"http_statuses": [500], "on_error": on_error, "retries": 1}
    instance = filled(engine, callout(callee, cache=IF_ERROR, error=policy))
    callee.reply = lambda number: Reply({"n": number}, 500)
    clock.now += 29
    got = event(instance)
    assert got.kong.answer is None
    assert (got.state, got.body) == ("stale", {"n": 1})
    assert "error" not in got.context["request"]
    assert got.fields["attempts"] == (2 if on_error == "retry" else 1)


def test_a_callee_that_is_gone_is_an_error(engine: Engine, callee: Callee, clock: Clock) -> None:
    """No response at all is an error as well."""
    instance = filled(engine, callout(callee, cache=IF_ERROR))
    callee.close()
    engine.transport.close()  # and with it the connection that the callee would still serve
    clock.now += 10
    assert event(instance).state == "stale"


def test_a_new_response_is_preferred(engine: Engine, callee: Callee, clock: Clock) -> None:
    """With stale_if_error alone the callee is asked first, and what it answers is used and kept."""
    instance = filled(engine, callout(callee, cache=IF_ERROR))
    clock.now += 10
    assert [(one.state, one.body["n"]) for one in (event(instance), event(instance))] == [("miss", 2), ("hit", 2)]


def test_after_the_time_for_errors_the_error_counts(engine: Engine, callee: Callee, clock: Clock) -> None:
    """When that time is over too, the callout fails."""
    instance = filled(engine, callout(callee, cache=IF_ERROR, error={"http_statuses": [500]}))
    callee.reply = lambda number: Reply({"n": number}, 500)
    clock.now += 30
    got = event(instance)
    assert got.kong.answer is not None
    assert got.kong.answer[0] == 400


def test_all_that_wait_for_a_failing_callout_use_the_stale_response(
    engine: Engine, callee: Callee, clock: Clock
) -> None:
    """The error of the one that fetched is that of those that wait: each of them has the stale response."""
    instance = filled(engine, callout(callee, cache=IF_ERROR, error={"http_statuses": [500]}))
    callee.reply = lambda number: Reply({"n": number}, 500)
    callee.gate.clear()
    clock.now += 10
    greenlets = spawned(instance, 3)
    callee.until_asked(2)
    callee.gate.set()
    assert [(one.state, one.body["n"]) for one in seen(greenlets)] == [("stale", 1)] * 3
    assert len(callee.asked) == 2


@pytest.mark.parametrize("directive", ["must-revalidate", "proxy-revalidate", "s-maxage=10"])
def test_a_response_may_forbid_its_stale_use(engine: Engine, callee: Callee, clock: Clock, directive: str) -> None:
    """With respect_cache_control, some directives forbid to use it stale (RFC 9111 section 4.2.4)."""
    callee.reply = lambda number: Reply({"n": number}, headers={"Cache-Control": f"max-age=10, {directive}"})
    cache = {"stale_while_revalidate": 20, "stale_if_error": 20, "respect_cache_control": True}
    instance = filled(engine, callout(callee, cache=cache))
    clock.now += 10
    assert event(instance).state == "miss"


def test_the_present_configuration_says_for_how_long(engine: Engine, callee: Callee, clock: Clock) -> None:
    """A configuration with a shorter stale time does not use what one with a longer time has left."""
    filled(engine, callout(callee, cache={"ttl": "10", "stale_if_error": 60}))
    callee.reply = lambda number: Reply({"n": number}, 500)
    clock.now += 20
    policy = {"http_statuses": [500]}
    changed = configured(engine, callout(callee, cache={"ttl": "10", "stale_if_error": 5}, error=policy))
    assert event(changed).kong.answer is not None


def test_a_negative_answer_is_never_used_stale(engine: Engine, callee: Callee, clock: Clock) -> None:
    """What is kept as an answer of status 400 or more has its own time and no more."""
    callee.reply = lambda number: Reply({"n": number}, 404)
    filled(engine, callout(callee, cache=REVALIDATE))
    clock.now += 10
    changed = configured(engine, callout(callee, cache={**REVALIDATE, "negative_ttl": 5}))
    assert event(changed).state == "miss"


def test_a_refresh_knows_what_the_request_knew(engine: Engine, callee: Callee, clock: Clock) -> None:
    """An expression that is evaluated for a refresh finds the callouts that were done before this one."""
    earlier = {**callout(callee, cache={"bypass": True}), "name": "b"}
    config = callout(callee, cache={**REVALIDATE, "ttl": "$(callouts.b.response.status / 20)"})
    instance = configured(engine, earlier, config)
    event(instance)
    clock.now += 10
    assert event(instance).state == "stale"
    refreshed(engine)
    assert event(instance).state == "hit"


def test_a_refresh_gives_its_lua_context_back(
    engine: Engine, callee: Callee, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a refresh's script had in Lua is gone when it is done."""
    opened, closed = [], []
    make = engine.lua.context

    def context(host: Host) -> LuaContext:
        made = make(host)
        opened.append(made.number)
        return made

    close = State.close

    def note(state: State, number: int) -> None:
        closed.append(number)
        close(state, number)

    monkeypatch.setattr(engine.lua, "context", context)
    monkeypatch.setattr(State, "close", note)
    script = "kong.ctx.shared.x = 1"
    instance = filled(engine, callout(callee, cache=REVALIDATE, response={"by_lua": script}))
    clock.now += 10
    event(instance)
    refreshed(engine)
    assert len(opened) == 3
    assert sorted(closed) == sorted(opened)
