"""What is kept of a callout's responses, and for how long."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from email.utils import formatdate
from typing import Any

import pytest

from request_callout.cache.store import CachedResponse, Lease, OwnLease
from request_callout.config.settings import Settings
from request_callout.engine import Engine
from tests.unit.engine.gevent_callee import Callee, Clock, Reply, callout, configured, event, seen, spawned, states

DATE = formatdate(Clock().now, usegmt=True)


class Puts:
    """A store that finds nothing, and tells what was put."""

    shared = False

    def __init__(self) -> None:
        self.made: list[tuple[str, CachedResponse, float]] = []

    def get(self, key: str) -> CachedResponse | None:
        return None

    def put(self, key: str, response: CachedResponse, ttl_s: float) -> None:
        self.made.append((key, response, ttl_s))

    def lease(self, key: str, lease_s: float) -> Lease | None:
        return OwnLease()


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


def puts(engine: Engine, config: dict[str, Any], **replies: Any) -> list[tuple[str, CachedResponse, float]]:
    """What one event puts into the store; ``cache_ttl`` is 300 s."""
    instance = configured(engine, config)
    store = instance.store = Puts()
    event(instance, **replies)
    return store.made


def kept_s(engine: Engine, config: dict[str, Any], **replies: Any) -> float | None:
    """For how many seconds a response is kept, None: it is not."""
    made = puts(engine, config, **replies)
    if not made:
        return None
    [(_, response, ttl_s)] = made
    assert response.fresh_s == pytest.approx(ttl_s)
    return ttl_s


def test_a_response_ends_when_its_time_is_over(engine: Engine, callee: Callee, clock: Clock) -> None:
    """It is used until the last moment of its time, and not from then on."""
    instance = configured(engine, callout(callee, cache={"ttl": "10"}))
    assert states(instance, 2) == ["miss", "hit"]
    clock.now += 9.99
    assert event(instance).state == "hit"
    clock.now += 0.01
    assert states(instance, 2) == ["miss", "hit"]


def test_what_is_stored_says_whose_it_is(engine: Engine, callee: Callee, clock: Clock) -> None:
    """An entry has the response as received, when that was, and for operators whose it is."""
    callee.reply = lambda _: Reply(b'{"a": 1}', 201, {"X-A": "1"})
    [(_, entry, _)] = puts(engine, callout(callee))
    assert (entry.status, entry.headers["x-a"], entry.raw_body, entry.body) == (201, "1", b'{"a": 1}', {"a": 1})
    assert (entry.stored_at, entry.callout, entry.plugin_id) == (clock.now, "a", "p")


@pytest.mark.parametrize(
    ("ttl", "body", "expected"),
    [
        ("60", {}, 60),
        (" 1.5 ", {}, 1.5),
        ("$(callouts.a.response.body.expires_in)", {"expires_in": 20}, 20),
        ("$(callouts.a.response.body.expires_in - 5)", {"expires_in": 20}, 15),
        ("$(callouts.a.response.body.expires_in)", {"expires_in": "20"}, 20),
        ("$(callouts.a.response.body.expires_in)0", {"expires_in": 2}, 20),
        ("$(callouts.a.response.headers.x_ttl)", {}, 7),
        ("$(callouts.a.response.status / 100)", {}, 2),
        ("$(headers.x_ttl)", {}, 9),
        ("$(callouts.a.response.body.expires_in)", {}, None),
        ("$(callouts.a.response.body.expires_in - 30)", {}, None),
        ("$(callouts.a.response.body.expires_in - 30)", {"expires_in": 20}, None),
        ("$(callouts.a.response.body.expires_in)", {"expires_in": "soon"}, None),
        ("$(callouts.a.response.body.expires_in)", {"expires_in": True}, None),
        ("$(callouts.a.response.body.expires_in)", {"expires_in": [20]}, None),
        ("$(1/0)", {}, None),
        ("$(0/0)", {}, None),
        ("$(error('no'))", {}, None),
        ("$(no.such.thing)", {}, None),
    ],
)
def test_ttl(
    engine: Engine,
    callee: Callee,
    caplog: pytest.LogCaptureFixture,
    ttl: str,
    body: dict[str, Any],
    expected: float | None,
) -> None:
    """The field ttl takes the place of cache_ttl, evaluated after the response; what is no time keeps nothing."""
    caplog.set_level(logging.WARNING)
    callee.reply = lambda _: Reply(body, headers={"X-TTL": "7"})
    client = {"kong__request__get_headers": {"x-ttl": "9"}}
    assert kept_s(engine, callout(callee, cache={"ttl": ttl}), **client) == expected
    assert ("config.callouts[1].cache.ttl" in caplog.text) is (expected is None)


def test_ttl_is_told_once_a_minute(engine: Engine, callee: Callee, caplog: pytest.LogCaptureFixture) -> None:
    """However often a time to live can't be used, the log has one line of it, and the requests go on."""
    instance = configured(engine, callout(callee, cache={"ttl": "$(callouts.a.response.body.none)"}))
    assert states(instance, 3) == ["miss"] * 3
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1


