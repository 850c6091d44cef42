"""Which requests are recorded: OpenTelemetry's samplers, as ``OTEL_TRACES_SAMPLER`` names them.

The decision is that of the SDK for the same trace. It is made here, since to ask the SDK costs more than all else that
a request needs which is not sampled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from request_callout.telemetry.propagation import SAMPLED, Place

Sampler: TypeAlias = "Callable[[Place | None, bytes], int]"
"""Takes the span that a request comes from, if any, and the id of the trace; gives ``SAMPLED`` or 0."""

_PARENT = "parentbased_"
_NAMES = [prefix + name for prefix in ("", _PARENT) for name in ("always_on", "always_off", "traceidratio")]


def sampler(name: str, argument: str) -> Sampler:
    """The sampler of this name, empty for the default; raises ValueError for what is none."""
    name = name.lower() or "parentbased_always_on"
    if name not in _NAMES:
        raise ValueError(f"OTEL_TRACES_SAMPLER is {name!r}; it may be one of {', '.join(_NAMES)}")
    root = _root(name.removeprefix(_PARENT), argument)
    if not name.startswith(_PARENT):
        return root

    def decide(parent: Place | None, trace_id: bytes) -> int:
        return root(None, trace_id) if parent is None else parent.flags & SAMPLED

    return decide


def _root(name: str, argument: str) -> Sampler:
    if name == "always_on":
        return lambda parent, trace_id: SAMPLED
    if name == "always_off":
        return lambda parent, trace_id: 0
    try:
        share = float(argument or 1)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise ValueError(f"OTEL_TRACES_SAMPLER_ARG is {argument!r}; it must be a number from 0 to 1")
    bound = round(share * (1 << 64))

    def decide(parent: Place | None, trace_id: bytes) -> int:
        return SAMPLED if int.from_bytes(trace_id[8:], "big") < bound else 0

    return decide
