"""Durations as KrakenD writes them: Go's, such as ``1m30s``, ``1.5s`` or ``800ms``."""

from __future__ import annotations

import re
from typing import Any

from request_callout.cli.convert.report import Unconvertible

_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_UNIT_MS = {"ns": 1e-6, "us": 1e-3, "µs": 1e-3, "ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}
_MOST_MS = 2_147_483_646


def duration_ms(value: Any, place: str) -> int:
    """Whole milliseconds, as many as a configuration may have at most; raises Unconvertible."""
    if value in (0, "0", ""):
        return 0
    if not isinstance(value, str) or not re.fullmatch(f"({_PART.pattern})+", value):
        raise Unconvertible(place, f"expected a duration such as 2s or 800ms, not {value!r}")
    return min(_MOST_MS, round(sum(float(found[1]) * _UNIT_MS[found[2]] for found in _PART.finditer(value))))
