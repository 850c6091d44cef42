"""Equal misses at the same time: one callout for all of them, in one process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from gevent.event import Event

from request_callout.engine import Engine
from tests.unit.engine.gevent_callee import Callee, Reply, callout, configured, engine_with, event, seen, spawned, until


@pytest.fixture
def callee() -> Iterator[Callee]:
    callee = Callee()
    callee.gate.clear()
    yield callee
    callee.close()


@pytest.fixture(autouse=True)
def nothing_left(engine: Engine) -> Iterator[None]:
    """Whatever became of the requests, no flight stays open."""
    yield
    assert len(engine.flights) == 0


def test_a_thousand_equal_misses_make_one_callout(engine: Engine, callee: Callee) -> None:
    """However many equal requests come at once to an empty cache, the callee is asked once, and all get its answer."""
    instance = configured(engine, callout(callee))
    greenlets = spawned(instance, 1000)
    callee.until_asked(1)
    callee.gate.set()
    got = seen(greenlets)
    assert len(callee.asked) == 1
    assert [one.body for one in got] == [{"n": 1}] * 1000
    assert sorted(str(one.state) for one in got) == ["coalesced"] * 999 + ["miss"]
    assert event(instance).state == "hit"


def test_followers_have_no_attempts(engine: Engine, callee: Callee) -> None:
    """The log record of a request that waited says so, and that it sent nothing."""
    greenlets = spawned(configured(engine, callout(callee)), 2)
    callee.gate.set()
    assert [(one.fields["cache"], one.fields["attempts"], one.fields["status"]) for one in seen(greenlets)] == [
        ("miss", 1, 200),
        ("coalesced", 0, 200),
    ]


def test_other_keys_do_not_wait(engine: Engine, callee: Callee) -> None:
    """Two consumers, and two plugins, never wait for each other's callouts."""
    ours, others = configured(engine, callout(callee)), configured(engine, callout(callee), plugin_id="q")
    greenlets = [
        *spawned(ours, kong__client__get_consumer={"id": "ann"}),
        *spawned(ours, kong__client__get_consumer={"id": "bob"}),
        *spawned(others, kong__client__get_consumer={"id": "ann"}),
    ]
    callee.until_asked(3)
    callee.gate.set()
    assert sorted(one.body["n"] for one in seen(greenlets)) == [1, 2, 3]


def test_a_bypassed_callout_does_not_wait(engine: Engine, callee: Callee) -> None:
    """Who looks nothing up does not wait for others either."""
    greenlets = spawned(configured(engine, callout(callee, cache={"bypass": True})), 2)
    callee.until_asked(2)
    callee.gate.set()
    assert [one.state for one in seen(greenlets)] == ["bypass"] * 2


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        ({}, (400, b"service callout error")),
        ({"error_response_code": 503, "error_response_msg": "no"}, (503, b"no")),
        ({"retries": 1}, (400, b"service callout error")),
        ({"on_error": "continue"}, None),
    ],
)
def test_an_error_reaches_all_under_their_policy(
    engine: Engine, callee: Callee, error: dict[str, Any], answer: Any
) -> None:
    """The callout's error is that of all that waited for it: each is answered by the policy, none asks again."""
    callee.reply = lambda _: Reply(b"{}", 500)
    policy = {"http_statuses": [500], **error}
    greenlets = spawned(configured(engine, callout(callee, error=policy)), 3)
    callee.gate.set()
    got = seen(greenlets)
    assert len(callee.asked) == 1 + policy.get("retries", 0)
    assert [one.kong.answer and one.kong.answer[:2] for one in got] == [answer] * 3
    assert [one.fields["error"] for one in got] == ["status 500"] * 3
    assert [one.context["request"]["error"]["http_code"] for one in got] == [500] * 3
    assert [one.body for one in got] == [{}] * 3


def test_followers_run_their_own_response_script(engine: Engine, callee: Callee) -> None:
    """response.by_lua runs in each request, on what was received: no one's changes reach another one."""
    script = """
        local a = kong.ctx.shared.callouts.a
        a.response.body.n = a.response.body.n + #a.caching.status
    """
    greenlets = spawned(configured(engine, callout(callee, response={"by_lua": script})), 3)
    callee.gate.set()
    assert [one.body for one in seen(greenlets)] == [{"n": 5}, {"n": 10}, {"n": 10}]


def test_a_killed_leader_is_followed_by_one(engine: Engine, callee: Callee) -> None:
    """When the one that fetches is killed, one of those that wait fetches, and the others wait for it."""
    leader, *followers = spawned(configured(engine, callout(callee)), 4)
    callee.until_asked(1)
    leader.kill()
    callee.until_asked(2)
    callee.gate.set()
    got = seen(followers)
    assert len(callee.asked) == 2
    assert sorted(str(one.state) for one in got) == ["coalesced", "coalesced", "miss"]
    assert [one.body for one in got] == [{"n": 2}] * 3


def test_an_internal_error_of_the_leader_is_its_own(engine: Engine, callee: Callee) -> None:
    """What is no error of the callee is not handed to the others: they fetch for themselves."""
    instance = configured(engine, callout(callee))
    transport = engine.transport

    class BrokenOnce:
        def __init__(self) -> None:
            self.broken = iter([True])

        def send(self, request: Any) -> Any:
            response = transport.send(request)
            if next(self.broken, False):
                raise RuntimeError("broken")
            return response

        def close(self) -> None:
            transport.close()

    engine.transport = BrokenOnce()
    leader, *followers = spawned(instance, 3)
    callee.gate.set()
    assert seen([leader])[0].kong.answer[0] == 500  # type: ignore[index]
    assert sorted(str(one.state) for one in seen(followers)) == ["coalesced", "miss"]


