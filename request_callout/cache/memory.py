"""Responses kept in the memory of one process: bounded by bytes, each with a time of its own."""

from __future__ import annotations

import time
from collections.abc import Callable

from cachetools import TLRUCache

from request_callout.cache.store import CachedResponse, Lease, OwnLease

_Entry = tuple[CachedResponse, float]


class MemoryStore:
    """A least-recently-used store of at most ``max_bytes``; entries end exactly when their time is over."""

    shared = False

    def __init__(self, max_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._entries: TLRUCache[str, _Entry] = TLRUCache(
            maxsize=max_bytes,
            ttu=lambda _key, entry, now: now + entry[1],
            timer=clock,
            getsizeof=lambda entry: entry[0].size_bytes,
        )

    def get(self, key: str) -> CachedResponse | None:
        entry = self._entries.get(key)
        return None if entry is None else entry[0]

    def put(self, key: str, response: CachedResponse, ttl_s: float) -> None:
        if ttl_s > 0 and response.size_bytes <= self._entries.maxsize:
            self._entries[key] = (response, ttl_s)

    def lease(self, key: str, lease_s: float) -> Lease | None:
        """Always: no other process sees this store."""
        return OwnLease()


class MemoryStores:
    """The memory stores of a process by ``dictionary_name``, made when first asked for."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._stores: dict[str, MemoryStore] = {}

    def named(self, dictionary_name: str) -> MemoryStore:
        """The store that every configuration with this name shares."""
        store = self._stores.get(dictionary_name)
        if store is None:
            store = self._stores[dictionary_name] = MemoryStore(self._max_bytes)
        return store
