"""Single requests under the magnifying glass: a client that knows the secret gets ``Server-Timing`` and leaves a trace.

What happens is only collected while the request is under way; the record is made at its end, when all is known that
must not be in it.
"""

from __future__ import annotations

import hmac
import logging
import os
import time
from collections.abc import Callable
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from request_callout.engine.client import DEBUG_HEADER
from request_callout.engine.record import ElementsRecord
from request_callout.telemetry.edits import WatchedKong
from request_callout.telemetry.masking import MAX_BODY_BYTES
from request_callout.telemetry.server_timing import HEADER, Metric, server_timing
from request_callout.telemetry.trace_record import TracedAttempt, TracedCall, TracedClient, TracedRun, encoded
from request_callout.values import raw

if TYPE_CHECKING:
    from request_callout.engine.answer import Answer
    from request_callout.engine.call import Call
    from request_callout.engine.client import ClientRequest, Part
    from request_callout.engine.run import Run
    from request_callout.transport import IncomingResponse, OutgoingRequest, TransportError

Emit = Callable[[bytes], bool]
"""Takes the record of a trace to where traces are kept, without waiting; whether it got there."""


class Traces:
    """The observer of the requests whose ``X-Callout-Debug`` is the secret; without ``emit`` they are only timed."""

    reads: tuple[Part, ...] = ("debug",)

    def __init__(self, secret: str, emit: Emit | None = None) -> None:
        self._secret = raw(secret)
        self._emit = emit

    def begin(self, run: Run) -> TracedRequest | None:
        """Follow the request if it has the secret; the header goes no further in any case."""
        given = run.client.part("debug") if run.client.has("debug") else None
        if given is None:
            return None
        if not run.is_detached:
            run.kong.write("kong.service.request.clear_header", DEBUG_HEADER)
            run.client.hide_header(DEBUG_HEADER)
        if not hmac.compare_digest(raw(str(given)), self._secret):
            return None
        return TracedRequest(run, str(given), self._emit)

    def close(self) -> None:
        """Nothing is kept here."""


class TracedRequest:
    """Collects what happens to one request."""

    def __init__(self, run: Run, secret: str, emit: Emit | None) -> None:
        self._run = run
        self._secret = secret
        self._emit = emit
        self._began_at = time.time() - (time.monotonic() - run.started_at)
        self._calls: list[TracedCall] = []
        self._attempts: dict[Call, list[TracedAttempt]] = {}
        self._client = TracedClient()
        self._watched: WatchedKong | None = None
        if emit is not None:
            self._client = _read(run)
            if not run.is_detached:
                run.kong = self._watched = WatchedKong(run.kong)

    def attempt(self, call: Call, request: OutgoingRequest) -> _Attempt:
        """An attempt begins."""
        attempt = TracedAttempt(request, self._ms())
        self._attempts.setdefault(call, []).append(attempt)
        return _Attempt(attempt, self._ms)

    def callout(self, call: Call) -> None:
        """A callout is done."""
        self._calls.append(TracedCall(call, self._ms(), tuple(self._attempts.get(call, ()))))

    def end(self, answer: Answer | None) -> None:
        """Tell the client how long all took, and hand over the record."""
        total_ms = self._ms()
        timing = server_timing(total_ms, map(_metric, self._run.calls))
        run = self._run
        if self._watched is not None and run.kong is self._watched:
            run.kong = self._watched.kong
        if not run.is_detached:
            run.kong.write("kong.response.add_header", HEADER, timing)
        if self._emit is None:
            return
        traced = TracedRun(
            id=token_hex(8),
            began_at=self._began_at,
            worker=os.getpid(),
            duration_ms=total_ms,
            client=self._client,
            calls=tuple(self._calls),
            edits=() if self._watched is None else tuple(self._watched.edits),
            answer=answer,
            server_timing=timing,
            secret=self._secret,
        )
        try:
            if not self._emit(encoded(run, traced)):
                run.log.say(logging.WARNING, "the trace is lost: nobody takes it")
        except Exception:  # a trace that can't be made must not cost the request
            run.log.say(logging.ERROR, "the trace is lost: unexpected error", traceback=True)

    def _ms(self) -> float:
        return (time.monotonic() - self._run.started_at) * 1000


class _Attempt:
    """One attempt that is under way."""

    def __init__(self, attempt: TracedAttempt, ms: Callable[[], float]) -> None:
        self._attempt = attempt
        self._ms = ms

    def ended(self, outcome: IncomingResponse | TransportError | None) -> None:
        """It is over."""
        self._attempt.end_ms = self._ms()
        self._attempt.outcome = outcome


def _metric(call: Call) -> Metric:
    kept = call.outcome if call.began or call.kept is not None else None
    if isinstance(kept, ElementsRecord):
        words = [f"{len(kept.items)} items", *([f"{kept.failed} failed"] if kept.failed else [])]
    else:
        words = [] if call.status is None else [str(call.status)]
    if call.result != "ok":
        words.append(call.result.replace("_", " "))
    if call.attempts > 1 and not isinstance(kept, ElementsRecord):
        words.append(f"{call.attempts} attempts")
    if call.cache is not None:
        words.append(f"cache {call.cache}")
    return Metric(call.name, call.latency_ms, ", ".join(words))


def _read(run: Run) -> TracedClient:
    """The client's request, as much of it as can be had without harm."""
    client, kong = run.client, run.kong
    read = TracedClient()
    try:
        if not run.is_detached:
            client.gather(("headers", "raw_query", "route", "service", "request_id"))
            client.hide_header(DEBUG_HEADER)
            method, path = kong.read([("kong.request.get_method", ()), ("kong.request.get_path", ())])
            read.method, read.path = str(method), str(path)
        read.headers = tuple(client.headers.items()) if client.has("headers") else ()
        read.query = client.raw_query if client.has("raw_query") else ""
        if client.has("body") or (not run.is_detached and _is_short(client)):
            read.body = client.body
        elif "content-length" in client.headers:
            read.body_note = "over 256 KiB, not read"
    except Exception as error:  # the request goes on: it will find out itself what is wrong, if it needs to know
        read.body_note = f"could not be read: {error}"
    return read


def _is_short(client: ClientRequest) -> bool:
    length: Any = client.headers.get("content-length")
    return isinstance(length, str) and length.isdigit() and 0 < int(length) <= MAX_BODY_BYTES
