"""What a cache keeps, and the interface of the places it is kept in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from request_callout.values import Kept

NOT_DECODED: Any = object()
"""The body of an entry that was kept without being decoded."""


@dataclass(frozen=True, slots=True)
class CachedResponse:
    """A callout's response as received: nobody who reads it may change it, it is shared by all hits.

    ``stored_at`` is a moment of ``time.time()``; from ``fresh_s`` seconds after it on the entry is stale. ``callout``
    and ``plugin_id`` say whose it is, for the operator only. ``varies`` has the request headers (names in lower case;
    None: it was not sent) that the answer was chosen by (RFC 9111 section 4.1).
    """

    status: int
    headers: Mapping[str, str | list[str]]
    raw_body: bytes
    body: Any = NOT_DECODED
    stored_at: float = 0.0
    fresh_s: float = float("inf")
    callout: str = ""
    plugin_id: str = ""
    varies: Mapping[str, str | None] = field(default_factory=dict)
    tables: dict[str, Kept] = field(default_factory=dict, compare=False, repr=False)
    """The table ``response`` by the format of the decoded body, with what is made of it for Kong."""

    @property
    def size_bytes(self) -> int:
        """Roughly what it occupies; a decoded body, and what is made of it, is six times its text."""
        headers = sum(len(name) + len(str(value)) for name, value in self.headers.items())
        return 256 + headers + len(self.raw_body) * (1 if self.body is NOT_DECODED else 7)


class Lease(Protocol):
    """The right to fetch what other processes are waiting for."""

    def release(self) -> None:
        """Let the others go on; never raises, may be called again."""


class OwnLease:
    """A lease that no other process respects, or has to."""

    def release(self) -> None:
        """Nothing to do."""


class Store(Protocol):
    """A place for responses. It never fails a request: what can't be read is a miss."""

    @property
    def shared(self) -> bool:
        """Whether other processes see what is put here, so that ``lease`` means something."""

    def get(self, key: str) -> CachedResponse | None:
        """The response kept under a key, None if there is none or its time is over.

        ``body`` is NOT_DECODED if the store keeps bytes only.
        """

    def put(self, key: str, response: CachedResponse, ttl_s: float) -> None:
        """Keep a response for ``ttl_s`` seconds, stale time included."""

    def lease(self, key: str, lease_s: float) -> Lease | None:
        """The lease of a key for at most ``lease_s`` seconds; None: another process holds it.

        A store that can't tell (it is down, or it is not shared) gives a lease that nobody else respects.
        """
