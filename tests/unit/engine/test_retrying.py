"""Retries and the pauses between them, on a clock of the tests' own."""

from __future__ import annotations

from collections.abc import Iterator
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from request_callout.config.model import Backoff, ErrorPolicy
from request_callout.engine import Engine
from request_callout.engine.answer import CalloutError
from request_callout.engine.call import Call
from request_callout.engine.context import CalloutRecord, CalloutResponse
from request_callout.engine.params import HeaderFields, Params
from request_callout.engine.retrying import Pacing, longest_pause_ms, longest_pauses_ms, retry, retry_after_s
from request_callout.engine.run import Run
from tests.unit.engine.gevent_callee import Clock, configured, engine_with
from tests.unit.engine.kong_double import KongDouble

NOW = 1_700_000_000.0


class Pauses:
    """Time that passes only in pauses; ``drawn`` are the bounds that random numbers were asked for."""

    def __init__(self, now: float, share: float = 1.0) -> None:
        self.at = now
        self.share = share
        self.slept: list[float] = []
        self.drawn: list[tuple[float, float]] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 6))
        self.at += seconds

    def uniform(self, low: float, high: float) -> float:
        self.drawn.append((low, high))
        return low + self.share * (high - low)

    @property
    def pacing(self) -> Pacing:
        return Pacing(lambda: self.at, self.sleep, self.uniform)


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = engine_with(Clock())
    yield engine
    engine.close()


@pytest.fixture
def call(engine: Engine) -> Call:
    """A call that has 5 s for all it does."""
    instance = configured(engine, {"name": "a", "request": {"url": "http://callee.test/"}})
    call = Call(Run(instance, KongDouble()), instance_callout(instance))
    params = Params("http://callee.test/", "GET", "", HeaderFields(), None, False, True, None, None, None)
    call.begin(CalloutRecord(params, {}))
    return call


def instance_callout(instance: Any) -> Any:
    return instance.plan.steps[0].callout


def policy(retries: int, **more: Any) -> ErrorPolicy:
    return ErrorPolicy("retry", retries, frozenset({503}), 400, "", **more)


def made(call: Call, errors: list[CalloutError], policy: ErrorPolicy, pauses: Pauses) -> str:
    """What comes of a callout whose attempts meet these errors before they succeed."""
    left = list(errors)

    def attempt(_call: Call) -> CalloutResponse | None:
        _call.attempts += 1
        if left:
            raise left.pop(0)
        return CalloutResponse(200, {}, b"")

    try:
        response = retry(attempt, policy, pauses.pacing)(call)
    except CalloutError as error:
        return error.message
    assert response is not None
    return "done"


def unavailable(retry_after: str | None = None) -> CalloutError:
    headers: dict[str, str | list[str]] = {} if retry_after is None else {"retry-after": retry_after}
    return CalloutError("code", "status 503", 503, CalloutResponse(503, headers, b""))


def starting(call: Call, share: float = 1.0) -> Pauses:
    """A clock that begins with all of the call's time left."""
    return Pauses(call.deadline - 5, share)


def test_without_a_backoff_retries_follow_at_once(call: Call) -> None:
    """Without a backoff there is no pause, and no random number is drawn."""
    pauses = starting(call)
    assert made(call, [unavailable("1")] * 2, policy(2), pauses) == "done"
    assert (pauses.slept, pauses.drawn, call.attempts) == ([], [], 3)
    assert [entry["http_code"] for entry in call.record.retries] == [503, 503]


def test_the_pause_is_drawn_from_zero_to_a_bound_that_grows(call: Call) -> None:
    """Full jitter: the pause before retry n lies between 0 and initial * factor ** (n - 1), max at most."""
    pauses = starting(call, share=0.5)
    backoff = Backoff(100, 500, 2.0)
    assert made(call, [unavailable()] * 5, policy(5, backoff=backoff), pauses) == "done"
    assert pauses.drawn == [(0, 0.1), (0, 0.2), (0, 0.4), (0, 0.5), (0, 0.5)]
    assert pauses.slept == [0.05, 0.1, 0.2, 0.25, 0.25]


@given(
    initial=st.integers(1, 60_000),
    most=st.integers(1, 60_000),
    factor=st.floats(1, 100),
    number=st.integers(0, 10_000),
)
def test_the_bound_follows_the_formula(initial: int, most: int, factor: float, number: int) -> None:
    """The bound is the smaller of max and initial * factor ** n, however large that would be."""
    bound = longest_pause_ms(Backoff(initial, most, factor), number)
    try:
        assert bound == pytest.approx(min(most, initial * factor**number))
    except OverflowError:
        assert bound == most


