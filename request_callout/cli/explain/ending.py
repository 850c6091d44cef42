"""How a callout may fail and what follows, and what becomes of the client's request in the end."""

from __future__ import annotations

from collections.abc import Iterator

from request_callout.cli.explain import client
from request_callout.cli.explain.explanation import Part, Upstream
from request_callout.cli.explain.sending import part
from request_callout.cli.explain.shown import Shown
from request_callout.cli.explain.timing import seconds
from request_callout.config import model
from request_callout.engine.compiled import CompiledCallout, CompiledUpstream
from request_callout.engine.retrying import longest_pauses_ms
from request_callout.engine.target import CompiledTarget
from request_callout.lua import Script

_LONGEST_MESSAGE = 80
_EXIT = "kong.response.exit"


def errors(callout: CompiledCallout, shown: Shown) -> tuple[str, ...]:
    """What counts as an error, and what follows from it."""
    request = callout.config.request
    policy = request.error
    what = ["no response"]
    if callout.decodes_as not in (None, "text"):
        what.append(f"a body that is no {callout.decodes_as}")
    if policy.http_statuses is not None:
        what.append(f"status {', '.join(map(str, sorted(policy.http_statuses)))}")
    if policy.when is not None:
        what.append(shown.expression(policy.when))
    any_status = "" if policy.http_statuses is not None or policy.when is not None else "; any status is a success"
    told = [f"an error is: {', '.join(what)}{any_status}"]
    if policy.on_error == "retry" and policy.retries:
        told.append(_retries(policy))
    if request.circuit_breaker is not None:
        told.append(_breaker(request.circuit_breaker))
    told.append(_end(policy, shown))
    return tuple(told)


def _retries(policy: model.ErrorPolicy) -> str:
    pauses_ms = longest_pauses_ms(policy)
    pauses = f"after pauses of up to {seconds(pauses_ms)} in all" if pauses_ms else "at once"
    methods = f", {', '.join(sorted(policy.retry_methods))} only" if policy.retry_methods is not None else ""
    return f"it is tried up to {policy.retries} more times, {pauses}{methods}"


def _breaker(breaker: model.CircuitBreaker) -> str:
    limits = [] if breaker.failures is None else [f"{breaker.failures} failures"]
    if breaker.failure_rate is not None:
        limits.append(f"{breaker.failure_rate:g} % failures of {breaker.min_requests} or more")
    return f"after {' or '.join(limits)} in {seconds(breaker.window_ms)}, no calls there for {seconds(breaker.open_ms)}"


def _end(policy: model.ErrorPolicy, shown: Shown) -> str:
    if policy.on_error == "continue":
        if policy.fallback is not None:
            return f"then the request goes on, with the fallback (status {policy.fallback.status}) as its response"
        return "then the request goes on, with what there was of a response"
    message = shown.expression(policy.error_response_msg)
    if len(message) > _LONGEST_MESSAGE:
        message = message[:_LONGEST_MESSAGE] + "…"
    return f"then the client gets {policy.error_response_code}: {message}"


def upstream(compiled: CompiledUpstream, shown: Shown) -> Upstream:
    """What becomes of the client's request."""
    respond = compiled.respond
    answers = None
    if respond is not None:
        sources = dict.fromkeys(name for text in compiled.texts for name in sorted(text.uses.callouts))
        of = f", made of {', '.join(sources)}" if sources else ""
        answers = f"status {respond.status}{'' if respond.body is None else ' with JSON'}{of}"
    elif compiled.script is not None and _EXIT in compiled.script.source:
        answers = "what upstream.by_lua gives to kong.response.exit"
    changes = () if respond is not None and respond.when is None else tuple(_changes(compiled, shown))
    return Upstream(
        changes=changes
        + (() if compiled.script is None else (f"by a script ({lines(compiled.script)}): upstream.by_lua",)),
        answers=answers,
        answers_when=None if respond is None or respond.when is None else shown.expression(respond.when.text.source),
        reads=client.of_upstream(compiled),
    )


def lines(script: Script) -> str:
    """How long a script is."""
    count = len(script.source.strip().splitlines())
    return f"{count} line{'s' if count > 1 else ''}"


def _changes(compiled: CompiledUpstream, shown: Shown) -> Iterator[str]:
    config = compiled.config
    if compiled.target is not None:
        yield from _target(compiled.target, shown)
    yield from _part("query parameter", part(compiled.query, config.query.remove, shown, hidden=True))
    yield from _part("header", part(compiled.headers, config.headers.remove, shown))
    yield from _part("body field", part(compiled.body, config.body.remove, shown))


def _target(target: CompiledTarget, shown: Shown) -> Iterator[str]:
    parts = (("scheme", target.scheme), ("host", target.host), ("port", target.port), ("path", target.path))
    yield from (f"target's {name}: {shown.expression(text.source)}" for name, text in parts if text is not None)


def _part(what: str, changed: Part) -> Iterator[str]:
    if not changed.forward:
        kind = {"query parameter": "query", "header": "headers", "body field": "body"}[what]
        yield f"the client's {kind} {'are' if kind == 'headers' else 'is'} left out"
    for item in changed.items:
        yield f"{what} {item.name} removed" if item.value is None else f"{what} {item.name}: {item.value}"
