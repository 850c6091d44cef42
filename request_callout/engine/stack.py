"""The way of one callout: small layers around one call, put together in ``stack``.

Each layer takes the next handler and gives a handler back. A layer whose configuration is absent is not in the stack.
Those of the cache are in ``caching``, those of errors in ``fallback``, ``total``, ``retrying``, ``breaker``,
``hedging`` and ``judging``, the outermost in ``conditional`` and ``for_each``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from request_callout.config import model
from request_callout.engine.answer import INTERNAL_ERROR, CalloutError, Ended
from request_callout.engine.auth.endpoint import TokenEndpoint
from request_callout.engine.auth.layers import authenticate, with_token
from request_callout.engine.bodies.response import UndecodableBody, decode_body
from request_callout.engine.breaker import break_circuit
from request_callout.engine.build import build, check_url
from request_callout.engine.cache_policy import CachePolicy
from request_callout.engine.caching import bypass, coalesce, lead, look_up, store, take_turns
from request_callout.engine.call import Call, Handler
from request_callout.engine.compiled import CompiledCallout
from request_callout.engine.conditional import conditional
from request_callout.engine.context import CalloutRecord, CalloutResponse
from request_callout.engine.fallback import fall_back, tolerate
from request_callout.engine.for_each import for_each
from request_callout.engine.hedging import hedge
from request_callout.engine.judging import judge, judge_by
from request_callout.engine.outcome import keep_outcome
from request_callout.engine.params import Params
from request_callout.engine.refresh import refreshing
from request_callout.engine.retrying import retry
from request_callout.engine.sending import outgoing
from request_callout.engine.sharing import log_attempt
from request_callout.engine.total import bound
from request_callout.lua import Script
from request_callout.lua.host import ScriptError
from request_callout.transport import IncomingResponse, TransportError
from request_callout.values import Value

_log = logging.getLogger(__name__)


def stack(
    callout: CompiledCallout, cache: model.Cache, redact: Callable[[str], str], *, observed: bool = False
) -> Handler:
    """The layers of one callout, from the inside out.

    ``redact`` takes the configuration's secrets out of a text for a log; ``observed``: somebody follows requests.
    """
    cached = callout.may_cache(cache.strategy)
    config = callout.config
    policy = CachePolicy(callout, cache)
    errors = config.request.error
    handler: Handler = send_observed if observed else send
    if errors.http_statuses is not None:
        handler = judge(handler, errors.http_statuses)
    body_format = callout.decodes_as
    if body_format is not None:
        handler = decode(handler, body_format)
    if callout.error_when is not None:
        handler = judge_by(handler, callout.error_when)
    if config.request.hedge_after_ms is not None:
        handler = hedge(handler, config.request.hedge_after_ms)
    if config.request.circuit_breaker is not None:
        handler = break_circuit(handler, config.request.circuit_breaker)
    if config.request.auth is not None and config.request.auth.type == "oauth2_client_credentials":
        handler = with_token(handler, TokenEndpoint.of(config.request.auth, config.request, redact))
    if errors.on_error == "retry":
        handler = retry(handler, errors)
    if config.request.http_opts.timeouts is not None and config.request.http_opts.timeouts.total_ms is not None:
        handler = bound(handler)
    if cached:
        refresh = _refresh(lead(handler, policy), callout, policy)
        handler = lead(take_turns(handler, policy), policy)
        handler = coalesce(handler, policy)
        handler = look_up(handler, policy, refreshing(refresh, policy))
    elif cache.strategy != "off":
        handler = bypass(handler, policy)
    if errors.on_error == "continue":
        handler = tolerate(handler) if callout.fallback is None else fall_back(handler, callout.fallback)
    handler = keep(handler)
    if callout.response_script is not None:
        handler = response_script(handler, callout.response_script)
    if cached:
        handler = store(handler, policy)
    if callout.auth is not None:
        handler = authenticate(handler, callout.auth)
    if callout.request_script is not None:
        handler = request_script(handler, callout.request_script)
    handler = build_request(handler, callout, policy.table)
    if callout.items is not None and config.for_each is not None:
        handler = for_each(handler, callout.items, config.for_each, errors.on_error)
    if callout.condition is not None:
        handler = conditional(handler, callout.condition)
    return handler


def _refresh(handler: Handler, callout: CompiledCallout, policy: CachePolicy) -> Handler:
    """The layers of a refresh above those that fetch: an error leaves the stale response where it is."""
    handler = keep(handler)
    if callout.response_script is not None:
        handler = response_script(handler, callout.response_script)
    return store(handler, policy, errors=False)


def build_request(following: Handler, callout: CompiledCallout, caching: dict[str, Value]) -> Handler:
    """Build the request, once if it is always the same, and begin the callout's context."""
    constant = callout.constant
    kept: Params | None = None

    def handle(call: Call) -> CalloutResponse | None:
        nonlocal kept
        params = kept
        if params is None:
            params = build(callout, call.run)
            if constant:
                params.keep()
                kept = params
        call.begin(CalloutRecord(params, caching, not_stored=callout.config.response.not_stored))
        return following(call)

    return handle