def test_ttl_sees_what_is_not_stored_in_the_context(engine: Engine, callee: Callee) -> None:
    """The field ttl may read a body that the context is not to hold."""
    response = {"body": {"decode": True, "store": False}}
    config = callout(callee, cache={"ttl": "$(callouts.a.response.body.n + 1)"}, response=response)
    assert kept_s(engine, config) == 2
    assert "body" not in event(configured(engine, config)).context["response"]


def test_ttl_sees_what_the_script_left(engine: Engine, callee: Callee) -> None:
    """The field ttl is evaluated after response.by_lua."""
    script = "kong.ctx.shared.callouts.a.response.body.n = 44"
    config = callout(callee, cache={"ttl": "$(callouts.a.response.body.n)"}, response={"by_lua": script})
    assert kept_s(engine, config) == 44


def test_ttl_may_read_an_earlier_callout(engine: Engine, callee: Callee) -> None:
    """A callout that ttl names is awaited, like one that the request names."""
    earlier = {**callout(callee, cache={"bypass": True}), "name": "b"}
    config = callout(callee, cache={"ttl": "$(callouts.b.response.body.n * 10)"})
    instance = configured(engine, earlier, config)
    assert [step.waits_for for step in instance.plan.steps] == [frozenset(), {0}]
    store = instance.store = Puts()
    event(instance)
    assert [ttl_s for _, _, ttl_s in store.made] == [10]


def test_ttl_that_reads_its_own_response_waits_for_nobody(engine: Engine, callee: Callee) -> None:
    """A callout's own name in its ttl is no dependency, and what ttl reads of the client is read with all else."""
    config = callout(callee, cache={"ttl": "$(callouts.a.response.body.n + headers.x)"})
    instance = configured(engine, {**callout(callee), "name": "b"}, config)
    assert [step.waits_for for step in instance.plan.steps] == [frozenset(), frozenset()]
    assert "headers" in instance.plan.reads


SAYS_20 = {"Cache-Control": "max-age=20"}


@pytest.mark.parametrize(
    ("cache", "script_ttl", "expected"),
    [
        ({}, None, 300),
        ({}, "5", 5),
        ({}, "300", 300),
        ({"ttl": "60"}, None, 60),
        ({"ttl": "60"}, "5", 5),
        ({"ttl": "60"}, "300", 60),
        ({"ttl": "60"}, "0", None),
        ({"ttl": "60"}, "'5'", None),
        ({"ttl": "60"}, "nil", None),
        ({"ttl": "60"}, "true", None),
        ({"respect_cache_control": True}, None, 20),
        ({"respect_cache_control": True, "ttl": "60"}, None, 60),
        ({"respect_cache_control": True, "ttl": "60"}, "5", 5),
        ({"respect_cache_control": False}, None, 300),
    ],
)
@pytest.mark.parametrize("place", ["request", "response"])
def test_who_has_the_last_word(
    engine: Engine, callee: Callee, place: str, cache: dict[str, Any], script_ttl: str | None, expected: float | None
) -> None:
    """A time that a script set comes before ttl, that before the response's own, that before cache_ttl."""
    callee.reply = lambda _: Reply({}, headers=SAYS_20)
    config = callout(callee, cache=cache)
    if script_ttl is not None:
        config[place]["by_lua"] = f"kong.ctx.shared.callouts.a.caching.cache_ttl = {script_ttl}"
    assert kept_s(engine, config) == expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, 300),
        ({"Cache-Control": "public"}, 300),
        ({"Cache-Control": "max-age=20"}, 20),
        ({"Cache-Control": "max-age=20", "Age": "15"}, 5),
        ({"Cache-Control": "max-age=20", "Age": "20"}, None),
        ({"Cache-Control": "max-age=0"}, None),
        ({"Cache-Control": "s-maxage=10, max-age=20"}, 10),
        ({"Cache-Control": "no-store"}, None),
        ({"Cache-Control": "private, max-age=20"}, None),
        ({"Cache-Control": "no-cache, max-age=20"}, None),
        ({"Expires": formatdate(Clock().now + 30, usegmt=True), "Date": DATE}, 30),
        ({"Expires": "0", "Date": DATE}, None),
        ({"Vary": "X-H"}, 300),
        ({"Vary": "*"}, None),
    ],
)
def test_cache_control(engine: Engine, callee: Callee, headers: dict[str, str], expected: float | None) -> None:
    """With respect_cache_control the response's headers decide whether and for how long (RFC 9111)."""
    callee.reply = lambda _: Reply({}, headers=headers)
    assert kept_s(engine, callout(callee, cache={"respect_cache_control": True})) == expected
    assert kept_s(engine, callout(callee)) == 300


