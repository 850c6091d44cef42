"""The outermost layer of a callout with ``when``: whether it is made at all."""

from __future__ import annotations

from request_callout.engine.call import Call, Handler
from request_callout.engine.context import CalloutResponse
from request_callout.engine.expression import Text
from request_callout.engine.record import SkippedRecord


def conditional(following: Handler, condition: Text) -> Handler:
    """Make the callout unless the expression gives nil, false or null; all else is true, as in Lua (0 and "" too)."""

    def handle(call: Call) -> CalloutResponse | None:
        value = condition.value(call.run.context)
        if value is None or value is False:
            call.kept = SkippedRecord()
            return None
        return following(call)

    return handle
