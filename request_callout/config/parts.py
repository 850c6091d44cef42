"""Parts of a configuration whose shape may be wrong: what does not fit is as good as absent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def record(parent: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The record or map of this name; empty if there is none."""
    value = parent.get(name)
    return value if isinstance(value, Mapping) else {}


def items(parent: Mapping[str, Any], name: str) -> Sequence[Any]:
    """The list of this name; empty if there is none."""
    value = parent.get(name)
    return value if isinstance(value, list) else ()
