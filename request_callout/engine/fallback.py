"""The layer of a callout that goes on after an error: with what there was of a response, or with a configured one."""

from __future__ import annotations

from request_callout.engine.answer import CalloutError
from request_callout.engine.call import Call, Handler
from request_callout.engine.compiled import CompiledFallback
from request_callout.engine.context import CalloutResponse
from request_callout.engine.outcome import after_error, decode_if_possible
from request_callout.values import raw


def tolerate(following: Handler) -> Handler:
    """Go on after an error, with what there was of a response."""

    def handle(call: Call) -> CalloutResponse | None:
        try:
            return following(call)
        except CalloutError as error:
            return after_error(call, error)

    return handle


def fall_back(following: Handler, fallback: CompiledFallback) -> Handler:
    """Go on after an error with the configured response; the context tells of the error, and that it stands in."""

    def handle(call: Call) -> CalloutResponse | None:
        try:
            return following(call)
        except CalloutError as error:
            call.unusable = after_error(call, error)
        scope = call.run.context
        headers: dict[str, str | list[str]] = {name.lower(): text.render(scope) for name, text in fallback.headers}
        body = b"" if fallback.body is None else raw(fallback.body.render(scope))
        response = CalloutResponse(fallback.status, headers, body)
        decode_if_possible(call, response)
        call.record.fallback = True
        return response

    return handle
