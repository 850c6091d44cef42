"""Log lines that would come with every request: one in a while is enough."""

from __future__ import annotations

import time

_PAUSE_S = 60.0


class Occasional:
    """Says when a line that is repeated may be written: at once, and then once a minute."""

    __slots__ = ("_last_at",)

    def __init__(self) -> None:
        self._last_at = float("-inf")

    def due(self) -> bool:
        """Whether to write it now; whoever asks and gets True does."""
        now = time.monotonic()
        if now - self._last_at < _PAUSE_S:
            return False
        self._last_at = now
        return True
