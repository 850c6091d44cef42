"""What is told of a tried request: one document, without secrets, that is shown or printed as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from request_callout.cli.try_.difference import lines, pretty, unified
from request_callout.cli.try_.redaction import Redactor
from request_callout.cli.try_.running import Happened
from request_callout.gateway.model import Configuration, Route
from request_callout.transport import IncomingResponse, TransportError
from request_callout.transport.decoding import decoded
from request_callout.transport.exchanges import Exchange

VERSION = 1
"""The version of the document: raised when a member changes its meaning or goes."""

_MOST_BODY_BYTES = 64 * 1024 * 1024

ANSWERED = "answered"
UNMATCHED = "not recorded"
NO_ROUTE = "no route"
FAILED = "failed"

STATUS = {ANSWERED: 0, NO_ROUTE: 1, UNMATCHED: 1, FAILED: 3}
"""The exit status of each outcome."""


def plain(exchange: Exchange) -> Exchange:
    """An exchange with the body of its response decoded."""
    headers, body = _decoded(exchange.status, exchange.response_headers, exchange.response_body)
    return replace(exchange, response_headers=headers, response_body=body)


def document(happened: Happened, configuration: Configuration, redactor: Redactor) -> dict[str, Any]:
    """All there is to tell."""
    x, request = happened.proxied, happened.request
    callees = [plain(one) for one in happened.callees]
    upstream = [plain(one) for one in happened.upstream]
    answer_headers, answer_body = _decoded(happened.answer.status, happened.answer.headers, happened.answer.body)
    shared = x.shared.get("callouts")
    context = shared if isinstance(shared, dict) else {}
    # Everything once before: what is learnt last has to be hidden in what is told first.
    redactor.headers(request.headers)
    redactor.query(request.target.partition("?")[2])
    redactor.body(request.body)
    redactor.headers(answer_headers)
    redactor.context(context)
    for one in (*callees, *upstream):
        redactor.exchange(one)
    timeline = happened.timeline
    outcome = _outcome(happened)
    route = x.match.route if x.match is not None else None
    before = _lines(redactor, request.method, request.target, request.headers, request.body)
    result: dict[str, Any] = {
        "version": VERSION,
        "outcome": outcome,
        "problems": [redactor.text(problem) for problem in _problems(happened, configuration, outcome)],
        "request": _request(redactor, request.method, request.target, request.headers, request.body),
        "route": None if route is None else {"name": route.entity.get("name"), "id": route.id},
        "service": None if route is None or route.service is None else route.service.entity.get("name"),
        "ran": timeline is not None,
        "callouts": [] if timeline is None else redactor.value(timeline["callouts"]),
        "waits_for": {} if timeline is None else timeline["waits_for"],
        "duration_ms": None if timeline is None else timeline["ended_ms"],
        "context": redactor.context(context),
        "upstream": None,
        "answer": {
            "status": happened.answer.status,
            "by": "upstream" if upstream and upstream[-1].failure is None else "kong",
            "headers": [list(pair) for pair in redactor.headers(answer_headers)],
            "body": pretty(redactor.body(answer_body)),
        },
        "log": [redactor.text(line) for line in happened.log if x.request_id in line or "ERROR" in line.upper()],
    }
    if upstream:
        one = upstream[-1]
        parts = urlsplit(one.url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        after = _lines(redactor, one.method, target, one.request_headers, one.request_body)
        result["upstream"] = {
            **_request(redactor, one.method, one.url, one.request_headers, one.request_body),
            "status": one.status or None,
            "failure": None if one.failure is None else redactor.text(one.failure.message),
            "duration_ms": round(one.duration_ms, 3),
            "diff": unified(before, after),
        }
    return result


def recording(happened: Happened, redactor: Redactor | None) -> list[Exchange]:
    """The exchanges to keep, without secrets unless there is no redactor."""
    exchanges = [plain(one) for one in (*happened.callees, *happened.upstream)]
    return exchanges if redactor is None else [redactor.exchange(one) for one in exchanges]


def _lines(redactor: Redactor, method: str, target: str, headers: Iterable[tuple[str, str]], body: bytes) -> list[str]:
    return lines(method, redactor.url(target), redactor.headers(headers), redactor.body(body))


def _request(
    redactor: Redactor, method: str, url: str, headers: Iterable[tuple[str, str]], body: bytes
) -> dict[str, Any]:
    shown = [list(pair) for pair in redactor.headers(headers)]
    return {"method": method, "url": redactor.url(url), "headers": shown, "body": pretty(redactor.body(body))}


def _outcome(happened: Happened) -> str:
    if any(one.unmatched for one in (*happened.callees, *happened.upstream)):
        return UNMATCHED
    if happened.proxied.match is None:
        return NO_ROUTE
    timeline = happened.timeline
    if timeline is not None and timeline["failure"] is not None:
        return FAILED
    if happened.upstream and happened.upstream[-1].failure is not None:
        return FAILED
    return ANSWERED


def _problems(happened: Happened, configuration: Configuration, outcome: str) -> list[str]:
    x = happened.proxied
    if outcome == NO_ROUTE:
        routes = [_shown(route) for route in configuration.routes] or ["(none)"]
        asked = f"{x.client.method} {happened.request.scheme}://{happened.request.host}{happened.request.path}"
        return [f"no route takes {asked}; the routes are:", *routes]
    problems = [
        one.failure.message
        for one in (*happened.callees, *happened.upstream)
        if one.unmatched and one.failure is not None
    ]
    timeline = happened.timeline
    if timeline is not None and timeline["failure"] is not None and not problems:
        problems.append(str(timeline["failure"]))
    if not problems and happened.upstream and happened.upstream[-1].failure is not None:
        problems.append(f"the upstream could not be asked: {happened.upstream[-1].failure.message}")
    if timeline is None and outcome == ANSWERED:
        name = x.match.route.entity.get("name") or x.match.route.id if x.match is not None else "-"
        if x.exit is not None:
            problems.append(f"request-callout did not run: Kong or a plugin before it answered on route {name}")
        else:
            problems.append(f"request-callout did not run: it is not enabled on route {name}, its service or globally")
    return problems


def _shown(route: Route) -> str:
    parts = [str(route.entity.get("name") or route.id)]
    for what, values in (("methods", route.methods), ("hosts", route.hosts), ("paths", route.paths)):
        if values:
            parts.append(f"{what} {', '.join(values)}")
    if route.headers:
        parts.append(f"headers {', '.join(route.headers)}")
    return "; ".join(parts)


def _decoded(status: int, headers: Iterable[tuple[str, str]], body: bytes) -> tuple[tuple[tuple[str, str], ...], bytes]:
    pairs = tuple(headers)
    try:
        lower = [(name.lower(), value) for name, value in pairs]
        found = decoded(IncomingResponse(status, lower, body), _MOST_BODY_BYTES)
    except TransportError:
        return pairs, body
    if found.body is body:
        return pairs, body
    gone = ("content-encoding", "content-length")
    return tuple((name, value) for name, value in pairs if name.lower() not in gone), found.body
