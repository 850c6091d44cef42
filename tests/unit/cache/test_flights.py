from __future__ import annotations

import gevent
import pytest

from request_callout.cache.flights import Flight, Flights


@pytest.fixture
def flights() -> Flights[str]:
    return Flights()


def waiting(flight: Flight[str], timeout_s: float = 5) -> gevent.Greenlet[..., bool]:
    """A greenlet that waits for the flight by the time this returns."""
    greenlet = gevent.spawn(flight.wait, timeout_s)
    gevent.sleep(0)
    return greenlet


def test_who_waits_and_who_comes_later_gets_the_outcome(flights: Flights[str]) -> None:
    """The outcome reaches those that wait and those that find the flight before it is closed."""
    flight = flights.open("k")
    greenlet = waiting(flight)
    flight.settle("done")
    assert greenlet.get(timeout=5) is True
    late = flights.get("k")
    assert late is flight
    assert late.outcome == "done"


def test_a_closed_flight_is_not_found(flights: Flights[str]) -> None:
    """After it is closed the next one opens a flight of its own; closing the old one again does not touch that."""
    first = flights.open("k")
    first.close()
    assert flights.get("k") is None
    second = flights.open("k")
    first.close()
    assert flights.get("k") is second


def test_a_flight_without_an_outcome_wakes_those_that_wait(flights: Flights[str]) -> None:
    """Those that wait for one that was ended are told at once, with no outcome."""
    flight = flights.open("k")
    greenlets = [waiting(flight) for _ in range(3)]
    flight.close()
    assert [greenlet.get(timeout=5) for greenlet in greenlets] == [True] * 3
    assert flight.outcome is None


def test_waiting_is_bounded(flights: Flights[str]) -> None:
    """A wait ends with its time."""
    assert flights.open("k").wait(0.001) is False


def test_a_killed_follower_leaves_nothing(flights: Flights[str]) -> None:
    """Whoever is killed while it waits is forgotten, and the others are told as ever."""
    flight = flights.open("k")
    killed, other = waiting(flight), waiting(flight)
    killed.kill()
    flight.settle("done")
    flight.close()
    assert other.get(timeout=5) is True
    assert len(flights) == 0


def test_keys_are_apart(flights: Flights[str]) -> None:
    """A flight is found under its own key only."""
    flights.open("a")
    assert flights.get("b") is None
    assert len(flights) == 1
