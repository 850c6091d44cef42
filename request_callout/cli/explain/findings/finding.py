"""One thing that was found; what several parts of the search share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from request_callout.cli.explain.explanation import Level
from request_callout.engine.compiled import CompiledCallout


@dataclass(frozen=True, slots=True)
class Finding:
    """A warning or an advice; ``where`` is the field, as ``config.callouts[1].request.url``."""

    level: Level
    code: str
    where: str
    message: str
    remedy: str


def path_of(callout: CompiledCallout, field: str) -> str:
    """The path of a callout's field."""
    return callout.url.where.removesuffix("request.url") + field


def listed(names: Iterable[str]) -> str:
    """``a, b and c``."""
    names = list(names)
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
