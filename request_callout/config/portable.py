"""Which fields of a configuration Kong Enterprise's plugin does not have: without them it is portable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from request_callout.config.normal import REFS
from request_callout.config.schema import json_schema


def beyond_enterprise(raw: Any) -> list[str]:
    """The paths of the fields that are ours, in the order of the configuration; a record of ours stands for all in it.

    A field is one even if it is null or has its default: Enterprise refuses every name that it does not know.
    """
    return list(_beyond(raw, json_schema(), "config"))


def _beyond(value: Any, schema: Mapping[str, Any], path: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, node in ((name, schema.get("properties", {}).get(name)) for name in value if name != REFS):
            if node is None:
                continue
            if node.get("x-beyond-enterprise"):
                yield f"{path}.{name}"
            else:
                yield from _beyond(value[name], node, f"{path}.{name}")
    elif isinstance(value, list):
        for place, one in enumerate(value, 1):
            yield from _beyond(one, schema.get("items", {}), f"{path}[{place}]")
