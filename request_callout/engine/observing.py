"""What follows requests without changing what they do: metrics, spans, traces. The engine only says what happens.

An observer is called from the request's own greenlets, between two steps of it: it must be quick, never wait, read
nothing from Kong and raise nothing. Without observers none of this is in the way of a request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from request_callout.engine.record import CalloutRecord, SkippedRecord
from request_callout.transport import IncomingResponse, TransportError

if TYPE_CHECKING:
    from request_callout.engine.answer import Answer
    from request_callout.engine.call import Call
    from request_callout.engine.circuits import State
    from request_callout.engine.client import Part
    from request_callout.engine.run import Run
    from request_callout.transport import OutgoingRequest

Result: TypeAlias = Literal[
    "ok", "fallback", "tolerated", "skipped", "failed", "refused", "script_error", "exit", "cancelled", "error"
]
"""What became of a callout.

``tolerated``: failed, and the request goes on; ``failed``: its error ended the request; ``refused``: it could not or
must not be sent as it is; ``exit``: a script answered; ``cancelled``: ended with its request; ``error``: anything else.
"""


class ObservedAttempt(Protocol):
    """One attempt of a callout that is under way."""

    def ended(self, outcome: IncomingResponse | TransportError | None) -> None:
        """It is over; None: it was given up, with its request or for another attempt."""


class ObservedRequest(Protocol):
    """One proxied request, or one refresh in the background (``run.is_detached``)."""

    def attempt(self, call: Call, request: OutgoingRequest) -> ObservedAttempt:
        """An attempt is about to be sent; what is added to ``request.headers`` goes out with it."""

    def callout(self, call: Call) -> None:
        """A callout is done, or that for one element of a list (``call.index``); all that ``call`` tells is final."""

    def end(self, answer: Answer | None) -> None:
        """All is done: the request goes on to its upstream (None), or the client gets this answer.

        ``run.failure`` says why if something went wrong. What is written to ``run.kong`` still goes out, and what is
        asked of it with ``ask`` is told before the event ends.
        """


class Observer(Protocol):
    """Follows all requests of a process."""

    @property
    def reads(self) -> tuple[Part, ...]:
        """Parts of the client's request that it looks at: they are read with what the plan reads, in one exchange."""

    def begin(self, run: Run) -> ObservedRequest | None:
        """A request has begun, or the refresh of one; None: this one is not followed.

        Of the client's request only what ``run.client.has`` is there: reading may have failed.
        """

    def close(self) -> None:
        """Bring away what is kept; nothing follows."""


class Watch(Protocol):
    """Follows what belongs to no one request of a process; the same rules hold as for an observer.

    A ``target`` is a scheme, host and port, or how a Redis is called in the log.
    """

    def circuit(self, target: str, before: State | None, after: State | None) -> None:
        """A circuit has changed; None: it is new, or forgotten."""

    def token(self, target: str, *, got: bool) -> None:
        """A token was asked for, and came or did not."""

    def misconfigured(self, plugin_id: str) -> None:
        """A request was answered with 500, since the plugin's configuration can't be used."""

    def redis_failed(self, target: str, kind: str) -> None:
        """A Redis failed; of the kind ``down`` it is not used until it answers."""

    def redis_answers(self, target: str) -> None:
        """A Redis is used again, or by nobody any more."""


def result_of(call: Call) -> Result:
    """What became of a callout that raised nothing."""
    kept = call.outcome
    if isinstance(kept, SkippedRecord):
        return "skipped"
    if isinstance(kept, CalloutRecord) and kept.fallback:
        return "fallback"
    return "ok" if call.failure is None else "tolerated"
