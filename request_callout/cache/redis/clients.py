"""The Redis commands that the cache needs, over one server, sentinels or a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from redis.credentials import CredentialProvider

from request_callout.config import model


class RedisClient(Protocol):
    """A Redis, however it is reached. All methods may be called by many greenlets at once.

    Each may raise ``redis.exceptions.RedisError`` or ``OSError``; one that takes too long raises
    ``redis.exceptions.TimeoutError`` (the rule is in ``connections``).
    """

    def get(self, key: str) -> bytes | None:
        """The value of a key, None if there is none."""

    def set(self, key: str, value: bytes, ttl_ms: int) -> None:
        """Keep a value for so many milliseconds (``SET key value PX ttl_ms``)."""

    def acquire(self, key: str, token: bytes, ttl_ms: int) -> bool:
        """Put the token under a key that nothing is under yet (``SET key token NX PX ttl_ms``); False: there was."""

    def release(self, key: str, token: bytes) -> None:
        """Delete a key if it still holds this token, in one step."""

    def ping(self) -> None:
        """Ask every node that ``get`` may go to for a sign of life."""

    def scan(self, match: str) -> Iterator[str]:
        """The keys that match a glob pattern, on all masters of a cluster; a key may come more than once."""

    def ttl_ms(self, key: str) -> int | None:
        """The milliseconds a key has left; None: no such key, or it has no end."""

    def delete(self, key: str) -> bool:
        """Delete a key; False: there was none."""

    def close(self) -> None:
        """Close all connections; a command that comes later opens new ones."""


def connect(
    settings: model.Redis, credentials: CredentialProvider | None = None, ca_file: str | None = None
) -> RedisClient:
    """A client for these settings; it makes no connection before its first command.

    ``credentials`` take the place of the username and password (not of the sentinels'). ``ca_file`` (PEM) takes the
    place of the system's CAs.
    """
    raise NotImplementedError
