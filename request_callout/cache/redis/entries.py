"""The entries of a Redis cache one by one, for those who look into it and clear it.

Errors of Redis are raised here: who asks has to know. Millions of entries are no more than one batch in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from gevent.pool import Pool
from redis.exceptions import ResponseError

from request_callout.cache.redis.clients import RedisClient
from request_callout.cache.redis.encoding import decode
from request_callout.cache.redis.names import LEASE_PREFIX, PREFIX, entry_name
from request_callout.cache.store import CachedResponse

CONCURRENCY = 32
"""Commands under way at the same time: the way to Redis costs more than what it does."""
_BATCH = 16 * CONCURRENCY


@dataclass(frozen=True, slots=True)
class Entry:
    """What is kept under a key. ``response`` None: it can't be read. ``ttl_ms`` None: it has no end."""

    key: str
    size_bytes: int
    ttl_ms: int | None
    response: CachedResponse | None


Wanted = Callable[[CachedResponse], bool]


def find(client: RedisClient, key: str) -> Entry | None:
    """The entry of a key, None if there is none."""
    return _read(client, entry_name(key))


def entries(client: RedisClient) -> Iterator[Entry]:
    """All entries, as they are found: in no order, and one that comes or goes meanwhile may be among them or not."""
    pool = Pool(CONCURRENCY)
    for names in _batches(_names(client)):
        for entry in pool.map(lambda name: _read(client, name), names):
            if entry is not None:
                yield entry


def purge(client: RedisClient, wanted: Wanted | None) -> Iterator[int]:
    """Delete the entries that are wanted, None: all, also those that can't be read; yields how many in each batch."""
    pool = Pool(CONCURRENCY)

    def deleted(name: str) -> bool:
        if wanted is not None:
            response = decode(_value(client, name))
            if response is None or not wanted(response):
                return False
        return client.delete(name)

    for names in _batches(_names(client)):
        yield sum(pool.map(deleted, names))


def _names(client: RedisClient) -> Iterator[str]:
    return (name for name in client.scan(f"{PREFIX}*") if not name.startswith(LEASE_PREFIX))


def _batches(names: Iterator[str]) -> Iterator[Iterable[str]]:
    while batch := dict.fromkeys(islice(names, _BATCH)):  # SCAN may give a name twice
        yield batch


def _read(client: RedisClient, name: str) -> Entry | None:
    value = _value(client, name)
    if value is None:
        return None
    return Entry(name.removeprefix(PREFIX), len(value), client.ttl_ms(name), decode(value))


def _value(client: RedisClient, name: str) -> bytes | None:
    try:
        return client.get(name)
    except ResponseError as error:
        if not str(error).startswith("WRONGTYPE"):
            raise
        return b""