@pytest.mark.parametrize("directive", ["no-store", "private"])
def test_what_forbids_to_keep_comes_before_ttl(engine: Engine, callee: Callee, directive: str) -> None:
    """A response that may not be kept is not, whatever the configuration says of its time."""
    callee.reply = lambda _: Reply({}, headers={"Cache-Control": directive})
    assert kept_s(engine, callout(callee, cache={"respect_cache_control": True, "ttl": "60"})) is None


def test_the_way_counts_as_age(engine: Engine, callee: Callee, clock: Clock) -> None:
    """With respect_cache_control the time that the exchange took is taken off (RFC 9111 section 4.2.3)."""

    def late(_number: int) -> Reply:
        clock.now += 5
        return Reply({}, headers=SAYS_20)

    callee.reply = late
    assert kept_s(engine, callout(callee, cache={"respect_cache_control": True})) == 15


def test_vary(engine: Engine, callee: Callee) -> None:
    """Under a key of a script's own, a response is used only for the values it was chosen by."""
    callee.reply = lambda number: Reply({"n": number}, headers={"Vary": "X-L, X-Absent"})
    config = callout(
        callee,
        cache={"respect_cache_control": True},
        headers={"custom": {"X-L": "$(headers.l)"}},
        by_lua="kong.ctx.shared.callouts.a.caching.cache_key = 'k'",
    )
    instance = configured(engine, config)
    got = [event(instance, kong__request__get_headers={"l": one}) for one in ("de", "de", "fr", "fr", "de")]
    assert [one.state for one in got] == ["miss", "hit", "miss", "hit", "miss"]


@pytest.mark.parametrize("percent", [0, 10, 100])
def test_jitter(engine: Engine, callee: Callee, percent: int) -> None:
    """Each time is shortened by up to so many percent, and not all by the same."""
    config = callout(callee, cache={"ttl": "100", "jitter": percent})
    times = [kept_s(engine, config) or 0.0 for _ in range(40)]
    assert all(100 - percent <= time_s <= 100 for time_s in times)
    assert (len(set(times)) > 1) is (percent > 0)


@pytest.mark.parametrize(
    ("cache", "errors", "status", "expected"),
    [
        ({}, [], 200, 300),
        ({}, [], 404, 300),
        ({}, [404], 404, None),
        ({"statuses": [200, 404]}, [], 200, 300),
        ({"statuses": [200, 404]}, [], 404, 300),
        ({"statuses": [200, 404]}, [], 201, None),
        ({"statuses": [200, 404]}, [404], 404, None),
        ({"negative_ttl": 5}, [], 200, 300),
        ({"negative_ttl": 5}, [], 404, 5),
        ({"negative_ttl": 5}, [404], 404, 5),
        ({"negative_ttl": 5, "ttl": "60"}, [404], 404, 5),
        ({"negative_ttl": 5, "ttl": "60"}, [], 200, 60),
        ({"negative_ttl": 5, "statuses": [200]}, [], 404, None),
        ({"negative_ttl": 0}, [], 404, None),
        ({"negative_ttl": 0}, [404], 404, None),
        ({"negative_ttl": 5, "stale_if_error": 60, "stale_while_revalidate": 60}, [], 404, 5),
        ({"negative_ttl": 5, "respect_cache_control": True}, [], 404, 5),
    ],
)
@pytest.mark.parametrize("on_error", ["fail", "retry", "continue"])
def test_statuses(
    engine: Engine,
    callee: Callee,
    on_error: str,
    cache: dict[str, Any],
    errors: list[int],
    status: int,
    expected: float | None,
) -> None:
    """The field statuses limits what is kept; errors are kept only for negative_ttl, as is all else from 400 on."""
    callee.reply = lambda _: Reply({}, status, SAYS_20)
    policy = {"on_error": on_error, "retries": 0, **({"http_statuses": errors} if errors else {})}
    assert kept_s(engine, callout(callee, cache=cache, error=policy)) == expected