def request_script(following: Handler, script: Script) -> Handler:
    """Run ``request.by_lua`` and take over what it made of the request and of the caching."""

    def handle(call: Call) -> CalloutResponse | None:
        record, context = call.record, call.run.context
        before = record.params.table()
        context.show(call.name, record)
        context.run(script)
        after = context.read_back(script, call.name, "request", "params")
        url_before = record.params.url
        record.params = record.params.changed(before, after, script.where)
        if record.params.url != url_before:
            check_url(record.params.url, script.where)
        record.caching = caching_after(call, script)
        return following(call)

    return handle


def response_script(following: Handler, script: Script) -> Handler:
    """Run ``response.by_lua`` on what was received, fresh or from the cache, if there was a response."""

    def handle(call: Call) -> CalloutResponse | None:
        response = following(call)
        if response is not None:
            call.run.context.show(call.name, call.record)
            call.run.context.run(script)
            call.record.caching = caching_after(call, script)
        return response

    return handle


def keep(following: Handler) -> Handler:
    """Put the outcome into the callout's context."""

    def handle(call: Call) -> CalloutResponse | None:
        response = following(call)
        keep_outcome(call, response)
        return response

    return handle


def decode(following: Handler, body_format: model.ResponseFormat) -> Handler:
    """Decode the body; one that is not of its format is an error, an empty one is nil."""

    def handle(call: Call) -> CalloutResponse | None:
        response = following(call)
        if response is not None:
            try:
                response.body = decode_body(response.raw_body, body_format, response.headers)
            except UndecodableBody as error:
                raise CalloutError("error", str(error), response.status, response) from None
        return response

    return handle


def send(call: Call) -> CalloutResponse | None:
    """Send the request once."""
    return _send_logged(call, _send) if _log.isEnabledFor(logging.DEBUG) else _send(call)


def send_observed(call: Call) -> CalloutResponse | None:
    """Send the request once, and tell those that follow it."""
    return _send_logged(call, _send_observed) if _log.isEnabledFor(logging.DEBUG) else _send_observed(call)


def _send_logged(call: Call, attempt: Handler) -> CalloutResponse | None:
    number, started, outcome = call.attempts + 1, time.monotonic(), "given up"
    try:
        response = attempt(call)
        outcome = "none" if response is None else f"status {response.status}"
        return response
    except CalloutError as error:
        outcome = error.message
        raise
    except Ended as ended:
        outcome = ended.reason or "ended"
        raise
    finally:
        if call.attempts >= number:
            log_attempt(call, number, outcome, started)


def _send(call: Call) -> CalloutResponse | None:
    _begin_attempt(call)
    try:
        return _response(call.run.instance.engine.transport.send(outgoing(call)))
    except TransportError as error:
        raise _error(call, error) from None


def _send_observed(call: Call) -> CalloutResponse | None:
    _begin_attempt(call)
    request = outgoing(call)
    observed = [one.attempt(call, request) for one in call.run.observed]
    outcome: IncomingResponse | TransportError | None = None
    try:
        incoming = call.run.instance.engine.transport.send(request)
        outcome = incoming
        return _response(incoming)
    except TransportError as error:
        outcome = error
        raise _error(call, error) from None
    finally:
        for one in observed:
            one.ended(outcome)


def _begin_attempt(call: Call) -> None:
    if call.deadline - time.monotonic() <= 0:
        raise CalloutError("error", call.deadline_message)
    call.attempts += 1
    call.requested_at = call.run.instance.engine.clock()


def _error(call: Call, error: TransportError) -> CalloutError | Ended:
    """What a failed attempt means; what could not or must not be sent is made right by no policy of the callout."""
    if error.kind in ("url", "request", "destination"):
        return Ended(INTERNAL_ERROR, f"{call.callout.request_where}: {error}")
    return CalloutError("error", str(error))


def _response(incoming: IncomingResponse) -> CalloutResponse:
    headers: dict[str, str | list[str]] = {}
    for name, value in incoming.headers:
        there = headers.get(name)
        if there is None:
            headers[name] = value
        elif isinstance(there, list):
            there.append(value)
        else:
            headers[name] = [there, value]
    return CalloutResponse(incoming.status, headers, incoming.body)


def caching_after(call: Call, script: Script) -> dict[str, object]:
    """The table ``caching`` as a script left it."""
    caching = call.run.context.read_back(script, call.name, "caching")
    if not isinstance(caching, dict):
        raise ScriptError(script.where, "caching must stay a table")
    return caching
