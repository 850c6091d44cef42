"""What OpenTelemetry's variables say, looked at without anything of OpenTelemetry."""

from __future__ import annotations

import os

_LIMITS = (
    *("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "OTEL_SPAN_EVENT_COUNT_LIMIT", "OTEL_SPAN_LINK_COUNT_LIMIT"),
    *("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", "OTEL_ATTRIBUTE_COUNT_LIMIT"),
    *("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT"),
)


def variable(name: str) -> str:
    """A variable of the environment; one that is empty is none."""
    return os.environ.get(name, "").strip()


def check_limits() -> None:
    """Raise ValueError for a limit of spans that is no number: older SDKs, while imported, do not name the variable."""
    for name in _LIMITS:
        given = variable(name)
        if given and not (given.isascii() and given.isdigit()):
            raise ValueError(f"{name} is {given!r}; it must be a non-negative integer")
