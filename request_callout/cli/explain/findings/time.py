"""What takes longer than it looks."""

from __future__ import annotations

from collections.abc import Iterator

from request_callout.cli.explain.explanation import Whole
from request_callout.cli.explain.findings.finding import Finding, listed, path_of
from request_callout.cli.explain.subject import Subject
from request_callout.cli.explain.timing import own_ms, seconds
from request_callout.config import model
from request_callout.engine.compiled import CompiledCallout
from request_callout.engine.plan import Plan
from request_callout.engine.reasons import Why
from request_callout.lua import analyse

_ORDERED: frozenset[Why] = frozenset({"script", "after_script"})


def findings(subject: Subject, whole: Whole) -> Iterator[Finding]:
    """Everything about time."""
    yield from _no_timeouts(subject, whole)
    yield from _over_deadline(subject, whole)
    for callout in subject.callouts:
        yield from _breaker(callout)
    yield from _sequence_by_script(subject)


def _is_bounded(callout: CompiledCallout) -> bool:
    timeouts = callout.config.request.http_opts.timeouts
    return timeouts is not None and bool(timeouts.total_ms or timeouts.read_ms)


def _no_timeouts(subject: Subject, whole: Whole) -> Iterator[Finding]:
    unbounded = [callout for callout in subject.callouts if not _is_bounded(callout)]
    if not unbounded or subject.config.deadline_ms is not None:
        return
    names = listed(callout.name for callout in unbounded)
    yield Finding(
        "warning",
        "no-timeouts",
        path_of(unbounded[0], "request.http_opts"),
        f"a service that hangs ({names}) holds each request for up to {seconds(whole.longest_ms)}",
        "set http_opts.timeouts, such as {total: 3000}, or deadline_ms for all of them",
    )


def _over_deadline(subject: Subject, whole: Whole) -> Iterator[Finding]:
    path = [callout for callout in subject.callouts if callout.name in whole.critical_path]
    if not whole.ends_by_deadline or not all(map(_is_bounded, path)):
        return
    longest_ms = sum(own_ms(callout.config, subject.settings)[0] for callout in path)
    way = " then ".join(whole.critical_path)
    whose = "deadline_ms" if subject.config.deadline_ms is not None else "the server's --deadline-ms"
    yield Finding(
        "advice",
        "over-deadline",
        "config.deadline_ms"
        if subject.config.deadline_ms is not None
        else path_of(path[-1], "request.http_opts.timeouts"),
        f"timeouts and retries of {way} come to {seconds(longest_ms)}, but {whose} ends all after "
        f"{seconds(whole.deadline_ms)}: the last of them are not made in the worst case",
        "shorten timeouts.total of these callouts, or lengthen the deadline",
    )


def _breaker(callout: CompiledCallout) -> Iterator[Finding]:
    if callout.config.request.circuit_breaker is not None and not _is_bounded(callout):
        yield Finding(
            "advice",
            "breaker-without-timeouts",
            path_of(callout, "request.circuit_breaker"),
            f"a service that hangs is a failure only after its timeouts, so the circuit of {callout.name} opens late",
            "set http_opts.timeouts, such as {total: 3000}",
        )


def _sequence_by_script(subject: Subject) -> Iterator[Finding]:
    needed = _needed(subject.plan)
    for place, callout in enumerate(subject.callouts):
        script = callout.script
        if script is None or callout.config.depends_on is not None:
            continue
        before = [one for one in range(place) if one not in needed[place]]
        after = [
            one
            for one, step in enumerate(subject.plan.steps)
            if one > place and place in step.waits_for and place not in needed[one]
        ]
        if not before and not after:
            continue
        others = listed(subject.callouts[one].name for one in (*before, *after))
        declared = _depends_on(callout, subject.config.callouts)
        remedy = "name in depends_on what the script reads"
        if declared is not None:
            remedy = f"if the script changes nothing that others need: depends_on: [{', '.join(declared)}]"
        yield Finding(
            "advice",
            "sequence-by-script",
            script.where,
            f"for its script, {callout.name} is not run side by side with {others}",
            remedy,
        )


def _needed(plan: Plan) -> list[frozenset[int]]:
    """For each step what it waits for, also through others, but for the order that scripts make."""
    result: list[frozenset[int]] = []
    for step in plan.steps:
        own = frozenset(reason.place for reason in step.reasons if reason.why not in _ORDERED)
        result.append(own.union(*(result[place] for place in own)))
    return result


def _depends_on(callout: CompiledCallout, callouts: tuple[model.Callout, ...]) -> list[str] | None:
    """What its scripts read of others, None if that can't be told."""
    names = {one.name for one in callouts} - {callout.name}
    found: set[str] = set()
    for script in (callout.request_script, callout.response_script):
        if script is not None:
            uses = analyse(script.source, is_expression=False)
            if uses.all_callouts:
                return None
            found |= uses.callouts
    return sorted(found & names)
