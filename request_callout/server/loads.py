"""How many connections each worker has, in memory that all of them share; and connections on their way to another.

Kong keeps its connections, and whichever worker is quicker accepts: without a look at each other one worker may end up
with most of them. And when a worker was replaced, the new one has none.
"""

from __future__ import annotations

import contextlib
import mmap
import socket

_ABSENT = 0xFFFFFFFF


class Loads:
    """One number a worker. To be made before the workers are forked."""

    def __init__(self, workers: int) -> None:
        # memoryviews of a mapping that is anonymous and shared: what one process writes all read.
        self._connections = memoryview(mmap.mmap(-1, 4 * workers)).cast("I")
        for place in range(workers):
            self._connections[place] = _ABSENT
        # Connections that a worker gives away wait here as those that nobody has accepted do in the listening socket.
        # All processes have both ends: nothing is lost with one of them.
        self._giving, self.given = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._giving.setblocking(False)
        self.given.setblocking(False)

    def absent(self, place: int) -> None:
        """Nobody has to leave connections to this worker: it takes none."""
        self._connections[place] = _ABSENT

    def set(self, place: int, connections: int) -> None:
        """Tell how many connections this worker has."""
        self._connections[place] = connections

    def above_others(self, place: int) -> bool:
        """Whether another worker has fewer connections than this one."""
        return self._connections[place] > min(self._connections)

    def surplus(self, place: int) -> int:
        """How many connections this worker has above a fair share, if another has so few that it matters."""
        present = [count for count in self._connections if count != _ABSENT]
        mine = self._connections[place]
        if mine == _ABSENT or mine <= min(present) + 1:
            return 0
        return max(0, mine - -(-sum(present) // len(present)))

    def give(self, connection: int) -> bool:
        """Leave a connection, by its file descriptor, to the other workers; false if that can't be now."""
        with contextlib.suppress(OSError):
            return bool(socket.send_fds(self._giving, [b"c"], [connection]))
        return False

    def take(self) -> socket.socket:
        """A connection that was given away. Raises BlockingIOError if there is none (any more)."""
        _, descriptors, _, _ = socket.recv_fds(self.given, 1, 1)
        if not descriptors:
            raise BlockingIOError
        return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, fileno=descriptors[0])
