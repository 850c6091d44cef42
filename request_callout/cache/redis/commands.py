"""The commands of the cache, for clients that only differ in which server a command goes to."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

from redis.exceptions import RedisError

from request_callout.cache.redis.connections import Argument
from request_callout.cache.redis.pool import Pool

Arguments = tuple[Argument, ...]

_SCAN_COUNT = 500

# A check and a deletion that nothing can come between (https://redis.io/docs/latest/commands/set/, Patterns).
_RELEASE = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"


class Commands(ABC):
    """What ``RedisClient`` promises, over the methods that know where the servers are."""

    def __init__(self, total_s: float) -> None:
        self._total_s = total_s

    @abstractmethod
    def _run(self, key: str, arguments: Arguments, deadline: float, *, writing: bool) -> Any:
        """The reply of the server that has this key."""

    @abstractmethod
    def _readers(self, deadline: float) -> Sequence[Pool]:
        """The servers that ``get`` may go to now."""

    @abstractmethod
    def _masters(self, deadline: float) -> Sequence[Pool]:
        """The servers that have all keys between them."""

    @abstractmethod
    def _doubt(self, server: Pool) -> None:
        """Find out anew what is where, before the next command: this server failed."""

    def get(self, key: str) -> bytes | None:
        value: bytes | None = self._run(key, ("GET", key), self._deadline(), writing=False)
        return value

    def set(self, key: str, value: bytes, ttl_ms: int) -> None:
        self._run(key, ("SET", key, value, "PX", ttl_ms), self._deadline(), writing=True)

    def acquire(self, key: str, token: bytes, ttl_ms: int) -> bool:
        reply = self._run(key, ("SET", key, token, "NX", "PX", ttl_ms), self._deadline(), writing=True)
        return reply is not None

    def release(self, key: str, token: bytes) -> None:
        self._run(key, ("EVAL", _RELEASE, 1, key, token), self._deadline(), writing=True)

    def ping(self) -> None:
        deadline = self._deadline()
        for server in self._readers(deadline):
            try:
                server.call(("PING",), deadline)
            except (RedisError, OSError):
                self._doubt(server)  # or a failover would not be noticed as long as there are only pings
                raise

    def scan(self, match: str) -> Iterator[str]:
        for server in self._masters(self._deadline()):
            cursor = b"0"
            while True:
                page = server.call(("SCAN", cursor, "MATCH", match, "COUNT", _SCAN_COUNT), self._deadline())
                cursor, names = page
                for name in names:
                    yield name.decode("utf-8", "replace")
                if cursor == b"0":
                    break

    def ttl_ms(self, key: str) -> int | None:
        left_ms: int = self._run(key, ("PTTL", key), self._deadline(), writing=False)
        return left_ms if left_ms >= 0 else None

    def delete(self, key: str) -> bool:
        deleted: int = self._run(key, ("DEL", key), self._deadline(), writing=True)
        return deleted > 0

    def _deadline(self) -> float:
        return time.monotonic() + self._total_s


class OneServer(Commands):
    """A single server, or a proxy that looks like one.

    A proxy (Envoy, Twemproxy) keeps no state for a connection and may send each command elsewhere, so there are no
    databases (see ``clients``) and SCAN, which asks one server for all its keys, is refused here.
    """

    def __init__(self, server: Pool, total_s: float, *, is_proxy: bool) -> None:
        super().__init__(total_s)
        self._server = server
        self._is_proxy = is_proxy

    def close(self) -> None:
        self._server.close()

    def _run(self, key: str, arguments: Arguments, deadline: float, *, writing: bool) -> Any:
        return self._server.call(arguments, deadline)

    def _readers(self, deadline: float) -> Sequence[Pool]:
        return (self._server,)

    def _doubt(self, server: Pool) -> None:
        """There is nothing to find out."""

    def _masters(self, deadline: float) -> Sequence[Pool]:
        if self._is_proxy:
            raise RedisError("keys can't be listed through a proxy (connection_is_proxied)")
        return (self._server,)
