"""What sentinels and clusters have in common: servers by address, and finding out anew which of them is what."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable

import gevent
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MasterDownError, MaxConnectionsError, ReadOnlyError, RedisError

from request_callout.cache.redis.pool import Pool

Address = tuple[str, int]

REFRESH_S = 30.0
"""How old what is known may grow before it is asked for again, beside the traffic."""

_AVOID_S = 5.0
_MIN_INTERVAL_S = 1.0
_TRIES = 3


def is_elsewhere(error: RedisError | OSError) -> bool:
    """Whether another server may be able to do what this one could not: it is gone, or is not what it was."""
    if isinstance(error, MaxConnectionsError):
        return False
    return isinstance(error, (RedisConnectionError, OSError, MasterDownError, ReadOnlyError))


class Servers:
    """The pools of servers by address, made when first asked for."""

    def __init__(self, pool: Callable[[Address], Pool]) -> None:
        self._make = pool
        self._pools: dict[Address, Pool] = {}
        self._addresses: dict[Pool, Address] = {}
        self._avoided: dict[Pool, float] = {}

    def at(self, address: Address) -> Pool:
        """The pool of the server at an address."""
        pool = self._pools.get(address)
        if pool is None:
            pool = self._pools[address] = self._make(address)
            self._addresses[pool] = address
        return pool

    def host_of(self, pool: Pool) -> str:
        """The host of a server that came from ``at``."""
        return self._addresses[pool][0]

    def avoid(self, pool: Pool) -> None:
        """Remember for some seconds that a server failed."""
        self._avoided[pool] = time.monotonic() + _AVOID_S

    def good_first(self, pools: Iterable[Pool]) -> list[Pool]:
        """The same servers, those to avoid at the end."""
        if not self._avoided:
            return list(pools)
        now = time.monotonic()
        self._avoided = {pool: until for pool, until in self._avoided.items() if until > now}
        return sorted(pools, key=lambda pool: pool in self._avoided)

    def keep_only(self, pools: Collection[Pool]) -> None:
        """Close and forget all others."""
        for address, pool in list(self._pools.items()):
            if pool not in pools:
                pool.close()
                del self._pools[address], self._addresses[pool]
                self._avoided.pop(pool, None)

    def close(self) -> None:
        """Close all connections."""
        for pool in list(self._pools.values()):
            pool.close()

    def ask_in_turn(self, pools: Iterable[Pool], ask: Callable[[Pool, float], None], deadline: float) -> None:
        """Call ``ask(server, its deadline)`` until one raises nothing; the last error if all do.

        None gets more than a fair share of the time that is left, so that a silent one does not use it up.
        """
        failure: Exception | None = None
        waiting = self.good_first(pools)
        while waiting:
            left_s = deadline - time.monotonic()
            share_s = left_s / min(len(waiting), _TRIES)
            pool = waiting.pop(0)
            try:
                ask(pool, time.monotonic() + share_s)
            except (RedisError, OSError) as error:
                self.avoid(pool)
                failure = error
            else:
                return
        raise failure or RedisConnectionError("no server to ask")


class Refresh:
    """Finds out what is where in a greenlet of its own: one for all who wait, whatever becomes of each of them."""

    def __init__(self, find_out: Callable[[float], None], total_s: float) -> None:
        """``find_out(deadline)`` may raise ``RedisError`` or ``OSError``."""
        self._find_out = find_out
        self._total_s = total_s
        self._running: gevent.Greenlet[[], None] | None = None
        self._started_at = float("-inf")
        self.done_at = float("-inf")
        """When it last worked, a moment of ``time.monotonic()``."""
        self.error: RedisError | OSError | None = None
        """Why it did not work the last time."""

    def start(self) -> None:
        """Begin, unless it is under way or was a moment ago."""
        if time.monotonic() - self._started_at >= _MIN_INTERVAL_S:
            self._begin()

    def wait(self, deadline: float) -> None:
        """Begin unless it is under way, and wait for the end, but no longer than until ``deadline``."""
        self._begin().join(max(0.0, deadline - time.monotonic()))

    def close(self) -> None:
        """End it, if it is under way."""
        if self._running is not None:
            self._running.kill(block=False)

    def _begin(self) -> gevent.Greenlet[[], None]:
        if self._running is None or self._running.dead:
            self._started_at = time.monotonic()
            self._running = gevent.spawn(self._refresh)
        return self._running

    def _refresh(self) -> None:
        try:
            self._find_out(time.monotonic() + self._total_s)
        except (RedisError, OSError) as error:
            self.error = error
        else:
            self.error = None
            self.done_at = time.monotonic()
