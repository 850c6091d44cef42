"""Responses kept in the memory of one process: bounded by bytes and by number, each with a time of its own.

All dictionaries of a process share one least-recently-used order, so that the bounds hold for the process, however
many names its configurations give.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from cachetools import TLRUCache

from request_callout.cache.store import CachedResponse, Lease, OwnLease

_Key = tuple[str, str]
_Entry = tuple[CachedResponse, float, int]
_Entries = TLRUCache[_Key, _Entry]


class MemoryStore:
    """What is kept under one ``dictionary_name``; entries end exactly when their time is over."""

    shared = False

    def __init__(self, name: str, entries: _Entries, max_entries: int) -> None:
        self._name = name
        self._entries = entries
        self._max_entries = max_entries

    def get(self, key: str) -> CachedResponse | None:
        entry = self._entries.get((self._name, key))
        return None if entry is None else entry[0]

    def put(self, key: str, response: CachedResponse, ttl_s: float) -> None:
        """Keep it, unless it alone is over the bounds; the least recently used ones make room."""
        size_bytes = response.size_bytes + len(key)
        entries, place = self._entries, (self._name, key)
        if ttl_s > 0 and size_bytes <= entries.maxsize:
            if place not in entries and len(entries) >= self._max_entries:
                entries.popitem()
            entries[place] = (response, ttl_s, size_bytes)

    def lease(self, key: str, lease_s: float) -> Lease | None:
        """Always: no other process sees this store."""
        return OwnLease()


class MemoryStores:
    """The memory stores of a process by ``dictionary_name``; together they hold no more than these bounds."""

    def __init__(self, max_bytes: int, max_entries: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._entries: _Entries = TLRUCache(
            maxsize=max_bytes,
            ttu=lambda _place, entry, now: now + entry[1],
            timer=clock,
            getsizeof=lambda entry: entry[2],
        )
        self._max_entries = max_entries
        self._stores: dict[str, MemoryStore] = {}

    def named(self, dictionary_name: str) -> MemoryStore:
        """The store that every configuration with this name shares."""
        store = self._stores.get(dictionary_name)
        if store is None:
            store = self._stores[dictionary_name] = MemoryStore(dictionary_name, self._entries, self._max_entries)
        return store
