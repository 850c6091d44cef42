"""The record of one traced request: JSON that fits into a datagram and that anybody may read.

Secrets are taken out of the whole texts first; only then everything is cut to what fits.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from request_callout.engine.plan import Plan, levels
from request_callout.engine.query import split_url
from request_callout.engine.record import CalloutRecord, ElementsRecord
from request_callout.telemetry.edits import shown_edits
from request_callout.telemetry.masking import Body, Headers, Mask
from request_callout.telemetry.trace_bounds import bounded
from request_callout.transport import IncomingResponse, OutgoingRequest, TransportError

if TYPE_CHECKING:
    from request_callout.engine.answer import Answer
    from request_callout.engine.call import Call
    from request_callout.engine.kong import Call as KongCall
    from request_callout.engine.run import Run


@dataclass(slots=True)
class TracedClient:
    """The client's request, as far as it was read."""

    method: str | None = None
    path: str | None = None
    query: str = ""
    headers: tuple[tuple[str, str | list[str]], ...] = ()
    body: bytes = b""
    body_note: str | None = None


@dataclass(slots=True)
class TracedAttempt:
    """One attempt; times in ms from the beginning of the request."""

    request: OutgoingRequest
    start_ms: float
    end_ms: float | None = None
    outcome: IncomingResponse | TransportError | None = None


@dataclass(frozen=True, slots=True)
class TracedCall:
    """A callout that is done, or that for one element of a list."""

    call: Call
    end_ms: float
    attempts: tuple[TracedAttempt, ...] = ()


@dataclass(frozen=True, slots=True)
class TracedRun:
    """All that was collected of one request; ``began_at`` is a moment of ``time.time()``."""

    id: str
    began_at: float
    worker: int
    duration_ms: float
    client: TracedClient
    calls: tuple[TracedCall, ...]
    edits: tuple[KongCall, ...]
    answer: Answer | None
    server_timing: str
    secret: str = field(repr=False)


def encoded(run: Run, traced: TracedRun) -> bytes:
    """The record as JSON, at most 60 KiB of it."""
    return bounded(_Record(run, traced).whole())