def test_a_response_may_ask_for_a_longer_pause(call: Call) -> None:
    """With retry_after the pause is what the response asks for, the backoff's where that is longer."""
    pauses = starting(call)
    wanted = policy(2, retry_after=True, backoff=Backoff(500, 3000, 4.0))
    assert made(call, [unavailable("1"), unavailable("1")], wanted, pauses) == "done"
    assert pauses.slept == [1.0, 2.0]


def test_what_a_response_asks_for_is_bounded(call: Call) -> None:
    """No response can ask for more than the backoff's max_ms."""
    pauses = starting(call)
    wanted = policy(1, retry_after=True, backoff=Backoff(1, 1500, 2.0))
    assert made(call, [unavailable("3600")], wanted, pauses) == "done"
    assert pauses.slept == [1.5]


def test_retry_after_works_without_a_backoff(call: Call) -> None:
    """Without a backoff a response may ask for up to ten seconds, and a retry that nobody asks to wait for does not."""
    pauses = starting(call)
    assert made(call, [unavailable(), unavailable("2")], policy(2, retry_after=True), pauses) == "done"
    assert pauses.slept == [2.0]
    assert longest_pauses_ms(policy(2, retry_after=True)) == 20_000


def test_a_pause_that_would_outlast_the_deadline_is_not_made(call: Call) -> None:
    """A retry that could only be made after the deadline is not waited for: the last error is the outcome at once."""
    pauses = starting(call)
    assert made(call, [unavailable("5")], policy(3, retry_after=True), pauses) == "status 503"
    assert (pauses.slept, call.attempts, call.record.retries) == ([], 1, [])


def test_methods_that_are_not_named_are_tried_once(call: Call) -> None:
    """With retry_methods only these are tried again."""
    assert made(call, [unavailable()], policy(3, retry_methods=frozenset({"HEAD"})), starting(call)) == "status 503"
    assert (call.attempts, call.record.retries) == (1, [])
    assert made(call, [unavailable()], policy(3, retry_methods=frozenset({"GET"})), starting(call)) == "done"


def test_the_method_that_counts_is_the_one_that_is_sent(call: Call) -> None:
    """A script that chooses another method chooses with it whether there are retries."""
    call.record.params.method = "POST"
    assert made(call, [unavailable()], policy(3, retry_methods=frozenset({"GET"})), starting(call)) == "status 503"


def test_a_retry_that_meets_an_open_circuit_ends_there(call: Call) -> None:
    """An open circuit is no attempt, and nothing is tried or waited for after it."""
    refused = CalloutError("circuit_open", "the circuit is open")
    refused.not_before = float("inf")
    pauses = starting(call)
    wanted = policy(5, backoff=Backoff(100, 1000, 2.0))
    assert made(call, [unavailable(), refused], wanted, pauses) == "the circuit is open"
    assert pauses.slept == [0.1]
    assert [entry["reason"] for entry in call.record.retries] == ["code"]


def test_no_retry_is_made_that_would_meet_an_open_circuit(call: Call) -> None:
    """After a failure that opened the circuit for longer than the pause, the error is that failure, at once."""
    pauses = starting(call)
    opening = unavailable()
    opening.not_before = pauses.at + 2
    wanted = policy(5, backoff=Backoff(1000, 1000, 1.0))
    assert made(call, [opening], wanted, pauses) == "status 503"
    assert (pauses.slept, call.record.retries) == ([], [])


def test_a_retry_is_made_after_a_circuit_was_open(call: Call) -> None:
    """A pause that is longer than the circuit is open is made, and then the retry."""
    pauses = starting(call)
    opening = unavailable()
    opening.not_before = pauses.at + 0.5
    assert made(call, [opening], policy(5, backoff=Backoff(1000, 1000, 1.0)), pauses) == "done"
    assert pauses.slept == [1.0]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        (" 7 ", 7),
        (["3", "9"], 3),
        ([], 0),
        ("", 0),
        ("-1", 0),
        ("1.5", 0),
        ("1e3", 0),
        ("soon", 0),
        ("\u0663", 0),
        ("9" * 5000, 9_999_999_999),
        (formatdate(NOW + 90, usegmt=True), 90),
        (formatdate(NOW - 90, usegmt=True), 0),
        ("Tuesday, 14-Nov-23 22:14:50 GMT", 90),
        ("Tue Nov 14 22:14:50 2023", 90),
        ("Fri, 99 Nov 0000 99:99:99 GMT", 0),
    ],
)
def test_retry_after_has_two_forms(value: str | list[str], seconds: float) -> None:
    """Retry-After is whole seconds or a date in any of HTTP's three forms; anything else asks for nothing."""
    assert retry_after_s({"retry-after": value}, NOW) == seconds


@given(st.text(max_size=40))
def test_any_retry_after_is_read(value: str) -> None:
    """Whatever a response says in Retry-After, there is a time that is not negative."""
    assert retry_after_s({"retry-after": value}, NOW) >= 0
