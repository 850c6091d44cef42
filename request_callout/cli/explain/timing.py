"""The longest that callouts may take, by their timeouts, retries and pauses, and by what bounds them all.

The time of one request is the sum of its timeouts. ``read`` and ``write`` count for each operation, so a service that
sends a little now and then can take longer: only ``timeouts.total`` and the deadline hold for everything.
"""

from __future__ import annotations

import math

from request_callout.cli.explain.explanation import Timing, Whole
from request_callout.config import model
from request_callout.config.settings import Settings
from request_callout.engine.plan import Plan, levels
from request_callout.engine.retrying import longest_pauses_ms
from request_callout.engine.total import attempt_ms, most_attempts

_TOKENS = 2  # one to begin with, and a new one after a 401, with which the callout is sent once more


def seconds(ms: float) -> str:
    """A time for people: ``250 ms``, ``1.5 s``, ``55 s``."""
    return f"{ms:.0f} ms" if ms < 1000 else f"{ms / 1000:.2f}".rstrip("0").rstrip(".") + " s"


def own_ms(config: model.Callout, settings: Settings) -> tuple[int, str]:
    """The longest that one callout takes by itself, and how that is made up."""
    request = config.request
    timeouts, errors = request.http_opts.timeouts, request.error
    once_ms = attempt_ms(timeouts, settings)
    defaults = ", the server's defaults" if timeouts is None else ""
    connect, write, read = (
        seconds((getattr(timeouts, f"{name}_ms") if timeouts else 0) or getattr(settings, f"default_{name}_timeout_ms"))
        for name in ("connect", "write", "read")
    )
    steps = [f"{connect} connect + {write} write + {read} read{defaults}"]
    longest_ms: float = once_ms
    redirects = request.http_opts.max_redirects
    if redirects:
        longest_ms *= 1 + redirects
        steps.append(f"{redirects} redirects")
    if request.hedge_after_ms is not None:
        longest_ms += request.hedge_after_ms
        steps.append(f"a second attempt after {seconds(request.hedge_after_ms)}")
    if request.auth is not None and request.auth.type == "oauth2_client_credentials":
        longest_ms = _TOKENS * (longest_ms + once_ms)
        steps.append("a token, and once more with a new one after a 401")
    attempts, pauses_ms = most_attempts(errors), longest_pauses_ms(errors)
    longest_ms = attempts * longest_ms + pauses_ms
    if attempts > 1:
        steps.append(f"{attempts} attempts")
    if pauses_ms:
        steps.append(f"pauses up to {seconds(pauses_ms)}")
    if timeouts is not None and timeouts.total_ms and timeouts.total_ms < longest_ms:
        longest_ms = timeouts.total_ms
        steps = [f"timeouts.total; up to {attempts} attempts" if attempts > 1 else "timeouts.total"]
    else:
        total = f", {seconds(timeouts.total_ms)} (timeouts.total)" if timeouts is not None and timeouts.total_ms else ""
        steps.append(f"longer for a service that sends bit by bit{total}")
    if config.for_each is not None:
        turns = math.ceil(config.for_each.max_items / config.for_each.concurrency)
        longest_ms *= turns
        steps.append(f"{config.for_each.max_items} elements, {config.for_each.concurrency} side by side")
    return math.ceil(longest_ms), "; ".join(steps)


def times(plan: Plan, deadline_ms: int, settings: Settings) -> tuple[list[Timing], Whole]:
    """For each step of the plan, and for all of them together."""
    result: list[Timing] = []
    ends: list[int] = []
    after: list[int | None] = []  # which step each one begins after, at the latest
    for step in plan.steps:
        last = max(step.waits_for, key=lambda place: ends[place], default=None)
        begins_ms = 0 if last is None else ends[last]
        longest_ms, text = own_ms(step.callout.config, settings)
        attempts = most_attempts(step.callout.config.request.error)
        result.append(Timing(attempts=attempts, longest_ms=longest_ms, begins_ms=begins_ms, text=text))
        ends.append(begins_ms + longest_ms)
        after.append(last)
    path: list[int] = []
    place = max(range(len(ends)), key=lambda one: ends[one], default=None)
    while place is not None:
        path.insert(0, place)
        place = after[place]
    level_of = levels(plan)
    whole = Whole(
        longest_ms=min(deadline_ms, max(ends, default=0)),
        deadline_ms=deadline_ms,
        ends_by_deadline=max(ends, default=0) > deadline_ms,
        critical_path=tuple(plan.steps[one].callout.name for one in path),
        levels_ms=tuple(
            max(one.longest_ms for one, its in zip(result, level_of, strict=True) if its == level)
            for level in range(max(level_of, default=-1) + 1)
        ),
    )
    return result, whole
