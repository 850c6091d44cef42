"""Making one call, from its first layer to what the context and the log keep of it."""

from __future__ import annotations

import time

import gevent

from request_callout.engine.answer import INTERNAL_ERROR, CalloutError, Ended, ScriptExit
from request_callout.engine.call import Call, Handler
from request_callout.engine.failing import failed
from request_callout.engine.observing import result_of
from request_callout.engine.sharing import log_call
from request_callout.lua.host import ScriptError


def perform(call: Call, handler: Handler) -> None:
    """Make a call; raises Ended where its failure ends the request, its reason beginning with the call's label."""
    started = time.monotonic()
    try:
        handler(call)
    except CalloutError as error:
        call.result = "failed"
        answered = failed(call, error)
        raise Ended(answered.answer, f"{call.label}: {answered.reason}") from None
    except ScriptExit:
        call.failure, call.result = "ended by a script", "exit"
        raise
    except gevent.GreenletExit:
        call.failure, call.result = "ended with the request", "cancelled"
        raise
    except Ended as ended:
        reason = call.run.concealed(ended.reason) if ended.reason else ended.reason
        call.failure = reason or str(ended)
        if call.result == "error":
            call.result = "refused"
        raise Ended(ended.answer, reason and f"{call.label}: {reason}") from None
    except ScriptError as script:
        call.failure, call.result = call.run.concealed(str(script)), "script_error"
        raise Ended(INTERNAL_ERROR, f"{call.label}: {call.failure}") from None
    else:
        call.result = result_of(call)
    finally:
        call.latency_ms = (time.monotonic() - started) * 1000
        log_call(call, call.run)
        for one in call.run.observed:
            one.callout(call)
    call.run.context.finish(call.name, call.outcome)
