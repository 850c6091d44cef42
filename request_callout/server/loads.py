"""How many connections each worker has, in memory that all of them share.

Kong keeps its connections, and whichever worker is quicker accepts: without a look at each other one worker may end up
with most of them.
"""

from __future__ import annotations

import mmap

_ABSENT = 0xFFFFFFFF


class Loads:
    """One number a worker. To be made before the workers are forked."""

    def __init__(self, workers: int) -> None:
        # memoryviews of a mapping that is anonymous and shared: what one process writes all read.
        self._connections = memoryview(mmap.mmap(-1, 4 * workers)).cast("I")
        for place in range(workers):
            self._connections[place] = _ABSENT

    def absent(self, place: int) -> None:
        """Nobody has to leave connections to this worker: it takes none."""
        self._connections[place] = _ABSENT

    def set(self, place: int, connections: int) -> None:
        """Tell how many connections this worker has."""
        self._connections[place] = connections

    def above_others(self, place: int) -> bool:
        """Whether another worker has fewer connections than this one."""
        return self._connections[place] > min(self._connections)
