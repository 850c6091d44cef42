"""Whether a Redis is asked at all: after a failure not before it has answered a probe.

While the circuit is open nobody waits for a Redis that does not answer. One greenlet asks it for a sign of life, after
a pause that grows each time, and closes the circuit when it gets one. A Redis that answers the probe but fails the
next commands again is asked as rarely as one that does not answer: the pause goes on growing where it was, until the
circuit has stayed closed for a while.

What waits for an answer when the circuit opens goes on waiting, within its own time limits.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import gevent

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0
_STEADY_S = 2 * LONGEST_PAUSE_S
_SPREAD = 0.2  # so that the processes of a gateway do not probe in step


class Circuit:
    """Closed at first. ``turn`` counts how often it was opened."""

    def __init__(
        self, probe: Callable[[], None], failed: Callable[[Exception], None], mended: Callable[[], None]
    ) -> None:
        """``probe`` raises if the Redis can't be used; the others are told when a probe failed and when one did not."""
        self.closed = True
        self.turn = 0
        self._probe = probe
        self._failed = failed
        self._mended = mended
        self._pause_s = FIRST_PAUSE_S
        self._closed_at = float("-inf")
        self._prober: gevent.Greenlet[..., None] | None = None

    def open(self, turn: int) -> bool:
        """Stop asking, because a command failed that was begun in this turn; False for one of an earlier turn."""
        if not self.closed or turn != self.turn:
            return False
        self.closed = False
        self.turn += 1
        steady = time.monotonic() - self._closed_at >= _STEADY_S
        self._pause_s = FIRST_PAUSE_S if steady else self._longer()
        self._prober = gevent.spawn(self._until_it_answers)
        return True

    def stop(self) -> None:
        """Stay open for good, without probing."""
        self.closed = False
        prober, self._prober = self._prober, None
        if prober is not None:
            prober.kill(block=False)

    def _until_it_answers(self) -> None:
        while True:
            spread = 1 + random.uniform(-_SPREAD, _SPREAD)  # noqa: S311 - no secret is made of it
            gevent.sleep(self._pause_s * spread, ref=False)  # a process that has nothing else to do may end
            try:
                self._probe()
            except Exception as error:
                self._failed(error)
                self._pause_s = self._longer()
            else:
                break
        self._prober = None
        self._closed_at = time.monotonic()
        self.closed = True
        self._mended()

    def _longer(self) -> float:
        return min(2 * self._pause_s, LONGEST_PAUSE_S)
