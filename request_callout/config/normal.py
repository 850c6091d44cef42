"""A raw configuration in one form: without what Kong adds and without nulls, with every default filled in.

Null for an optional field means that it is absent, as in Kong; only in a map of values to set it has a meaning
of its own (remove) and stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

from request_callout.config.template import literal

REFS = "$refs"

# What Kong's plugin server protocol adds beside the configuration's own fields.
KONG_KEYS = frozenset(
    {
        *("__plugin_id", "__seq__", "__key__", "__ws_id"),
        *("route_id", "service_id", "consumer_id", "consumer_group_id", "plugin_instance_name"),
    }
)


def is_reference(value: Any) -> bool:
    """Whether a value is a vault reference, by Kong's rule: the whole of it, in braces."""
    return isinstance(value, str) and len(value) > 10 and value.startswith("{vault://") and value.endswith("}")


def from_kong(raw: Mapping[str, Any]) -> bool:
    """Whether Kong's plugin server sent this, so that the gateway has already checked what it can."""
    return any(key.startswith("__") for key in raw)


def normal(raw: Any, schema: Mapping[str, Any], reference: Any = None) -> Any:
    """The configuration with defaults, as far as its shape allows; what does not fit stays as it is.

    ``reference`` is what ``$refs`` has for this value: a secret is a plain text, so what looks like an expression in
    it is not one.
    """
    kind = schema.get("type")
    if isinstance(raw, Mapping):
        if "properties" in schema:
            return _record(raw, schema)
        if not raw and kind == "array":
            return []  # Lua can't tell an empty list from an empty record
        return _map(raw, schema.get("additionalProperties") or {}, reference)
    if isinstance(raw, list):
        if not raw and kind == "object":
            return normal({}, schema)
        return [normal(value, schema["items"]) for value in raw] if kind == "array" else raw
    if isinstance(raw, str) and isinstance(reference, str) and schema.get("x-expressions"):
        return literal(raw)
    if kind == "integer" and isinstance(raw, float) and raw.is_integer():
        return int(raw)
    return raw


def _map(raw: Mapping[str, Any], values: Mapping[str, Any], reference: Any) -> dict[str, Any]:
    references = reference if isinstance(reference, Mapping) else {}
    return {name: normal(value, values, references.get(name)) for name, value in raw.items() if name != REFS}


def _record(raw: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    properties = schema["properties"]
    references = raw.get(REFS)
    if not isinstance(references, Mapping):
        references = {}
    result: dict[str, Any] = {
        name: normal(value, properties.get(name, {}), references.get(name))
        for name, value in raw.items()
        if name != REFS and not (value is None and name in properties)
    }
    for name, node in properties.items():
        if name in result:
            continue
        if "default" in node:
            result[name] = deepcopy(node["default"])
        elif "properties" in node and name not in schema.get("required", ()) and not node.get("x-optional"):
            result[name] = _record({}, node)
    return result


def references(raw: Any, path: str) -> Iterator[tuple[str, str, Any]]:
    """Every field that was a vault reference: its path, the reference, and the value that it was resolved to."""
    if isinstance(raw, list):
        for place, value in enumerate(raw, 1):
            yield from references(value, f"{path}[{place}]")
    elif isinstance(raw, Mapping):
        refs = raw.get(REFS)
        if isinstance(refs, Mapping):
            yield from _resolved(refs, raw, path)
        for name, value in raw.items():
            if name != REFS:
                yield from references(value, f"{path}.{name}")


def _resolved(refs: Mapping[str, Any], values: Mapping[str, Any], path: str) -> Iterator[tuple[str, str, Any]]:
    for name, reference in refs.items():
        value = values.get(name)
        if isinstance(reference, Mapping) and isinstance(value, Mapping):
            yield from _resolved(reference, value, f"{path}.{name}")
        elif isinstance(reference, str):
            yield f"{path}.{name}", reference, value


def encrypted(config: Any, schema: Mapping[str, Any]) -> Iterator[str]:
    """The values of fields that the schema marks as encrypted."""
    if isinstance(config, Mapping):
        for name, node in schema.get("properties", {}).items():
            if name in config:
                yield from encrypted(config[name], node)
    elif isinstance(config, list) and "items" in schema:
        for value in config:
            yield from encrypted(value, schema["items"])
    elif isinstance(config, str) and schema.get("x-encrypted"):
        yield config
