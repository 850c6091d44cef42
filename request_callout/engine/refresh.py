"""Fetching a stale response anew in the background, after its request was answered with the stale one."""

from __future__ import annotations

import logging
import time
from functools import partial

from request_callout.engine.answer import CalloutError, Ended
from request_callout.engine.cache_policy import CachePolicy
from request_callout.engine.caching import Refresh, end_flight, turn_s
from request_callout.engine.call import Call, Handler
from request_callout.engine.context import CalloutRecord
from request_callout.engine.keys import flight_key, key_for
from request_callout.engine.kong import ConnectionLost
from request_callout.engine.sharing import log_call
from request_callout.lua.host import PdkError, ScriptError
from request_callout.values import Kept

MOST_AT_ONCE = 100
"""Refreshes of a process; what is stale beyond them is refreshed by a later request."""


def refreshing(handler: Handler, policy: CachePolicy) -> Refresh:
    """What begins a refresh of a call's response: ``handler`` makes the callout and stores the response."""

    def begin(call: Call) -> None:
        engine = call.run.instance.engine
        key = flight_key(call)
        if engine.flights.get(key) is None and len(engine.background) < MOST_AT_ONCE:
            later = _detached(call)
            policy.mark(later, "miss")
            later.flight = engine.flights.open(key)
            # Bound to what it needs: a kill takes a greenlet's arguments from it, which compiled functions only borrow.
            engine.background.spawn(partial(_refresh, later, handler, policy))

    return begin


def _detached(call: Call) -> Call:
    """The same callout with the same request, for after its proxied request: with a deadline of its own."""
    record = call.record
    caching = record.caching if type(record.caching) is Kept else dict(record.caching)
    later = Call(call.run.detached(), call.callout)
    later.cache_key = call.cache_key
    later.principal, later.authorization = call.principal, call.authorization
    later.begin(CalloutRecord(record.params, caching, not_stored=record.not_stored))
    return later


def _refresh(call: Call, handler: Handler, policy: CachePolicy) -> None:
    """Do it; whatever goes wrong is one line in the log, and the stale response is used on."""
    started = time.monotonic()
    try:
        if _has_turn(call, policy):
            handler(call)
    except CalloutError as error:
        call.failure, call.result = error.message, "failed"
    except ConnectionLost:
        call.failure = "a script needs Kong, which is not there for a refresh"
    except (Ended, ScriptError, PdkError) as ended:
        call.failure = call.run.concealed(str(ended))
    except Exception:
        call.failure = "unexpected error"
        line = f"callout {call.name}: unexpected error while its response was fetched anew"
        call.run.log.say(logging.ERROR, line, {"callout": call.name}, traceback=True)
    else:
        call.result = "ok"
    finally:
        end_flight(call)
        call.run.context.close()
    call.latency_ms = (time.monotonic() - started) * 1000
    if call.attempts or call.failure:
        log_call(call, call.run)
        call.run.log.tell_held()
        for one in call.run.observed:
            one.callout(call)
    call.run.failure = call.failure
    call.run.end(None)
    if call.failure is not None:
        policy.warn(call, "its stale response could not be fetched anew", call.failure)


def _has_turn(call: Call, policy: CachePolicy) -> bool:
    """Whether no other process is fetching it, or has just done so."""
    run = call.run
    store = run.instance.store
    if not store.shared:
        return True
    key = key_for(call)
    call.lease = store.lease(key, turn_s(call, policy)[1])
    if call.lease is None:
        return False
    entry = store.get(key)
    return entry is None or run.instance.engine.clock() - entry.stored_at >= entry.fresh_s
