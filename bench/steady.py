"""Kong's side of a plugin server under a steady load: so many events a second, whether earlier ones have ended or not.

As clients do not wait for each other, an event that takes long does not keep the next from beginning; each waits on a
connection of its own, as in Kong.
"""

from __future__ import annotations

import select
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bench.load import ProtobufConnection
from bench.processes import Measured


@dataclass(frozen=True)
class Ended:
    """One event: when it was due, in seconds from the beginning, how long it took from then on, and how it ended."""

    due_s: float
    took_s: float
    failed: bool


class SteadyLoad:
    """Connections to one server, opened as they are needed."""

    def __init__(self, server: Measured, config: Mapping[str, Any], results: Mapping[str, Any]) -> None:
        self._server = server
        self._results = results
        first = ProtobufConnection(server.address, results)
        self._instance = first.start(config)
        self._idle = deque([first])

    def run(
        self, per_second: float, seconds: float, at: Mapping[float, Callable[[], None]] | None = None
    ) -> list[Ended]:
        """That load for so long, to the end of its last event; ``at`` says what to do at which second."""
        poll = select.epoll()
        running: dict[int, tuple[ProtobufConnection, float]] = {}
        ended: list[Ended] = []
        left = sorted((at or {}).items())
        count, begun = int(per_second * seconds), 0
        started = time.perf_counter()
        try:
            while len(ended) < count:
                now = time.perf_counter() - started
                while left and left[0][0] <= now:
                    left.pop(0)[1]()
                while begun < count and begun / per_second <= now:
                    connection = self._idle.pop() if self._idle else self._opened()
                    running[connection.sock.fileno()] = (connection, begun / per_second)
                    poll.register(connection.sock.fileno(), select.EPOLLIN)
                    connection.begin(self._instance)
                    begun += 1
                pause_s = begun / per_second - now if begun < count else 1.0
                for descriptor, _ in poll.poll(max(0.0, min(pause_s, 1.0))):
                    connection, due_s = running[descriptor]
                    if not connection.advance():
                        continue
                    del running[descriptor]
                    if not connection.exited:  # else the descriptor is closed, and has left the poll by itself
                        poll.unregister(descriptor)
                    ended.append(Ended(due_s, time.perf_counter() - started - due_s, connection.exited))
                    self._idle.append(connection)
        finally:
            poll.close()
        return ended

    def _opened(self) -> ProtobufConnection:
        return ProtobufConnection(self._server.address, self._results)

    def close(self) -> None:
        """Close all connections; to be called when no event is running."""
        for connection in self._idle:
            connection.sock.close()
