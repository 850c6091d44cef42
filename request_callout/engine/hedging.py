"""The layer of a callout that sends a second attempt when the first is slow, and takes the first usable answer.

Only for methods that are idempotent (RFC 9110 section 9.2.2): both attempts may reach the service.
"""

from __future__ import annotations

from functools import partial
from typing import TypeAlias

import gevent
from gevent.queue import Empty, SimpleQueue

from request_callout.engine.answer import CalloutError
from request_callout.engine.call import Call, Handler
from request_callout.engine.context import CalloutResponse

IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})

_Outcome: TypeAlias = "tuple[CalloutResponse | None, Exception | None]"


def hedge(following: Handler, after_ms: int) -> Handler:
    """Send a second attempt if there is no answer after so long; the other one is ended, its connection closed.

    An error before that moment is the outcome; after it, an error of one waits for what the other gives.
    """
    after_s = after_ms / 1000

    def handle(call: Call) -> CalloutResponse | None:
        if call.method not in IDEMPOTENT:
            return following(call)
        return _race(call, following, after_s)

    return handle


def _race(call: Call, following: Handler, after_s: float) -> CalloutResponse | None:
    ended: SimpleQueue[_Outcome] = SimpleQueue()
    began_at = call.run.instance.engine.clock()
    # Bound to what they need: a kill takes a greenlet's arguments from it, which compiled functions only borrow.
    attempt = partial(_attempt, call, following, ended)
    running = [gevent.spawn(attempt)]
    try:
        outcome = _next(ended, after_s)
        if outcome is None:
            running.append(gevent.spawn(attempt))
            outcome = ended.get()
            if isinstance(outcome[1], CalloutError):
                outcome = ended.get()
    finally:
        gevent.killall(running)
    call.requested_at = began_at  # that of the earlier attempt: which of them was answered makes the age no shorter
    response, error = outcome
    if error is not None:
        raise error
    return response


def _next(ended: SimpleQueue[_Outcome], within_s: float) -> _Outcome | None:
    try:
        return ended.get(timeout=within_s)
    except Empty:
        return None


def _attempt(call: Call, following: Handler, ended: SimpleQueue[_Outcome]) -> None:
    try:
        response = following(call)
    except Exception as error:  # handed to the greenlet that waits for it
        ended.put((None, error))
    else:
        ended.put((response, None))
