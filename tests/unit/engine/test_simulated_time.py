"""The simulated time that tests of orders rest on."""

from __future__ import annotations

import gevent
from gevent.event import Event

from tests.unit.engine.simulated_time import SimulatedTime


def test_sleeps_side_by_side_overlap() -> None:
    """Two sleeps at once take as long as the longer, one after the other as long as both."""
    time = SimulatedTime()

    def both() -> None:
        gevent.joinall([gevent.spawn(time.sleep, 2), gevent.spawn(time.sleep, 3)])
        time.sleep(1)

    assert time.run(both) == 4


def test_no_time_passes_while_something_can_run() -> None:
    """However often greenlets hand on to each other, time stands still until all of them wait."""
    time = SimulatedTime()
    seen: list[float] = []

    def hand_on(awaited: Event, then: Event) -> None:
        awaited.wait()
        then.set()

    def chain() -> None:
        sleeper = gevent.spawn(time.sleep, 1)
        first = event = Event()
        for _ in range(100):
            following = Event()
            gevent.spawn(hand_on, event, following)
            event = following
        first.set()
        event.wait()
        seen.append(time.now)
        sleeper.join()

    assert time.run(chain) == 1
    assert seen == [0]


def test_one_that_was_ended_takes_no_time() -> None:
    """What was ended while it slept is not waited for."""
    time = SimulatedTime()

    def short() -> None:
        sleeper = gevent.spawn(time.sleep, 100)
        time.sleep(1)
        sleeper.kill()
        time.sleep(1)

    assert time.run(short) == 2
