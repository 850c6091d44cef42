"""Responses kept in the memory of one process: bounded by bytes and by number, each with a time of its own.

All dictionaries of a process share one least-recently-used order, so that the bounds hold for the process, however
many names its configurations give. What is over makes room first.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable
from typing import NamedTuple

from cachetools import Cache, LRUCache

from request_callout.cache.store import CachedResponse, Lease, OwnLease

_Place = tuple[str, str]
_FEW = 64


class _Entry(NamedTuple):
    """``ends_at`` is a moment of the clock, from which on the response is not given any more."""

    response: CachedResponse
    ends_at: float
    size_bytes: int


class MemoryStores:
    """The memory stores of a process by ``dictionary_name``; together they hold no more than these bounds."""

    def __init__(self, max_bytes: int, max_entries: int, clock: Callable[[], float] = time.monotonic) -> None:
        # Not cachetools' own cache with times for each entry: a look-up in it takes five times as long.
        self._entries: LRUCache[_Place, _Entry] = LRUCache(max_bytes, getsizeof=lambda entry: entry.size_bytes)
        self._ends: list[tuple[float, _Place]] = []  # a heap; it may name entries that are gone or replaced
        self._max_entries = max_entries
        self._clock = clock
        self._stores: dict[str, MemoryStore] = {}

    def named(self, dictionary_name: str) -> MemoryStore:
        """The store that every configuration with this name shares."""
        store = self._stores.get(dictionary_name)
        if store is None:
            store = self._stores[dictionary_name] = MemoryStore(dictionary_name, self)
        return store

    def get(self, place: _Place) -> CachedResponse | None:
        """The response at a place, if its time is not over."""
        entry = self._entries.get(place)
        return entry.response if entry is not None and self._clock() < entry.ends_at else None

    def put(self, place: _Place, response: CachedResponse, ttl_s: float) -> None:
        """Keep it, unless it alone is over the bounds; the least recently used ones make room."""
        entries = self._entries
        size_bytes = response.size_bytes + len(place[1])
        if ttl_s <= 0 or size_bytes > entries.maxsize:
            return
        now = self._clock()
        self._drop_over(now)
        if place not in entries and len(entries) >= self._max_entries:
            entries.popitem()
        entries[place] = _Entry(response, now + ttl_s, size_bytes)
        heapq.heappush(self._ends, (now + ttl_s, place))

    def _drop_over(self, now: float) -> None:
        if len(self._ends) > 2 * len(self._entries) + _FEW:
            self._ends = [(self._ends_at(place), place) for place in self._entries]
            heapq.heapify(self._ends)
        while self._ends and self._ends[0][0] <= now:
            _, place = heapq.heappop(self._ends)
            if place in self._entries and self._ends_at(place) <= now:
                del self._entries[place]

    def _ends_at(self, place: _Place) -> float:
        return Cache.__getitem__(self._entries, place).ends_at  # without being a use of it


class MemoryStore:
    """What is kept under one ``dictionary_name``; entries end exactly when their time is over."""

    shared = False

    def __init__(self, name: str, stores: MemoryStores) -> None:
        self._name = name
        self._stores = stores

    def get(self, key: str) -> CachedResponse | None:
        """See ``Store``."""
        return self._stores.get((self._name, key))

    def put(self, key: str, response: CachedResponse, ttl_s: float) -> None:
        """See ``Store``."""
        self._stores.put((self._name, key), response, ttl_s)

    def lease(self, key: str, lease_s: float) -> Lease | None:
        """Always: no other process sees this store."""
        return OwnLease()
