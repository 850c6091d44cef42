"""What a cache keeps, and the interface of the places it is kept in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

NOT_DECODED: Any = object()
"""The body of an entry that was kept without being decoded."""


@dataclass(frozen=True, slots=True)
class CachedResponse:
    """A callout's response as received: nobody who reads it may change it, it is shared by all hits."""

    status: int
    headers: Mapping[str, str | list[str]]
    raw_body: bytes
    body: Any = NOT_DECODED

    @property
    def size_bytes(self) -> int:
        """Roughly what it occupies; a decoded body is counted as four times its text."""
        headers = sum(len(name) + len(str(value)) for name, value in self.headers.items())
        return 256 + headers + len(self.raw_body) * (1 if self.body is NOT_DECODED else 5)


class Store(Protocol):
    """A place for responses. It never fails a request: what can't be read is a miss."""

    def get(self, key: str) -> CachedResponse | None:
        """The response kept under a key, None if there is none or its time is over."""

    def put(self, key: str, response: CachedResponse, ttl_s: float) -> None:
        """Keep a response for ``ttl_s`` seconds."""