def test_an_error_is_kept_under_every_policy(engine: Engine, callee: Callee, clock: Clock) -> None:
    """A kept error is one again for each request that finds it, without being asked for or retried."""
    callee.reply = lambda number: Reply({"n": number}, 503)
    cache = {"negative_ttl": 5}
    for number, on_error in enumerate(("fail", "retry", "continue"), 1):
        policy = {"http_statuses": [503], "on_error": on_error, "retries": 0, "error_response_code": 502}
        instance = configured(engine, callout(callee, cache=cache, error=policy), plugin_id=on_error)
        first, second = event(instance), event(instance)
        assert (first.state, second.state) == ("miss", "hit")
        assert len(callee.asked) == number
        assert first.kong.answer == second.kong.answer
        assert second.context["request"]["error"] == {"reason": "code", "err": "status 503", "http_code": 503}
        assert second.context["response"]["body"] == {"n": number}
        assert second.context["request"]["n_retries"] == 0
        assert (second.fields["error"], second.fields["attempts"]) == ("status 503", 0)
    clock.now += 5
    assert event(instance).state == "miss"


def test_a_kept_error_is_retried_when_it_is_fetched(engine: Engine, callee: Callee) -> None:
    """All attempts are made before an error is kept."""
    policy = {"http_statuses": [503], "retries": 2}
    callee.reply = lambda number: Reply({"n": number}, 503)
    instance = configured(engine, callout(callee, cache={"negative_ttl": 5}, error=policy))
    assert states(instance, 2) == ["miss", "hit"]
    assert len(callee.asked) == 3


def test_what_has_become_an_error_is_not_used(engine: Engine, callee: Callee) -> None:
    """A status that a later configuration counts as an error is not taken from the cache, where errors are not kept."""
    callee.reply = lambda number: Reply({"n": number}, 404 if number == 1 else 200)
    assert event(configured(engine, callout(callee))).state == "miss"
    got = event(configured(engine, callout(callee, error={"http_statuses": [404]})))
    assert (got.state, got.body) == ("miss", {"n": 2})


def test_a_response_that_is_no_json_is_not_kept(engine: Engine, callee: Callee) -> None:
    """An error without a status of its own is never kept."""
    callee.reply = lambda _: Reply(b"no json")
    assert kept_s(engine, callout(callee, cache={"negative_ttl": 5}, error={"on_error": "continue"})) is None


def test_content_outlives_a_configuration(engine: Engine, callee: Callee) -> None:
    """Another configuration of the same plugin finds what was kept; another plugin does not."""
    assert event(configured(engine, callout(callee))).state == "miss"
    changed = configured(engine, callout(callee), upstream={"headers": {"custom": {"X": "1"}}})
    assert event(changed).state == "hit"
    assert event(configured(engine, callout(callee), plugin_id="q")).state == "miss"


def test_a_body_that_was_kept_as_text_is_decoded(engine: Engine, callee: Callee) -> None:
    """A configuration that now decodes finds the body decoded; one that is no JSON is a miss."""
    as_text = {"body": {"decode": False}}
    assert event(configured(engine, callout(callee, response=as_text))).body == '{"n": 1}'
    got = event(configured(engine, callout(callee)))
    assert (got.state, got.body) == ("hit", {"n": 1})
    callee.reply = lambda number: Reply(b"text") if number < 3 else Reply({"n": number})
    other = {"headers": {"custom": {"X": "1"}}}
    assert event(configured(engine, callout(callee, response=as_text, **other))).body == "text"
    got = event(configured(engine, callout(callee, **other)))
    assert (got.state, got.body) == ("miss", {"n": 3})


def test_a_token_is_never_used_when_it_is_over(engine: Engine, callee: Callee, clock: Clock) -> None:
    """The token example: kept for as long as it says less a margin, no request goes out with one that is over."""
    tokens: dict[str, float] = {}

    def issue(number: int) -> Reply:
        tokens[f"t{number}"] = clock.now + 2
        return Reply({"access_token": f"t{number}", "expires_in": 2})

    callee.reply = issue
    config = callout(callee, cache={"ttl": "$(callouts.a.response.body.expires_in - 0.25)"})
    upstream = {"headers": {"custom": {"Authorization": "Bearer $(callouts.a.response.body.access_token)"}}}
    instance = configured(engine, config, upstream=upstream)
    for _ in range(100):  # ten seconds
        for one in seen(spawned(instance, 16)):
            [(_, value)] = one.kong.written("kong.service.request.set_header")
            assert tokens[value.removeprefix("Bearer ")] > clock.now
        clock.now += 0.1
    assert len(callee.asked) == 6  # at 0 s and then every 1.8 s
