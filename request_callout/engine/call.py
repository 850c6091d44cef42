"""One callout of one proxied request, on its way through the layers of the stack."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from request_callout.engine.compiled import CompiledCallout
from request_callout.engine.context import CalloutRecord, CalloutResponse
from request_callout.engine.observing import Result
from request_callout.engine.params import Params
from request_callout.engine.record import Record

if TYPE_CHECKING:
    from request_callout.cache.flights import Flight
    from request_callout.cache.store import Lease
    from request_callout.engine.cache_policy import Outcome
    from request_callout.engine.run import Run


class Call:
    """The state of one callout: what the layers hand to each other beside the response.

    ``attempts`` counts requests sent, ``cache`` tells what the cache did (``hit``, ``miss``, ``stale``, ``bypass``,
    ``coalesced``; None where there is none), ``latency_ms`` what the whole of it took, ``failure`` why there was no
    usable response. ``flight`` is open while others may wait for this call, and the ``lease`` is held for them.
    ``principal`` tells as whom it is sent, ``authorization`` is the value of that header; both None: as ``params`` say.
    ``index`` is that of the element it is for, from 1, and ``kept`` what stands in the context for a callout that has
    no request of its own. ``result`` is what became of it. ``requested_at`` and ``received_at`` are moments of the
    engine's clock. ``deadline`` is a ``time.monotonic()`` moment that bounds what is sent, ``total_ms`` the callout's
    own bound if that is what it comes from. ``unusable`` is the response for which a fallback stands.
    """

    # No dataclass: compiled, one looks up its fields' types when it is made, and Run is made after it.
    __slots__ = (
        "_record",
        "attempts",
        "authorization",
        "cache",
        "cache_key",
        "callout",
        "deadline",
        "failure",
        "flight",
        "index",
        "kept",
        "latency_ms",
        "lease",
        "principal",
        "received_at",
        "requested_at",
        "result",
        "run",
        "status",
        "total_ms",
        "unusable",
    )

    def __init__(self, run: Run, callout: CompiledCallout, index: int | None = None) -> None:
        self.run = run
        self.callout = callout
        self.index = index
        self.kept: Record | None = None
        self._record: CalloutRecord | None = None
        self.deadline: float = run.deadline
        self.total_ms: int | None = None
        self.unusable: CalloutResponse | None = None
        self.attempts = 0
        self.principal: str | None = None
        self.authorization: str | None = None
        self.status: int | None = None
        self.failure: str | None = None
        self.result: Result = "error"
        self.cache: str | None = None
        self.cache_key: str | None = None
        self.flight: Flight[Outcome] | None = None
        self.lease: Lease | None = None
        self.requested_at = 0.0
        self.received_at = 0.0
        self.latency_ms = 0.0

    @property
    def name(self) -> str:
        return self.callout.name

    @property
    def label(self) -> str:
        """What it is called in messages about its callout, or about the request."""
        return f"callout {self.name}" if self.index is None else f"item {self.index}"

    @property
    def began(self) -> bool:
        """Whether it came to a request."""
        return self._record is not None

    @property
    def outcome(self) -> Record:
        """What stands in the context for it in the end."""
        return self.record if self.kept is None else self.kept

    @property
    def method(self) -> str:
        return self.callout.config.request.method if self._record is None else self._record.params.method

    @property
    def params(self) -> Params | None:
        """What was sent, None if it never came to a request."""
        return None if self._record is None else self._record.params

    @property
    def record(self) -> CalloutRecord:
        """The callout's context; there is one as soon as its request has been built."""
        if self._record is None:
            raise RuntimeError(f"callout {self.name} has no request yet")
        return self._record

    def begin(self, record: CalloutRecord) -> None:
        self._record = record

    def bound_by(self, total_ms: int, now: float) -> None:
        """Bound what is sent from ``now`` on by a time of the callout's own, if that ends before the request's."""
        deadline = now + total_ms / 1000
        if deadline < self.run.deadline:
            self.deadline, self.total_ms = deadline, total_ms

    def is_over_total(self, now: float) -> bool:
        """Whether the callout's own time has passed."""
        return self.total_ms is not None and now >= self.deadline

    @property
    def deadline_message(self) -> str:
        """What it says of a callout when ``deadline`` has passed."""
        if self.total_ms is None:
            return self.run.deadline_message
        return f"the total time of {self.total_ms} ms for this callout has passed"


Handler: TypeAlias = Callable[[Call], "CalloutResponse | None"]
"""A layer: does its part and asks the next for the response; None: there was none (``on_error: continue``)."""
