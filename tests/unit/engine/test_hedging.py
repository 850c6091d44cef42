"""A second attempt for a first that is slow, and what becomes of the two."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gevent
import pytest
from gevent import socket
from gevent.event import Event
from gevent.server import StreamServer

from request_callout.engine import Engine
from tests.unit.engine.gevent_callee import (
    PATIENCE_S,
    Callee,
    Clock,
    Reply,
    callout,
    configured,
    engine_with,
    event,
    seen,
    spawned,
    until,
)

LONG_MS = 50_000
SOON_MS = 1


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = engine_with()
    yield engine
    engine.close()


@pytest.fixture
def over() -> Iterator[Event]:
    """Set when a slow answer may come."""
    over = Event()
    yield over
    over.set()


@pytest.fixture
def callee() -> Iterator[Callee]:
    callee = Callee()
    yield callee
    callee.close()


def slow(over: Event, *numbers: int, **reply: Any) -> Any:
    """Answers of which these, by number, wait for ``over``; and then (or else) are as told."""

    def answer(number: int) -> Reply:
        if number in numbers:
            over.wait(PATIENCE_S)
        return Reply({"n": number}, **{name: value(number) for name, value in reply.items()})

    return answer


def test_a_quick_answer_needs_one_attempt(engine: Engine, callee: Callee) -> None:
    """An answer in time is the only one that is asked for."""
    one = event(configured(engine, callout(callee, hedge_after_ms=LONG_MS)))
    assert (one.body, one.fields["attempts"], len(callee.asked)) == ({"n": 1}, 1, 1)


def test_the_first_answer_wins(engine: Engine, callee: Callee, over: Event) -> None:
    """When the first attempt is slow the second is sent, and its answer is taken; both count."""
    callee.reply = slow(over, 1)
    one = event(configured(engine, callout(callee, hedge_after_ms=SOON_MS)))
    assert (one.body, one.fields["attempts"]) == ({"n": 2}, 2)
    assert one.context["request"]["n_retries"] == 0


def test_the_slow_first_may_win(engine: Engine, callee: Callee, over: Event) -> None:
    """The second attempt does not end the first: if that is answered earlier, it wins."""
    callee.reply = slow(over, 1, 2)
    waiting = spawned(configured(engine, callout(callee, hedge_after_ms=SOON_MS)))
    callee.until_asked(2)
    over.set()
    assert seen(waiting)[0].fields["attempts"] == 2
    assert len(callee.asked) == 2


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_only_idempotent_methods_are_hedged(engine: Engine, callee: Callee, over: Event, method: str) -> None:
    """What could do its work twice is sent once, also if a script has chosen the method."""
    callee.reply = slow(over, 1)
    script = f"kong.ctx.shared.callouts.a.request.params.method = '{method}'"
    waiting = spawned(configured(engine, callout(callee, hedge_after_ms=SOON_MS, by_lua=script)))
    callee.until_asked(1)
    gevent.sleep(0.05)  # time for a second one, which must not come
    over.set()
    assert seen(waiting)[0].fields["attempts"] == 1
    assert [environ["REQUEST_METHOD"] for environ in callee.asked] == [method]


def test_an_error_of_one_waits_for_the_other(engine: Engine, callee: Callee, over: Event) -> None:
    """While an attempt is under way the error of the other is no outcome."""
    callee.reply = slow(over, 1, status=lambda number: 503 if number == 2 else 200)
    config = callout(callee, hedge_after_ms=SOON_MS, error={"http_statuses": [503]})
    waiting = spawned(configured(engine, config))
    callee.until_asked(2)
    gevent.sleep(0.02)  # let its error arrive
    assert not waiting[0].ready()
    over.set()
    assert (seen(waiting)[0].body, seen(waiting)[0].kong.answer) == ({"n": 1}, None)


def test_two_errors_are_one(engine: Engine, callee: Callee, over: Event) -> None:
    """When both fail the callout has failed once: there is one entry for the retry that follows."""
    callee.reply = slow(over, 1, status=lambda number: 503 if number < 3 else 200)
    config = callout(callee, hedge_after_ms=SOON_MS, error={"http_statuses": [503], "retries": 1})
    waiting = spawned(configured(engine, config))
    callee.until_asked(2)
    over.set()
    one = seen(waiting)[0]
    assert (one.kong.answer, one.context["request"]["n_retries"]) == (None, 1)
    assert one.fields["attempts"] == len(callee.asked) >= 3


def test_an_early_error_is_the_outcome(engine: Engine, callee: Callee) -> None:
    """An error in time is left to the policy of retries: there is no second attempt for it."""
    callee.reply = lambda number: Reply({"n": number}, 503)
    one = event(configured(engine, callout(callee, hedge_after_ms=LONG_MS, error={"http_statuses": [503]})))
    assert one.kong.answer is not None
    assert one.fields["attempts"] == 1


class Silent:
    """A callee that answers all but the first connection, and tells which connections its peer has closed."""

    def __init__(self, answers: int = 1) -> None:
        self.opened = 0
        self.closed: list[int] = []
        self._answers = answers
        self._server = StreamServer(("127.0.0.1", 0), self._serve)
        self._server.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/"

    def _serve(self, connection: socket.socket, _address: object) -> None:
        self.opened += 1
        number = self.opened
        connection.recv(65536)
        if 1 < number <= 1 + self._answers:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        if not connection.recv(1):
            self.closed.append(number)

    def close(self) -> None:
        self._server.stop()


def test_the_loser_is_closed_and_the_winner_kept(engine: Engine) -> None:
    """The connection of the attempt that was not needed is closed, that of the other goes back to the pool."""
    silent = Silent()
    config = {"name": "a", "request": {"url": silent.url, "hedge_after_ms": SOON_MS}}
    one = event(configured(engine, config))
    assert one.context["response"]["body"] == "ok"
    until(lambda: bool(silent.closed))
    assert (silent.opened, silent.closed) == (2, [1])
    silent.close()


def test_a_request_that_is_ended_leaves_no_attempt_behind(engine: Engine) -> None:
    """When the request is ended while both attempts are under way, both connections are closed."""
    silent = Silent(answers=0)
    config = {"name": "a", "request": {"url": silent.url, "hedge_after_ms": SOON_MS}}
    [waiting] = spawned(configured(engine, config))
    until(lambda: silent.opened == 2)
    waiting.kill()
    until(lambda: len(silent.closed) == 2)
    silent.close()


def test_the_total_time_ends_both(engine: Engine) -> None:
    """What is left of the callout's time bounds both attempts."""
    silent = Silent(answers=0)
    request = {"url": silent.url, "hedge_after_ms": SOON_MS, "http_opts": {"timeouts": {"total": 60}}}
    one = event(configured(engine, {"name": "a", "request": request}))
    assert one.fields["attempts"] == 2
    assert one.fields["error"] == "the total time of 60 ms for this callout has passed"
    until(lambda: len(silent.closed) == 2)
    silent.close()


def test_a_refresh_is_hedged_too(callee: Callee, over: Event) -> None:
    """A refresh in the background goes the same way: a slow attempt does not keep the stale response in use."""
    clock = Clock()
    engine = engine_with(clock)
    callee.reply = slow(over, 2)
    config = callout(callee, hedge_after_ms=SOON_MS, cache={"ttl": "1", "stale_while_revalidate": 100})
    instance = configured(engine, config)
    event(instance)
    clock.now += 2
    assert event(instance).state == "stale"
    until(lambda: not len(engine.background))
    assert (event(instance).state, event(instance).body) == ("hit", {"n": 3})
    engine.close()
