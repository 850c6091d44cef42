"""When which callout of a request ran, and its attempts: one record a request, for ``request-callout try``.

This is no trace (``traces``), although both have a waterfall. A trace is cut to a datagram, shows ``***`` for secrets,
is made only for a client that sends the secret, and changes the exchange: it reads the client's request, writes
``Server-Timing`` and watches the writes. What ``try`` shows has to be whole, and to be as it is without being watched:
bodies and headers come from its own callees and gateway (``cli.try_``), where they can be recorded and numbered, and
only what nobody but the engine knows is here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from request_callout.engine.sharing import shown_url
from request_callout.transport import IncomingResponse, TransportError

if TYPE_CHECKING:
    from request_callout.engine.answer import Answer
    from request_callout.engine.call import Call
    from request_callout.engine.client import Part
    from request_callout.engine.run import Run
    from request_callout.transport import OutgoingRequest

Record = dict[str, Any]


class Timelines:
    """An ``Observer`` that gives the record of each request to ``keep`` when the request is done.

    Times are in milliseconds since the request began. A refresh in the background is not followed.
    """

    def __init__(self, keep: Callable[[Record], None]) -> None:
        self._keep = keep

    @property
    def reads(self) -> tuple[Part, ...]:
        """The request's id, which the log lines have."""
        return ("request_id",)

    def begin(self, run: Run) -> Timeline | None:
        """Follow the request."""
        return None if run.is_detached else Timeline(run, self._keep)

    def close(self) -> None:
        """Nothing is kept here."""


class Timeline:
    """One request."""

    def __init__(self, run: Run, keep: Callable[[Record], None]) -> None:
        self._run = run
        self._keep = keep
        self._attempts: list[tuple[Call, Record]] = []
        self._callouts: list[Record] = []

    def attempt(self, call: Call, request: OutgoingRequest) -> Attempt:
        """An attempt goes out."""
        record: Record = {"method": request.method, "url": shown_url(request.url), "started_ms": self._now_ms()}
        self._attempts.append((call, record))
        return Attempt(record, self._now_ms)

    def callout(self, call: Call) -> None:
        """A callout is done."""
        ended_ms = self._now_ms()
        self._callouts.append(
            {
                "name": call.name,
                "index": call.index,
                "result": call.result,
                "started_ms": round(max(0.0, ended_ms - call.latency_ms), 3),
                "ended_ms": ended_ms,
                "cache": call.cache,
                "status": call.status,
                "failure": None if call.failure is None else self._run.instance.redact(call.failure),
                "attempts": [record for one, record in self._attempts if one is call],
            }
        )

    def end(self, answer: Answer | None) -> None:
        """The request is done."""
        steps = self._run.instance.plan.steps
        names = [step.callout.name for step in steps]
        self._keep(
            {
                "waits_for": {step.callout.name: [names[place] for place in sorted(step.waits_for)] for step in steps},
                "callouts": self._callouts,
                "failure": self._run.failure,
                "answers": answer is not None,
                "ended_ms": self._now_ms(),
            }
        )

    def _now_ms(self) -> float:
        return round((time.monotonic() - self._run.started_at) * 1000, 3)


class Attempt:
    """One attempt, until it ends."""

    def __init__(self, record: Record, now_ms: Callable[[], float]) -> None:
        self._record = record
        self._now_ms = now_ms

    def ended(self, outcome: IncomingResponse | TransportError | None) -> None:
        """It is over."""
        self._record["ended_ms"] = self._now_ms()
        if isinstance(outcome, IncomingResponse):
            self._record["status"] = outcome.status
        else:
            self._record["failure"] = "given up" if outcome is None else f"{outcome.kind}: {outcome}"
