"""Whether a Redis is asked at all: after a failure not before it has answered a probe.

While the circuit is open nobody waits for a Redis that does not answer. One greenlet asks it for a sign of life, after
a pause that grows each time, and closes the circuit when it gets one. So that a Redis that answers the probe but fails
the next commands again is left alone too, each opening begins with a longer pause than the last one, until the circuit
has stayed closed for a while.

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


def _wait(pause_s: float) -> None:
    spread = random.uniform(1 - _SPREAD, 1 + _SPREAD)  # noqa: S311 - no secret is made of it
    gevent.sleep(pause_s * spread, ref=False)  # a process that has nothing else to do may end


class Circuit:
    """``closed``: the Redis may be asked; at first it may. ``turn`` counts how often the circuit was opened.

    ``mended_at`` is when it was closed again, a moment of ``time.time()``.
    """

    def __init__(
        self,
        probe: Callable[[], None],
        failed: Callable[[Exception], None],
        mended: Callable[[], None],
        wait: Callable[[float], None] = _wait,
    ) -> None:
        """``probe`` raises if the Redis can't be used. ``failed`` and ``mended`` are told of its outcome."""
        self.closed = True
        self.turn = 0
        self.mended_at = float("-inf")
        self._wait = wait
        self._probe = probe
        self._failed = failed
        self._mended = mended
        self._first_pause_s = FIRST_PAUSE_S
        self._closed_at = float("-inf")
        self._stopped = False
        self._prober: gevent.Greenlet[..., None] | None = None

    def open(self, turn: int) -> bool:
        """Stop asking, because a command failed that was begun in this turn; False for one of an earlier turn."""
        if not self.closed or turn != self.turn:
            return False
        self.closed = False
        self.turn += 1
        steady = time.monotonic() - self._closed_at >= _STEADY_S
        self._first_pause_s = FIRST_PAUSE_S if steady else _longer(self._first_pause_s)
        self._prober = gevent.spawn(self._until_it_answers)
        return True

    def stop(self) -> None:
        """Stay open for good, without probing."""
        self._stopped = True
        self.closed = False
        if self._prober is not None:
            self._prober.kill(block=False)

    def _until_it_answers(self) -> None:
        pause_s = self._first_pause_s
        while True:
            self._wait(pause_s)
            try:
                self._probe()
            except Exception as error:
                self._failed(error)
                pause_s = _longer(pause_s)
            else:
                break
        self._prober = None
        if not self._stopped:
            self._closed_at = time.monotonic()
            self.mended_at = time.time()
            self.closed = True
            self._mended()


def _longer(pause_s: float) -> float:
    return min(2 * pause_s, LONGEST_PAUSE_S)
