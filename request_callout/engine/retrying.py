"""The layer of a callout that makes further attempts, and the pauses between them.

A pause is a random time up to a bound that grows with each retry ("full jitter"), so that the clients of a service that
is back do not come all at once; a response may ask for a longer one. Without a backoff, retries follow at once.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import mktime_tz, parsedate_tz

import gevent

from request_callout.config import model
from request_callout.engine.answer import CalloutError
from request_callout.engine.call import Call, Handler
from request_callout.engine.context import CalloutResponse
from request_callout.engine.outcome import error_table

LONGEST_ASKED_MS = 10_000
"""As long as a response may ask to wait where no backoff says how long."""

_MOST_DIGITS = 10


def _uniform(low: float, high: float) -> float:
    return random.uniform(low, high)  # noqa: S311 (no secret)


@dataclass(frozen=True, slots=True)
class Pacing:
    """How time passes between attempts: moments of ``time.monotonic()``, a sleep and a random number, in seconds."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = gevent.sleep
    uniform: Callable[[float, float], float] = _uniform


def retry(following: Handler, policy: model.ErrorPolicy, pacing: Pacing | None = None) -> Handler:
    """Make up to ``policy.retries`` more attempts after an error, for the methods that may be tried again.

    The last error is raised at once where a retry could not be made in time, or would meet an open circuit.
    """
    pace = pacing or Pacing()
    waits = policy.backoff is not None or policy.retry_after

    def handle(call: Call) -> CalloutResponse | None:
        if policy.retry_methods is not None and call.method not in policy.retry_methods:
            return following(call)
        for number in range(policy.retries):
            try:
                return following(call)
            except CalloutError as error:
                pause_s = _pause_s(policy, number, error, call, pace) if waits else 0.0
                at = pace.now() + pause_s
                if at >= call.deadline or at < error.not_before:
                    raise
                call.record.retries.append(error_table(error))
            if pause_s:
                pace.sleep(pause_s)
        return following(call)

    return handle


def _pause_s(policy: model.ErrorPolicy, number: int, error: CalloutError, call: Call, pace: Pacing) -> float:
    """How long to wait after an error; ``number`` of retries were made before it."""
    pause_s = 0.0
    if policy.backoff is not None:
        pause_s = pace.uniform(0.0, longest_pause_ms(policy.backoff, number) / 1000)
    if policy.retry_after and error.response is not None:
        now = call.run.instance.engine.clock()
        most_ms = LONGEST_ASKED_MS if policy.backoff is None else policy.backoff.max_ms
        pause_s = max(pause_s, min(retry_after_s(error.response.headers, now), most_ms / 1000))
    return pause_s


def longest_pause_ms(backoff: model.Backoff, number: int) -> float:
    """The bound of the pause before a retry, the first of which has the number 0."""
    bound = float(backoff.initial_ms)
    for _ in range(number):
        if bound >= backoff.max_ms:
            break
        bound *= backoff.factor
    return min(bound, float(backoff.max_ms))


def longest_pauses_ms(policy: model.ErrorPolicy) -> float:
    """What all pauses of a callout take together at most."""
    if policy.on_error != "retry":
        return 0.0
    most_ms = LONGEST_ASKED_MS if policy.backoff is None else policy.backoff.max_ms
    if policy.retry_after:
        return float(policy.retries * most_ms)
    if policy.backoff is None:
        return 0.0
    return sum(longest_pause_ms(policy.backoff, number) for number in range(policy.retries))


def retry_after_s(headers: Mapping[str, str | list[str]], now: float) -> float:
    """How long ``Retry-After`` asks to wait (RFC 9110 section 10.2.3), as seconds or as a date; 0 for anything else.

    ``now`` is a moment of ``time.time()``; names are in lower case, of several values the first counts.
    """
    value = headers.get("retry-after", "")
    if isinstance(value, list):
        value = value[0] if value else ""
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value[:_MOST_DIGITS])
    date = parsedate_tz(value)
    if date is None:
        return 0.0
    try:
        return max(0.0, mktime_tz(date) - now)
    except (ValueError, OverflowError):
        return 0.0
