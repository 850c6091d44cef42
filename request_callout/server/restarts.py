"""When a worker that died is started again: at once, and after growing pauses when it dies again and again."""

from __future__ import annotations

STEADY_S = 10.0
"""A worker that lived so long has not died 'again and again'."""
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0


class Restarts:
    """The deaths in a row of the workers at one place."""

    def __init__(self) -> None:
        self.deaths = 0

    def pause_s(self, lived_s: float) -> float:
        """How long to wait after a death of a worker that lived so long: 0, 0.5, 1, 2, ... at most 30 seconds."""
        self.deaths = self.deaths + 1 if lived_s < STEADY_S else 1
        if self.deaths == 1:
            return 0.0
        return min(_FIRST_PAUSE_S * 2.0 ** min(self.deaths - 2, 16), _LONGEST_PAUSE_S)
