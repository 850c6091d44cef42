"""Why a callout waits for those before it. The plan is made of these reasons, and ``explain`` and traces show them.

Declared dependencies, and what expressions read, are always awaited. Where nothing is declared, what may have side
effects keeps its place in the sequence: a script waits for all before it and all after it wait for the script, and a
method that may change something is sent only when it is certain that a sequence would have sent it too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from request_callout.engine.compiled import CompiledCallout

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

Why = Literal["declared", "reads", "may_read", "script", "after_script", "method"]
"""``may_read``: an expression uses the context in a way that can't be resolved to a name. ``script``: the callout has
one. ``after_script``: the awaited one has."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a callout waits for the one at an earlier ``place`` (from 0) of the sequence; ``where`` is the field."""

    place: int
    why: Why
    where: str


def reasons(callout: CompiledCallout, before: Sequence[CompiledCallout]) -> tuple[Reason, ...]:
    """Everything for which a callout waits, given those before it in the sequence; a place may be there repeatedly."""
    return tuple(sorted(_reasons(callout, before), key=lambda reason: reason.place))


def _reasons(callout: CompiledCallout, before: Sequence[CompiledCallout]) -> Iterator[Reason]:
    config = callout.config
    own = callout.url.where.removesuffix("request.url")
    places = {one.name: place for place, one in enumerate(before)}
    for name in config.depends_on or ():
        yield Reason(places[name], "declared", f"{own}depends_on")
    yield from _read(callout, places)
    if config.depends_on is not None:
        return
    script = callout.script
    if script is not None:
        yield from (Reason(place, "script", script.where) for place in range(len(before)))
    elif config.request.method not in SAFE_METHODS:
        yield from (Reason(place, "method", f"{own}request.method") for place in range(len(before)))
    else:
        for place, one in enumerate(before):
            if one.script is not None:
                yield Reason(place, "after_script", one.script.where)


def _read(callout: CompiledCallout, places: dict[str, int]) -> Iterator[Reason]:
    """What the expressions read. Naming itself or a later one adds nothing."""
    for text in callout.texts:
        uses = text.uses
        for name in sorted(uses.callouts - {callout.name}):
            if name in places:
                yield Reason(places[name], "reads", text.where)
        if uses.all_callouts:
            yield from (Reason(place, "may_read", text.where) for place in places.values())
