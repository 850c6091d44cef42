"""Which callout waits for which, and what has to be read from the client's request: known before any request.

The sequence is that of the declared ``depends_on``: again and again the first callout whose dependencies have all
been taken. Within it a callout waits only for what it needs (see ``reasons``), so independent ones run side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from request_callout.config.model import Configuration
from request_callout.engine.client import Part
from request_callout.engine.compiled import CompiledCallout, CompiledUpstream
from request_callout.engine.reasons import Reason, reasons


@dataclass(frozen=True, slots=True)
class Step:
    """One callout at its place in the sequence; ``waits_for`` are the earlier places that the reasons name."""

    callout: CompiledCallout
    waits_for: frozenset[int]
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps in sequence, whether each waits for the one before, and the parts of the request they read."""

    steps: tuple[Step, ...]
    one_by_one: bool
    reads: tuple[Part, ...]


def make_plan(config: Configuration, callouts: Sequence[CompiledCallout], upstream: CompiledUpstream) -> Plan:
    """The plan of one configuration."""
    sequence = in_sequence(callouts)
    steps = tuple(_step(callout, sequence[:place]) for place, callout in enumerate(sequence))
    one_by_one = all(place - 1 in step.waits_for for place, step in enumerate(steps) if place)
    return Plan(steps, one_by_one, _reads(config, sequence, upstream))


def in_sequence(callouts: Sequence[CompiledCallout]) -> list[CompiledCallout]:
    """The callouts in the order in which one after the other would run them."""
    waiting = list(callouts)
    taken: dict[str, CompiledCallout] = {}
    while waiting:
        following = next(one for one in waiting if taken.keys() >= set(one.config.depends_on or ()))
        waiting.remove(following)
        taken[following.name] = following
    return list(taken.values())


def _step(callout: CompiledCallout, before: Sequence[CompiledCallout]) -> Step:
    found = reasons(callout, before)
    return Step(callout, frozenset(reason.place for reason in found), found)


def levels(plan: Plan) -> list[int]:
    """How many callouts have to be done one after the other before each step; those of one level run side by side."""
    result: list[int] = []
    for step in plan.steps:
        result.append(max((result[place] + 1 for place in step.waits_for), default=0))
    return result


def described(plan: Plan) -> list[dict[str, Any]]:
    """The plan as JSON has it: ``name``, ``level`` and ``waits_for`` (``name``, ``why``, ``where``) of every step."""
    names = [step.callout.name for step in plan.steps]
    return [
        {
            "name": step.callout.name,
            "level": level,
            "waits_for": [
                {"name": names[reason.place], "why": reason.why, "where": reason.where} for reason in step.reasons
            ],
        }
        for step, level in zip(plan.steps, levels(plan), strict=True)
    ]


def _reads(config: Configuration, callouts: Sequence[CompiledCallout], upstream: CompiledUpstream) -> tuple[Part, ...]:
    reads: list[Part] = []

    def need(part: Part, condition: bool) -> None:
        if condition and part not in reads:
            reads.append(part)

    shortcuts = frozenset().union(*(one.uses.shortcuts for one in callouts), upstream.uses.shortcuts)
    cached = any(one.may_cache(config.cache.strategy) for one in callouts)
    merges_client_body = upstream.body.merges(decode=upstream.config.body.decode)
    edits_query = upstream.query.changes and upstream.query.forward
    need("headers", "headers" in shortcuts or any(one.headers.forward for one in callouts))
    need("headers", not upstream.headers.forward)
    need("raw_query", "query_params" in shortcuts or any(one.query.forward for one in callouts) or edits_query)
    need("captures", "uri_captures" in shortcuts)
    need("body", any(_takes_body(one) for one in callouts) or merges_client_body)
    need("content_type", "headers" not in reads and any(_takes_content_type(one) for one in callouts))
    need("route", (cached and config.route_id is None) or not upstream.headers.forward)
    need("service", not upstream.headers.forward or (upstream.target is not None and upstream.target.needs_service))
    need("consumer", cached)
    return tuple(reads)


def _takes_body(callout: CompiledCallout) -> bool:
    """Whether the client's body goes into the callout: as it came, or under the changes."""
    body = callout.body
    if callout.content is not None:
        return False
    return body.forward and (not body.custom or body.merges(decode=callout.config.request.body.decode))


def _takes_content_type(callout: CompiledCallout) -> bool:
    """Whether it matters what the client says of its body: when it goes on as it came, or is read as a form."""
    is_form = callout.config.request.body.format in ("form", "multipart")
    return _takes_body(callout) and (is_form or not callout.body.changes)
