from __future__ import annotations

from request_callout.cache.memory import MemoryStore, MemoryStores
from request_callout.cache.store import CachedResponse

RESPONSE = CachedResponse(200, {"x": "1"}, b"body")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_entries_end_on_time() -> None:
    """An entry is there until its own time is over, and not after it."""
    clock = Clock()
    store = MemoryStore(10_000, clock)
    store.put("short", RESPONSE, 1)
    store.put("long", RESPONSE, 10)
    clock.now += 0.99
    assert store.get("short") is RESPONSE
    clock.now += 0.02
    assert store.get("short") is None
    assert store.get("long") is RESPONSE


def test_a_ttl_of_zero_keeps_nothing() -> None:
    """A time of zero or less means not to keep it."""
    store = MemoryStore(10_000)
    store.put("k", RESPONSE, 0)
    assert store.get("k") is None


def test_bytes_are_bounded() -> None:
    """The least recently used entry makes room; one that is larger than the store is not kept."""
    size = RESPONSE.size_bytes
    store = MemoryStore(2 * size)
    store.put("a", RESPONSE, 60)
    store.put("b", RESPONSE, 60)
    store.get("a")
    store.put("c", RESPONSE, 60)
    assert [store.get(key) is not None for key in "abc"] == [True, False, True]
    store.put("huge", CachedResponse(200, {}, b"x" * 3 * size), 60)
    assert store.get("huge") is None
    assert store.get("a") is not None


def test_dictionaries_are_shared_by_name() -> None:
    """Two configurations that name the same dictionary share it; another name is another store."""
    stores = MemoryStores(10_000)
    assert stores.named("a") is stores.named("a")
    stores.named("a").put("k", RESPONSE, 60)
    assert stores.named("b").get("k") is None
