"""Making one call, from its first layer to what the context and the log keep of it."""

from __future__ import annotations

import time

import gevent

from request_callout.engine.answer import INTERNAL_ERROR, CalloutError, Ended, ScriptExit
from request_callout.engine.call import Call, Handler
from request_callout.engine.failing import failed
from request_callout.engine.sharing import log_call
from request_callout.lua.host import ScriptError


def perform(call: Call, handler: Handler) -> None:
    """Make a call; raises Ended where its failure ends the request, its reason beginning with the call's label."""
    started = time.monotonic()
    try:
        handler(call)
    except CalloutError as error:
        answered = failed(call, error)
        raise Ended(answered.answer, f"{call.label}: {answered.reason}") from None
    except ScriptExit:
        call.failure = "ended by a script"
        raise
    except gevent.GreenletExit:
        call.failure = "ended with the request"
        raise
    except Ended as ended:
        call.failure = str(ended)
        raise Ended(ended.answer, ended.reason and f"{call.label}: {ended.reason}") from None
    except ScriptError as script:
        call.failure = str(script)
        raise Ended(INTERNAL_ERROR, f"{call.label}: {script}") from None
    finally:
        call.latency_ms = (time.monotonic() - started) * 1000
        log_call(call, call.run)
    call.run.context.finish(call.name, call.outcome)
