"""Circuits by themselves: what opens one, what closes it, and what says nothing."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from request_callout.config.model import CircuitBreaker
from request_callout.engine.circuits import Circuit, Circuits


def settings(**changed: Any) -> CircuitBreaker:
    values: dict[str, Any] = {
        "failures": 3,
        "failure_rate": None,
        "min_requests": 10,
        "window_ms": 10_000,
        "open_ms": 5_000,
        "half_open_probes": 1,
    }
    return CircuitBreaker(**{**values, **changed})


def call(circuit: Circuit, now: float, *, fails: bool) -> bool:
    """One call from its beginning to its end; gives whether it was let through."""
    if not circuit.let_through(now):
        return False
    if fails:
        circuit.failed(circuit.period, now)
    else:
        circuit.succeeded(circuit.period, now)
    return True


def state(circuit: Circuit) -> str:
    return circuit.state


def opened(**changed: Any) -> Circuit:
    """A circuit that was opened at 0."""
    circuit = Circuit(settings(**changed))
    while circuit.state == "closed":
        call(circuit, 0.0, fails=True)
    return circuit


def test_enough_failures_open_it() -> None:
    """With the configured number of failures in the window it is open; successes between them do not matter."""
    circuit = Circuit(settings())
    for fails in (True, False, True, False, False):
        assert call(circuit, 0.0, fails=fails)
    assert state(circuit) == "closed"
    assert call(circuit, 0.0, fails=True)
    assert state(circuit) == "open"
    assert not circuit.let_through(0.0)


def test_failures_outside_the_window_do_not_count() -> None:
    """Failures count for as long as the window is."""
    circuit = Circuit(settings())
    for now in (0.0, 5.0, 10.0, 15.0, 20.0):
        call(circuit, now, fails=True)
    assert state(circuit) == "closed"
    call(circuit, 20.5, fails=True)
    assert state(circuit) == "open"


def test_a_rate_needs_enough_calls() -> None:
    """By rate it opens when the share of failures is reached among at least min_requests calls."""
    circuit = Circuit(settings(failures=None, failure_rate=50.0))
    for fails in (True, True, True, True, True, False, False, False, False):
        call(circuit, 0.0, fails=fails)
    assert state(circuit) == "closed", "all failed at first, but these were few"
    call(circuit, 0.0, fails=True)
    assert state(circuit) == "open"


def test_a_share_below_the_rate_does_not_open_it() -> None:
    """However many failures there are, they do not open it while their share is smaller."""
    circuit = Circuit(settings(failures=None, failure_rate=50.0))
    for number in range(1000):
        call(circuit, number / 1000, fails=number % 5 in (1, 3))
    assert state(circuit) == "closed"


def test_either_threshold_opens_it() -> None:
    """With both given, the one that is reached first counts."""
    assert opened(failures=2, failure_rate=50.0).state == "open"
    by_rate = Circuit(settings(failures=1000, failure_rate=50.0))
    for _ in range(10):
        call(by_rate, 0.0, fails=True)
    assert by_rate.state == "open"


def test_it_is_half_open_after_its_time() -> None:
    """Nothing is let through for open_ms; then as many calls as there are probes."""
    circuit = opened(half_open_probes=2)
    assert not circuit.let_through(4.999)
    assert [circuit.let_through(5.0) for _ in range(4)] == [True, True, False, False]


def test_probes_that_succeed_close_it() -> None:
    """When all probes have succeeded it is closed, and what was before is forgotten."""
    circuit = opened(half_open_probes=2)
    assert circuit.let_through(5.0)
    period = circuit.period
    assert not circuit.succeeded(period, 5.0)
    assert state(circuit) == "half_open"
    assert circuit.let_through(5.1)
    assert circuit.succeeded(period, 5.2)
    assert state(circuit) == "closed"
    for _ in range(2):
        call(circuit, 5.3, fails=True)
    assert state(circuit) == "closed"


def test_a_probe_that_fails_opens_it_again() -> None:
    """The first probe that fails opens it for another open_ms, whatever the others do."""
    circuit = opened(half_open_probes=2)
    assert circuit.let_through(5.0)
    assert circuit.let_through(5.0)
    period = circuit.period
    assert circuit.failed(period, 6.0)
    circuit.succeeded(period, 6.5)
    assert (circuit.state, circuit.open_until) == ("open", 11.0)
    assert not circuit.let_through(10.999)
    assert circuit.let_through(11.0)


def test_a_probe_that_tells_nothing_makes_room_for_another() -> None:
    """A probe that was ended leaves its place."""
    circuit = opened()
    assert circuit.let_through(5.0)
    assert not circuit.let_through(5.0)
    circuit.unknown(circuit.period)
    assert circuit.let_through(5.0)


def test_what_began_before_says_nothing_after() -> None:
    """An outcome of a call that began before a change of state neither closes nor opens the circuit."""
    circuit = Circuit(settings())
    assert circuit.let_through(0.0)
    before = circuit.period
    for _ in range(3):
        call(circuit, 0.0, fails=True)
    assert circuit.let_through(5.0)
    assert not circuit.failed(before, 5.0)
    assert not circuit.succeeded(before, 5.0)
    circuit.unknown(before)
    assert state(circuit) == "half_open"
    assert not circuit.let_through(5.0), "the probe is still under way"


@given(st.lists(st.tuples(st.floats(0, 3), st.sampled_from(["fails", "succeeds", "is ended"])), max_size=200))
def test_it_never_stays_shut(steps: list[tuple[float, str]]) -> None:
    """Whatever happens, open_ms after it all a call is let through, and no more than the probes at once."""
    circuit = Circuit(settings(half_open_probes=2))
    now = 0.0
    for pause, what in steps:
        now += pause
        if not circuit.let_through(now):
            assert state(circuit) == "open"
            continue
        if what == "fails":
            circuit.failed(circuit.period, now)
        elif what == "succeeds":
            circuit.succeeded(circuit.period, now)
        else:
            circuit.unknown(circuit.period)
    assert circuit.let_through(now + 5)


def test_one_circuit_for_equal_thresholds() -> None:
    """A target has one circuit for all who ask for the same thresholds; others have their own."""
    circuits = Circuits()
    one = circuits.of("http://a:80", settings())
    assert circuits.of("http://a:80", settings()) is one
    assert circuits.of("http://a:81", settings()) is not one
    assert circuits.of("http://a:80", settings(failures=1)) is not one


def test_the_number_of_circuits_is_bounded() -> None:
    """Of too many circuits the one that was used longest ago is forgotten."""
    circuits = Circuits(most=3)
    kept = [circuits.of(f"http://{name}:80", settings()) for name in "abc"]
    circuits.of("http://a:80", settings())
    circuits.of("http://d:80", settings())
    assert len(circuits) == 3
    assert circuits.of("http://a:80", settings()) is kept[0]
    assert circuits.of("http://b:80", settings()) is not kept[1]


def test_a_circuit_that_is_forgotten_leaves_no_count_behind() -> None:
    """Who adds up the changes has a count for each circuit there is, also if a call outlasts that of its target."""
    circuits = Circuits(most=1)
    states: Counter[str | None] = Counter()

    def told(target: str, before: str | None, after: str | None) -> None:
        states.subtract([before])
        states.update([after])

    circuits.told = told
    forgotten = circuits.of("http://a:80", settings(failures=1))
    assert forgotten.let_through(0.0)
    circuits.of("http://b:80", settings())
    forgotten.failed(forgotten.period, 0.0)
    del states[None]
    assert +states == {"closed": 1}
    assert min(states.values()) >= 0
