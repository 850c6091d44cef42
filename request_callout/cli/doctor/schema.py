"""Whether the schema that Kong has loaded is ours: it has an old one if the dump was not written again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from request_callout.cli.doctor.findings import Finding
from request_callout.config.kong_schema import PLUGIN_NAME, config_fields

_MOST = 5
# What Kong adds, or may leave out; and what says nothing of which configurations are taken.
_IGNORED = frozenset({"description", "uuid", "legacy", "deprecation", "err"})


def schema(status: int, answer: Any) -> Finding:
    """The answer to ``GET /schemas/plugins/request-callout`` beside our own schema."""
    if status != 200 or not isinstance(answer, dict):
        return Finding("schema", "problem", f"Kong has no schema of {PLUGIN_NAME}", "see the finding about the plugin")
    fields = answer.get("fields")
    entries = fields if isinstance(fields, list) else []
    loaded = next((one["config"] for one in entries if isinstance(one, dict) and "config" in one), None)
    if not isinstance(loaded, dict):
        return Finding("schema", "problem", "Kong's schema of the plugin has no config", "write the dump again")
    differences = list(_differences(_normal({"fields": config_fields()}), _normal(_fields_only(loaded)), "config"))
    if not differences:
        return Finding("schema", "ok", "as this version has it")
    told = "; ".join(differences[:_MOST]) + ("; …" if len(differences) > _MOST else "")
    remedy = "write it again (request-callout dump > FILE), where query_cmd reads it, and restart Kong"
    return Finding("schema", "problem", f"Kong has another schema, of an older or newer dump: {told}", remedy)


def _fields_only(record: dict[str, Any]) -> dict[str, Any]:
    """A record without what Kong says of it as a field, such as required."""
    return {"fields": record.get("fields") or []}


def _normal(value: Any) -> Any:
    """A part of a schema with its fields by name, without what does not count."""
    if isinstance(value, list):
        return [_normal(one) for one in value]
    if not isinstance(value, dict):
        return float(value) if isinstance(value, int) and not isinstance(value, bool) else value
    result: dict[str, Any] = {}
    for name, one in value.items():
        if name in _IGNORED:
            continue
        if name == "fields" and isinstance(one, list):
            result[name] = {key: _normal(field) for entry in one for key, field in entry.items()}
        # An empty list and an empty object are the same to Lua; false is what is left out.
        elif one not in ([], {}, None, False) or name in ("default", "required"):
            result[name] = [] if one == {} else _normal(one)
    if result.get("required") is False and result.get("type") != "record":
        del result["required"]
    return result


def _differences(ours: Any, theirs: Any, path: str) -> Iterator[str]:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for name in {**ours, **theirs}:
            below = path if name in ("fields", "elements", "values") else f"{path}.{name}"
            if name not in theirs:
                yield f"{below} is not in Kong's"
            elif name not in ours:
                yield f"{below} is in Kong's only"
            else:
                yield from _differences(ours[name], theirs[name], below)
    elif ours != theirs:
        yield f"{path} differs"