def test_a_script_that_exits_does_not_take_the_answer_from_the_others(engine: Engine, callee: Callee) -> None:
    """A leader whose response.by_lua ends its request has given its response to those that wait."""
    script = """
        if kong.ctx.shared.callouts.a.caching.status == "miss" then kong.response.exit(201, "bye") end
    """
    leader, follower = spawned(configured(engine, callout(callee, response={"by_lua": script})), 2)
    callee.gate.set()
    assert seen([leader])[0].kong.answer[:2] == (201, b"bye")  # type: ignore[index]
    assert seen([follower])[0].body == {"n": 1}
    assert len(callee.asked) == 1


def test_a_request_that_comes_before_it_is_stored_does_not_miss(engine: Engine, callee: Callee) -> None:
    """While the leader's response.by_lua still runs, its response is there for those that come."""
    in_script, go_on = Event(), Event()

    def path() -> str:
        in_script.set()
        go_on.wait(5)
        return "/"

    script = """
        if kong.ctx.shared.callouts.a.caching.status == "miss" then kong.request.get_path() end
    """
    instance = configured(engine, callout(callee, response={"by_lua": script}))
    callee.gate.set()
    greenlets = spawned(instance, kong__request__get_path=path)
    assert in_script.wait(5)
    assert event(instance).state == "coalesced"
    go_on.set()
    seen(greenlets)
    assert event(instance).state == "hit"
    assert len(callee.asked) == 1


def test_a_killed_follower_leaves_nothing(engine: Engine, callee: Callee) -> None:
    """A request that is ended while it waits changes nothing for the others."""
    leader, killed, other = spawned(configured(engine, callout(callee)), 3)
    callee.until_asked(1)
    killed.kill()
    callee.gate.set()
    assert [one.state for one in seen([leader, other])] == ["miss", "coalesced"]
    assert len(callee.asked) == 1


def test_a_leader_without_time_is_followed_by_one(engine: Engine, callee: Callee) -> None:
    """When the one that fetches runs out of its own time, the others still have theirs: one of them fetches."""
    short = engine_with(deadline_ms=100)
    short.flights = engine.flights
    leader = spawned(configured(short, callout(callee)))
    callee.until_asked(1)
    followers = spawned(configured(engine, callout(callee)), 2)
    assert "deadline" in seen(leader)[0].fields["error"]
    callee.until_asked(2)
    callee.gate.set()
    assert sorted(str(one.state) for one in seen(followers)) == ["coalesced", "miss"]
    short.close()


def test_a_follower_whose_time_is_over_fails(engine: Engine, callee: Callee) -> None:
    """A request whose deadline passes before the leader's does not wait for it."""
    leader = spawned(configured(engine, callout(callee)))
    callee.until_asked(1)
    short = engine_with(deadline_ms=100)
    short.flights = engine.flights
    got = event(configured(short, callout(callee)))
    assert got.kong.answer == (400, b"service callout error", {"Content-Type": "text/plain; charset=utf-8"})
    assert "deadline of 100 ms" in got.fields["error"]
    callee.gate.set()
    seen(leader)
    short.close()


@pytest.mark.parametrize("forbidden", ["private", "no-store"])
def test_what_is_for_one_request_only_is_not_shared(engine: Engine, callee: Callee, forbidden: str) -> None:
    """With respect_cache_control a response that may not be kept answers no one else: the others ask at once."""
    callee.reply = lambda number: Reply({"n": number}, headers={"Cache-Control": forbidden})
    greenlets = spawned(configured(engine, callout(callee, cache={"respect_cache_control": True})), 3)
    callee.until_asked(1)
    callee.gate.set()
    assert sorted(one.body["n"] for one in seen(greenlets)) == [1, 2, 3]


def test_what_was_chosen_by_a_header_is_not_for_another_value(engine: Engine, callee: Callee) -> None:
    """With respect_cache_control and a key of a script's own, Vary is looked at while others wait, too."""
    callee.reply = lambda number: Reply({"n": number}, headers={"Vary": "X-L"})
    config = callout(
        callee,
        cache={"respect_cache_control": True},
        headers={"custom": {"X-L": "$(headers.l)"}},
        by_lua="kong.ctx.shared.callouts.a.caching.cache_key = 'k'",
    )
    instance = configured(engine, config)
    greenlets = [spawned(instance, kong__request__get_headers={"l": language})[0] for language in ("de", "fr", "de")]
    callee.until_asked(1)
    callee.gate.set()
    assert [one.body["n"] for one in seen(greenlets)] == [1, 2, 1]


def test_a_callout_may_wait_beside_another_one(engine: Engine, callee: Callee) -> None:
    """Callouts of one request side by side, each waiting for another request's, all come to their end."""
    names = ("a", "b")
    callouts = [{**callout(callee), "name": name} for name in names]
    greenlets = spawned(configured(engine, *callouts), 5)
    callee.until_asked(2)
    until(lambda: len(engine.flights) == 2)
    callee.gate.set()
    got = seen(greenlets)
    assert len(callee.asked) == 2
    assert [one.kong.answer for one in got] == [None] * 5


@pytest.mark.parametrize(("first", "bodies"), [(True, [{"n": 1}, '{"n": 1}']), (False, ['{"n": 1}', {"n": 2}])])
def test_configurations_that_differ_in_decoding(engine: Engine, callee: Callee, first: bool, bodies: list[Any]) -> None:
    """When a configuration changes in between, each request still has the body as its own configuration says."""
    greenlets = [
        greenlet
        for decode in (first, not first)
        for greenlet in spawned(configured(engine, callout(callee, response={"body": {"decode": decode}})))
    ]
    callee.until_asked(1)
    callee.gate.set()
    assert [one.body for one in seen(greenlets)] == bodies
