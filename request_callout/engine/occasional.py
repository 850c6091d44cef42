"""Log lines that would come with every request: one in a while is enough."""

from __future__ import annotations

import time

_PAUSE_S = 60.0


class Occasional:
    """Says when a line that is repeated may be written: at once, and then once a minute for each subject."""

    __slots__ = ("_last_at",)

    def __init__(self) -> None:
        self._last_at: dict[str, float] = {}

    def due(self, subject: str) -> bool:
        """Whether to write it now; whoever asks and gets True does. There must be few subjects."""
        now = time.monotonic()
        if now - self._last_at.get(subject, float("-inf")) < _PAUSE_S:
            return False
        self._last_at[subject] = now
        return True
