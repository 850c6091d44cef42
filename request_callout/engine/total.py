"""The layer of a callout that bounds all of its attempts, with the pauses between them, by one time."""

from __future__ import annotations

import time

from request_callout.config import model
from request_callout.config.settings import Settings
from request_callout.engine.answer import CalloutError
from request_callout.engine.call import Call, Handler
from request_callout.engine.context import CalloutResponse


def attempt_ms(timeouts: model.Timeouts | None, settings: Settings) -> int:
    """How long one request takes at most, as its timeouts tell."""
    return (
        ((timeouts.connect_ms if timeouts else 0) or settings.default_connect_timeout_ms)
        + ((timeouts.write_ms if timeouts else 0) or settings.default_write_timeout_ms)
        + ((timeouts.read_ms if timeouts else 0) or settings.default_read_timeout_ms)
    )


def most_attempts(policy: model.ErrorPolicy) -> int:
    """How often a callout is tried at most."""
    return 1 + (policy.retries if policy.on_error == "retry" else 0)


def bound(following: Handler) -> Handler:
    """Give the callout a deadline of its own: ``timeouts.total`` from now on, within that of the request.

    What is left of it bounds every attempt. What the request's script made of the timeouts counts.
    """

    def handle(call: Call) -> CalloutResponse | None:
        timeouts = call.record.params.timeouts
        total_ms = None if timeouts is None else timeouts.total_ms
        if total_ms is None:
            return following(call)
        call.bound_by(total_ms, time.monotonic())
        try:
            return following(call)
        except CalloutError as error:
            if error.response is None and error.http_code is None and call.is_over_total(time.monotonic()):
                raise CalloutError(error.reason, call.deadline_message) from None
            raise

    return handle
