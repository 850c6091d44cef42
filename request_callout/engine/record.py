"""What stands at ``callouts.NAME``: of a callout that was made, one that was skipped, one made for each element."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from request_callout.engine.params import Params
from request_callout.lua import Headers
from request_callout.values import Kept, Value, text

_UNSET: Any = object()


@dataclass(slots=True)
class CalloutResponse:
    """What a callout got back: header names in lower case, the body as received and, once decoded, as a value."""

    status: int
    headers: dict[str, str | list[str]]
    raw_body: bytes
    body: Value = _UNSET
    kept: Kept | None = None
    """The table of a response that many requests get: not to be changed."""

    @property
    def decoded(self) -> bool:
        return self.body is not _UNSET

    def table(self) -> dict[str, Value]:
        """The table ``response``."""
        if self.kept is not None:
            return self.kept
        result: dict[str, Value] = {"status": self.status, "headers": Headers(self.headers)}
        body = self.body if self.decoded else text(self.raw_body)
        if body is not None or self.raw_body:  # a decoded null is ngx.null, no body is nil
            result["body"] = body
        return result


class Record(Protocol):
    """The context of one callout, whatever became of it."""

    response: dict[str, Value] | None
    not_stored: tuple[str, ...]
    """Members of the response that nothing after ``response.by_lua`` may see."""

    @property
    def body_bytes(self) -> int:
        """How long the longest of its bodies is."""

    def table(self, *, secrets: bool = True) -> dict[str, Value]:
        """The whole of it: ``callouts.NAME``."""


@dataclass(slots=True)
class CalloutRecord:
    """The context of a callout that was made."""

    params: Params
    caching: dict[str, Value]
    retries: list[dict[str, Value]] = field(default_factory=list)
    error: dict[str, Value] | None = None
    response: dict[str, Value] | None = None
    not_stored: tuple[str, ...] = ()
    response_bytes: int = 0
    """How long the response's body is, as received."""
    fallback: bool = False
    """Whether the response is the configured one that stands for one that failed."""

    @property
    def body_bytes(self) -> int:
        """How long the longer of the request's and the response's is."""
        return max(self.response_bytes, len(self.params.body_bytes() or b""))

    def request_table(self, *, secrets: bool = True) -> dict[str, Value]:
        """The table ``request``."""
        if self.params.untried is not None and not self.retries and self.error is None:
            return self.params.untried
        table: dict[str, Value] = {
            "params": self.params.table(secrets=secrets),
            "retries": self.retries,
            "n_retries": len(self.retries),
        }
        if self.error is not None:
            table["error"] = self.error
        return table

    def table(self, *, secrets: bool = True) -> dict[str, Value]:
        result: dict[str, Value] = {"request": self.request_table(secrets=secrets), "caching": self.caching}
        if self.response is not None:
            result["response"] = self.response
        if self.fallback:
            result["fallback"] = True
        return result


@dataclass(slots=True)
class SkippedRecord:
    """The context of a callout that its ``when`` has skipped."""

    response: dict[str, Value] | None = None
    not_stored: tuple[str, ...] = ()

    @property
    def body_bytes(self) -> int:
        return 0

    def table(self, *, secrets: bool = True) -> dict[str, Value]:
        return {"skipped": True}


class ElementsRecord:
    """The context of a callout that is made for each element: ``items`` has a table for each of them, in order.

    ``items_bytes`` is how long their bodies are together, as received; ``error`` what went wrong with the whole,
    ``failed`` with how many of them.
    """

    __slots__ = ("error", "failed", "items", "items_bytes", "not_stored", "response")

    def __init__(
        self, items: list[dict[str, Value]], items_bytes: int = 0, error: dict[str, Value] | None = None
    ) -> None:
        self.items = items
        self.items_bytes = items_bytes
        self.error = error
        self.failed = 0
        self.response: dict[str, Value] | None = {"items": items}
        self.not_stored: tuple[str, ...] = ()

    @property
    def body_bytes(self) -> int:
        return self.items_bytes

    def table(self, *, secrets: bool = True) -> dict[str, Value]:
        return {"request": {} if self.error is None else {"error": self.error}, "response": self.response}
