"""The layers of a callout that call a response an error: by its status, or by an expression."""

from __future__ import annotations

from request_callout.engine.answer import CalloutError
from request_callout.engine.call import Call, Handler
from request_callout.engine.context import CalloutResponse
from request_callout.engine.expression import Text


def judge(following: Handler, statuses: frozenset[int]) -> Handler:
    """Count the configured statuses as errors."""

    def handle(call: Call) -> CalloutResponse | None:
        response = following(call)
        if response is not None and response.status in statuses:
            raise CalloutError("code", f"status {response.status}", response.status, response)
        return response

    return handle


def judge_by(following: Handler, when: Text) -> Handler:
    """Count a response as an error for which the expression gives anything but nil, null and false.

    It sees the response, decoded, as that of its callout. What it raises ends the request, as for any expression.
    """

    def handle(call: Call) -> CalloutResponse | None:
        response = following(call)
        if response is not None:
            value = call.run.context.see(call.name, call.record, response.table(), when)
            if value is not None and value is not False:
                raise CalloutError("error", "error.when", response.status, response)
        return response

    return handle
