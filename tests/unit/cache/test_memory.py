from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from request_callout.cache.memory import MemoryStore, MemoryStores
from request_callout.cache.store import CachedResponse

RESPONSE = CachedResponse(200, {"x": "1"}, b"body")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def a_store(max_bytes: int = 10_000, max_entries: int = 100, clock: Clock | None = None) -> MemoryStore:
    return MemoryStores(max_bytes, max_entries, clock or Clock()).named("a")


def test_entries_end_on_time() -> None:
    """An entry is there until its own time is over, and not from that moment on."""
    clock = Clock()
    store = a_store(clock=clock)
    store.put("short", RESPONSE, 1)
    store.put("long", RESPONSE, 10)
    clock.now += 0.99
    assert store.get("short") is RESPONSE
    clock.now = 101.0
    assert store.get("short") is None
    assert store.get("long") is RESPONSE


def test_a_new_response_has_a_new_time() -> None:
    """What is put under a key again lives for its own time, shorter or longer."""
    clock = Clock()
    store = a_store(clock=clock)
    store.put("longer", RESPONSE, 1)
    store.put("longer", RESPONSE, 10)
    store.put("shorter", RESPONSE, 10)
    store.put("shorter", RESPONSE, 1)
    clock.now += 5
    assert store.get("longer") is RESPONSE
    assert store.get("shorter") is None


def test_a_ttl_of_zero_keeps_nothing() -> None:
    """A time of zero or less means not to keep it."""
    store = a_store()
    store.put("k", RESPONSE, 0)
    store.put("l", RESPONSE, -1)
    assert store.get("k") is store.get("l") is None


def test_bytes_are_bounded() -> None:
    """The least recently used entry makes room; one that is larger than the bound is not kept."""
    size = RESPONSE.size_bytes + len("a")
    store = a_store(max_bytes=2 * size)
    store.put("a", RESPONSE, 60)
    store.put("b", RESPONSE, 60)
    store.get("a")
    store.put("c", RESPONSE, 60)
    assert [store.get(key) is not None for key in "abc"] == [True, False, True]
    store.put("huge", CachedResponse(200, {}, b"x" * 3 * size), 60)
    assert store.get("huge") is None
    assert store.get("a") is not None


def test_entries_are_bounded() -> None:
    """Their number is bounded too: the least recently used one makes room, one that is put again needs none."""
    store = a_store(max_entries=2)
    store.put("a", RESPONSE, 60)
    store.put("b", RESPONSE, 60)
    store.put("b", RESPONSE, 60)
    store.get("a")
    store.put("c", RESPONSE, 60)
    assert [store.get(key) is not None for key in "abc"] == [True, False, True]


def test_what_is_over_makes_room_first() -> None:
    """Entries whose time is over do not count."""
    clock = Clock()
    store = a_store(max_entries=2, clock=clock)
    store.put("old", RESPONSE, 60)
    store.put("over", RESPONSE, 1)
    clock.now += 2
    store.put("new", RESPONSE, 60)
    assert store.get("old") is RESPONSE


def test_dictionaries_are_shared_by_name() -> None:
    """Two configurations that name the same dictionary share it; another name sees none of it."""
    stores = MemoryStores(10_000, 100)
    assert stores.named("a") is stores.named("a")
    stores.named("a").put("k", RESPONSE, 60)
    assert stores.named("b").get("k") is None


def test_the_bounds_hold_for_all_dictionaries_together() -> None:
    """A process keeps no more than its bounds, however many dictionaries its configurations name."""
    stores = MemoryStores(10_000, 2)
    for name in ("a", "b", "c"):
        stores.named(name).put("k", RESPONSE, 60)
    assert [stores.named(name).get("k") is not None for name in ("a", "b", "c")] == [False, True, True]


def test_many_changes_leave_nothing_behind() -> None:
    """Whatever is put, replaced, driven out or over, only what is kept takes memory, and all of it can be found."""
    clock = Clock()
    stores = MemoryStores(10_000_000, 50, clock)
    store = stores.named("a")
    for number in range(2_000):
        store.put(str(number % 70), RESPONSE, 1 + number % 7)
        clock.now += 0.01
    assert len(stores._ends) <= 2 * 50 + 66
    found = [key for key in map(str, range(70)) if store.get(key) is not None]
    assert found
    assert len(found) <= 50
    assert len(found) == sum(stores._ends_at(place) > clock.now for place in stores._entries)
    clock.now += 10
    store.put("last", RESPONSE, 1)
    assert len(stores._entries) == 1


@given(
    st.lists(
        st.tuples(st.sampled_from(["get", "put"]), st.integers(0, 5), st.integers(0, 4), st.integers(0, 3)),
        max_size=60,
    )
)
def test_it_is_as_a_list_in_the_order_of_use(steps: list[tuple[str, int, int, int]]) -> None:
    """Any run of puts and gets gives what a plain list of entries in the order of their use would give."""
    clock = Clock()
    store = a_store(max_entries=3, clock=clock)
    kept: list[tuple[int, float]] = []  # keys with the ends of their times, the least recently used first
    for kind, key, ttl_s, pause_s in steps:
        clock.now += pause_s
        there = [entry for entry in kept if entry[0] == key]
        if kind == "get":
            expected = bool(there) and clock.now < there[0][1]
            assert (store.get(str(key)) is not None) is expected
            if there:
                kept.append(kept.pop(kept.index(there[0])))
        elif ttl_s > 0:
            kept = [entry for entry in kept if clock.now < entry[1]]
            kept = [entry for entry in kept if entry[0] != key] if there else kept
            kept = kept[-2:] if len(kept) >= 3 else kept
            kept.append((key, clock.now + ttl_s))
        if kind == "put":
            store.put(str(key), RESPONSE, ttl_s)