class _Record:
    """Makes the record of one request."""

    def __init__(self, run: Run, traced: TracedRun) -> None:
        self._run = run
        self._traced = traced
        self._mask = Mask(run.instance.without_secrets)
        self._learn()

    def _learn(self) -> None:
        """Find out all that must not be shown before anything is."""
        mask, traced = self._mask, self._traced
        mask.learn(traced.secret)
        mask.learn_message(traced.client.query, traced.client.headers, traced.client.body)
        for one in traced.calls:
            if one.call.authorization is not None:
                mask.learn_headers([("authorization", one.call.authorization)])
            for attempt in one.attempts:
                sent = attempt.request
                mask.learn_message(split_url(sent.url)[1], sent.headers, sent.body)
                if isinstance(attempt.outcome, IncomingResponse):
                    mask.learn_message("", attempt.outcome.headers, attempt.outcome.body)
        if traced.answer is not None:
            mask.learn_message("", traced.answer.headers.items(), traced.answer.body)

    def whole(self) -> dict[str, Any]:
        """The record, as long as it is."""
        run, traced = self._run, self._traced
        failure = run.failure
        return {
            "id": traced.id,
            "at": round(traced.began_at, 3),
            "request_id": run.log.request_id(),
            "route": self._named("route"),
            "service": self._named("service"),
            "plugin": run.instance.config.plugin_id,
            "worker": traced.worker,
            "background": run.is_detached,
            "duration_ms": _ms(traced.duration_ms),
            "outcome": "failed"
            if failure
            else "answered"
            if traced.answer
            else "done"
            if run.is_detached
            else "proxied",
            "status": None if traced.answer is None else traced.answer.status,
            "failure": None if failure is None else self._mask.text(failure),
            "request": self._request(),
            "plan": _plan(run.instance.plan),
            "callouts": [self._callout(one) for one in self._in_order()],
            "upstream": [_plain(edit) for edit in shown_edits(traced.edits, self._mask)],
            "answer": self._answer(),
            "server_timing": traced.server_timing,
        }

    def _named(self, part: Any) -> dict[str, Any] | None:
        found = self._run.client.part(part) if self._run.client.has(part) else None
        return {"id": found.get("id"), "name": found.get("name")} if isinstance(found, dict) and found else None

    def _request(self) -> dict[str, Any]:
        client = self._traced.client
        return {
            "method": client.method,
            "path": None if client.path is None else self._mask.text(client.path),
            "query": self._mask.query(client.query),
            "headers": self._mask.headers(client.headers),
            "body": self._body(client.body, client.headers) or _note(client.body_note),
        }

    def _in_order(self) -> list[TracedCall]:
        """The callouts by when they began; one for a list before its elements."""
        return sorted(
            self._traced.calls,
            key=lambda one: (_start_ms(one) if one.call.index is None else self._list_start(one), one.call.index or 0),
        )

    def _list_start(self, element: TracedCall) -> float:
        name = element.call.name
        whole = (one for one in self._traced.calls if one.call.name == name and one.call.index is None)
        return next(map(_start_ms, whole), _start_ms(element))

    def _callout(self, one: TracedCall) -> dict[str, Any]:
        call = one.call
        shown: dict[str, Any] = {
            "name": call.name,
            "start_ms": _ms(_start_ms(one)),
            "end_ms": _ms(one.end_ms),
            "result": call.result,
            "status": call.status,
            "cache": call.cache,
            "failure": None if call.failure is None else self._mask.text(call.failure),
            "attempts": [self._attempt(attempt) for attempt in one.attempts],
        }
        if call.index is not None:
            shown["index"] = call.index
        if call.cache_key is not None:
            shown["cache_key"] = call.cache_key
        if isinstance(call.kept, ElementsRecord):
            shown |= {"items": len(call.kept.items), "failed": call.kept.failed}
        if call.params is not None and not one.attempts:
            shown["url"] = self._mask.url(call.params.full_url())
        kept = call.outcome if call.began else None
        if isinstance(kept, CalloutRecord) and kept.response is not None and not one.attempts:
            shown["response"] = self._kept_response(kept.response)
        return shown

    def _kept_response(self, response: dict[str, Any]) -> dict[str, Any]:
        """What the callout got without an attempt: from the cache, from another request, from its fallback."""
        headers = tuple((response.get("headers") or {}).items())
        content = response.get("body")
        if isinstance(content, str):
            data = content.encode("utf-8", "surrogateescape")
        else:
            data = b"" if content is None else json.dumps(content).encode()
        return {
            "status": response.get("status"),
            "headers": self._mask.headers(headers),
            "body": self._body(data, headers),
        }

    def _attempt(self, attempt: TracedAttempt) -> dict[str, Any]:
        request, outcome = attempt.request, attempt.outcome
        end_ms = self._traced.duration_ms if attempt.end_ms is None else attempt.end_ms
        shown: dict[str, Any] = {
            "start_ms": _ms(attempt.start_ms),
            "end_ms": _ms(end_ms),
            "request": {
                "method": request.method,
                "url": self._mask.url(request.url),
                "headers": self._mask.headers(request.headers),
                "body": self._body(request.body, request.headers),
            },
        }
        if isinstance(outcome, IncomingResponse):
            shown["response"] = {
                "status": outcome.status,
                "headers": self._mask.headers(outcome.headers),
                "body": self._body(outcome.body, outcome.headers),
            }
        elif isinstance(outcome, TransportError):
            shown["error"] = self._mask.text(str(outcome))
            shown["error_kind"] = outcome.kind
        else:
            shown["error"] = "given up: the answer was not needed any more"
            shown["error_kind"] = "cancelled"
        return shown

    def _answer(self) -> dict[str, Any] | None:
        answer = self._traced.answer
        if answer is None:
            return None
        return {
            "status": answer.status,
            "headers": self._mask.headers(answer.headers.items()),
            "body": self._body(answer.body, answer.headers.items()),
        }

    def _body(self, data: bytes | None, headers: Headers) -> dict[str, Any] | None:
        content_type = next((value for name, value in headers if name.lower() == "content-type"), None)
        if isinstance(content_type, list):
            content_type = content_type[0] if content_type else None
        return _shown(self._mask.body(data, content_type))


def _plan(plan: Plan) -> list[dict[str, Any]]:
    """Who waits for whom and why, without what follows from the rest: in a chain each waits for the one before."""
    shown = []
    for step, level in zip(plan.steps, levels(plan), strict=True):
        implied = frozenset[int]().union(*(plan.steps[place].waits_for for place in step.waits_for))
        why = {reason.place: reason for reason in step.reasons if reason.place not in implied}
        waits = [
            {"name": plan.steps[place].callout.name, "why": reason.why, "where": reason.where}
            for place, reason in sorted(why.items())
        ]
        shown.append({"name": step.callout.name, "level": level, "waits_for": waits})
    return shown


def _start_ms(one: TracedCall) -> float:
    started = max(0.0, one.end_ms - one.call.latency_ms)
    return min([started, *(attempt.start_ms for attempt in one.attempts)])


def _ms(value: float) -> float:
    return round(value, 3)


def _shown(body: Body | None) -> dict[str, Any] | None:
    if body is None:
        return None
    return {"bytes": body.size, "text": body.text, **({"note": body.note} if body.note else {})}


def _note(note: str | None) -> dict[str, Any] | None:
    return None if note is None else {"bytes": None, "text": None, "note": note}


def _plain(edit: dict[str, Any]) -> dict[str, Any]:
    return {name: _shown(one) if name == "body" else one for name, one in edit.items()}
