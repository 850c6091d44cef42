"""Parts of a configuration whose shape may be wrong: what does not fit is as good as absent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def record(parent: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The record or map of this name; empty if there is none."""
    value = parent.get(name)
    return value if isinstance(value, Mapping) else {}


def items(parent: Mapping[str, Any], name: str) -> Sequence[Any]:
    """The list of this name; empty if there is none."""
    value = parent.get(name)
    return value if isinstance(value, list) else ()


def texts(value: Any, schema: Mapping[str, Any], path: str) -> Iterator[tuple[str, Mapping[str, Any], str]]:
    """Every text below ``path``, with what the schema says of its field (empty for an unknown one), and its path."""
    if isinstance(value, Mapping):
        for name, one in value.items():
            node = schema.get("properties", {}).get(name) or schema.get("additionalProperties") or {}
            yield from texts(one, node, f"{path}.{name}")
    elif isinstance(value, list):
        for place, one in enumerate(value, 1):
            yield from texts(one, schema.get("items", {}), f"{path}[{place}]")
    elif isinstance(value, str):
        yield value, schema, path
