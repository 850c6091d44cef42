"""Time that passes only when nothing is left to do: greenlets sleep in it for as long as they like, at no cost."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

import gevent
from gevent.event import Event


class SimulatedTime:
    """``now`` is in simulated seconds, from 0."""

    def __init__(self) -> None:
        self.now = 0.0
        self._sleepers: list[tuple[float, int, Event]] = []
        self._numbers = itertools.count()

    def sleep(self, duration_s: float) -> None:
        """Wait until so much of this time has passed."""
        woken = Event()
        sleeper = (self.now + duration_s, next(self._numbers), woken)
        heapq.heappush(self._sleepers, sleeper)
        try:
            woken.wait()
        except BaseException:
            if sleeper in self._sleepers:  # one that was ended takes no time
                self._sleepers.remove(sleeper)
                heapq.heapify(self._sleepers)
            raise

    def run(self, action: Callable[[], None]) -> float:
        """Do this to its end; gives the simulated seconds that it took."""
        started = self.now
        running = gevent.spawn(action)
        gevent.idle()
        while not running.ready():
            assert self._sleepers, "nothing runs and nothing sleeps: it waits for ever"
            self.now, _, woken = heapq.heappop(self._sleepers)
            woken.set()
            gevent.idle()
        running.get()
        return self.now - started
