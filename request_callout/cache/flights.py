"""Equal misses in flight at the same time: the first fetches for all, within one process and one gevent hub.

The first opens a flight and the others find it. Its outcome goes to all who wait and to all who come while it is still
open, which it is until the first has stored what it fetched: so there is no moment at which another one misses. A
flight that is closed without an outcome (its opener was ended) wakes those who wait; the first of them opens the next.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

from gevent.event import Event

_Outcome = TypeVar("_Outcome")


class Flight(Generic[_Outcome]):
    """What one fetches and others wait for; ``outcome`` is None until it is settled."""

    __slots__ = ("_key", "_open", "_over", "outcome")

    def __init__(self, key: Hashable, open_flights: dict[Hashable, Flight[_Outcome]]) -> None:
        self._key = key
        self._open = open_flights
        self._over: Event | None = None  # made for the first who waits: mostly there is none
        self.outcome: _Outcome | None = None

    def settle(self, outcome: _Outcome) -> None:
        """Give the outcome to all who wait or come later."""
        self.outcome = outcome
        if self._over is not None:
            self._over.set()

    def close(self) -> None:
        """Let the next one fetch again; may be called again."""
        if self._open.get(self._key) is self:
            del self._open[self._key]
        if self._over is not None:
            self._over.set()

    def wait(self, timeout_s: float) -> bool:
        """Wait until it is settled or closed; False if that takes longer. Whoever is killed here leaves nothing."""
        if self._over is None:
            self._over = Event()
        return self._over.wait(timeout_s)


class Flights(Generic[_Outcome]):
    """The flights that are open, by key."""

    def __init__(self) -> None:
        self._open: dict[Hashable, Flight[_Outcome]] = {}

    def __len__(self) -> int:
        return len(self._open)

    def get(self, key: Hashable) -> Flight[_Outcome] | None:
        """The open flight of a key."""
        return self._open.get(key)

    def open(self, key: Hashable) -> Flight[_Outcome]:
        """Begin the flight of a key that has none; whoever does has to close it, whatever happens."""
        flight = self._open[key] = Flight(key, self._open)
        return flight
