"""What the schema can't say of a callout's caching: how long its response is kept, and what its key varies on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from request_callout.config.normal import is_reference
from request_callout.config.problems import Problem
from request_callout.config.sources import Sources
from request_callout.config.template import TemplateError, parse

# Ten digits are three centuries.
_SECONDS = re.compile(r"[0-9]{1,10}(\.[0-9]+)?")


def callout_cache(cache: Mapping[str, Any], path: str, sources: Sources) -> Iterator[Problem]:
    """``callouts[].cache`` at ``path``."""
    ttl = cache.get("ttl")
    yield from sources.text(ttl, f"{path}.ttl")
    yield from _seconds(ttl, f"{path}.ttl")
    values = cache.get("vary_on")
    for place, value in enumerate(values if isinstance(values, list) else (), 1):
        yield from sources.text(value, f"{path}.vary_on[{place}]")


def _seconds(ttl: Any, path: str) -> Iterator[Problem]:
    """A text without an expression has to be a number; what an expression gives is seen when it is evaluated."""
    if not isinstance(ttl, str) or not ttl or ttl.startswith("#") or is_reference(ttl):
        return
    try:
        constant = parse(ttl).is_constant
    except TemplateError:
        return
    if constant and not _SECONDS.fullmatch(ttl.strip()):
        yield Problem(
            path,
            f'{ttl!r} is no number of seconds; write one such as "60", without a unit, '
            "or an expression such as $(callouts.NAME.response.body.expires_in - 30)",
        )
