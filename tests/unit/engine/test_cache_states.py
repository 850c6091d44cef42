"""What scripts, other plugins and the log see of the cache, and what the key is made of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from request_callout.config.settings import Settings
from request_callout.engine import Engine
from tests.unit.engine.gevent_callee import Callee, Clock, Seen, callout, configured, event, seen, spawned, states


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
    engine.close()


READS = "kong.ctx.shared.seen = kong.ctx.shared.callouts.a.caching.status"
ASSIGNS = "local c = kong.ctx.shared.callouts.a.caching c.mine = 'x'"
SHOWS = {"headers": {"custom": {"X-Seen": "$(shared.seen)", "X-Status": "$(callouts.a.caching.status)"}}}


def shown(one: Seen) -> list[str]:
    [(headers,)] = one.kong.written("kong.service.request.set_headers")
    return [headers["X-Seen"], headers["X-Status"]]


@pytest.mark.parametrize("request_script", [None, ASSIGNS, "local x = 1"])
def test_scripts_see_what_the_cache_did(
    engine: Engine, callee: Callee, clock: Clock, request_script: str | None
) -> None:
    """response.by_lua and all that comes after it find one of five words in caching.status, whoever made the table."""
    config = callout(
        callee,
        cache={"ttl": "10", "stale_while_revalidate": 10},
        response={"by_lua": READS},
        **({"by_lua": request_script} if request_script else {}),
    )
    instance = configured(engine, config, upstream=SHOWS)
    callee.gate.clear()
    greenlets = spawned(instance, 2)
    callee.gate.set()
    got = [*seen(greenlets), event(instance)]
    clock.now += 10
    got.append(event(instance))
    words = ["miss", "coalesced", "hit", "stale"]
    assert [shown(one) for one in got] == [[word, word] for word in words]
    assert [one.context["caching"]["status"] for one in got] == words
    assert [one.state for one in got] == words
    if request_script == ASSIGNS:
        assert [one.context["caching"]["mine"] for one in got] == ["x"] * 4


@pytest.mark.parametrize("script", [None, "kong.ctx.shared.callouts.a.caching.bypass = true"])
def test_a_bypass_is_seen(engine: Engine, callee: Callee, script: str | None) -> None:
    """A configured bypass and one by a script are the fifth word."""
    parts: dict[str, Any] = {"cache": {"bypass": True}} if script is None else {"by_lua": script}
    instance = configured(engine, callout(callee, response={"by_lua": READS}, **parts), upstream=SHOWS)
    got = event(instance)
    assert shown(got) == ["bypass"] * 2
    assert got.state == got.context["caching"]["status"] == "bypass"


def test_without_a_cache_there_is_no_status(engine: Engine, callee: Callee) -> None:
    """With the strategy off there is nothing to tell."""
    got = event(configured(engine, callout(callee), cache={"strategy": "off"}))
    assert got.state is None
    assert "status" not in got.context["caching"]


def test_a_failed_callout_has_a_status(engine: Engine, callee: Callee) -> None:
    """What the cache did is in the context of a failed callout too."""
    callee.close()
    got = event(configured(engine, callout(callee, by_lua=ASSIGNS)))
    assert got.context["caching"]["status"] == "miss"


def test_the_script_of_one_request_does_not_change_the_next(engine: Engine, callee: Callee) -> None:
    """The tables that requests share stay as they were configured."""
    script = """
        local c = kong.ctx.shared.callouts.a.caching
        kong.ctx.shared.seen = tostring(c.left)
        c.left = true
        c.status = "mine"
    """
    instance = configured(engine, callout(callee, response={"by_lua": script}), upstream=SHOWS)
    assert [shown(event(instance)) for _ in range(3)] == [["nil", "mine"]] * 3
    assert states(instance, 1) == ["hit"]


def test_vary_on(engine: Engine, callee: Callee) -> None:
    """Values of vary_on are part of the key, in their order; what they read is known and read with all else."""
    cache = {"vary_on": ["$(headers.accept_language)", "$(query_params.tenant or 'none')"]}
    instance = configured(engine, callout(callee, cache=cache))
    requests = [("de", ""), ("de", ""), ("fr", ""), ("de", "tenant=1"), ("none", "tenant=de"), ("de", "tenant=1")]
    got = [
        event(
            instance,
            kong__request__get_headers={"accept-language": language},
            kong__request__get_raw_query=raw_query,
        )
        for language, raw_query in requests
    ]
    assert [one.state for one in got] == ["miss", "hit", "miss", "miss", "miss", "hit"]
    assert [one.kong.exchanges for one in got] == [1] * 6


def test_vary_on_waits_for_the_callout_it_names(engine: Engine, callee: Callee) -> None:
    """A callout whose response is part of another one's key comes before it."""
    first = {**callout(callee, cache={"bypass": True}), "name": "b"}
    second = callout(callee, cache={"vary_on": ["$(callouts.b.response.body.n)"]})
    instance = configured(engine, first, second)
    assert states(instance, 2) == ["miss", "miss"]


def test_a_script_has_the_last_word_on_the_key(engine: Engine, callee: Callee) -> None:
    """A cache_key of a script's own stands as it is, without vary_on."""
    config = callout(
        callee,
        cache={"vary_on": ["$(headers.x)"]},
        by_lua="kong.ctx.shared.callouts.a.caching.cache_key = 'k'",
    )
    instance = configured(engine, config)
    got = [event(instance, kong__request__get_headers={"x": value}).state for value in ("1", "2")]
    assert got == ["miss", "hit"]


def test_vary_on_that_fails_is_no_failed_request(
    engine: Engine, callee: Callee, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the key can't be made there is no caching, one line in the log, and the request goes on."""
    instance = configured(engine, callout(callee, cache={"vary_on": ["$(headers.x.y.z)"]}))
    got = [event(instance), event(instance)]
    assert [(one.state, one.kong.answer) for one in got] == [("bypass", None)] * 2
    assert len([record for record in caplog.records if "vary_on[1]" in record.getMessage()]) == 1
