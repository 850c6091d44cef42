"""The same configuration in Kong's own schema language, for the answer to ``pluginserver_*_query_cmd``.

Kong fills the defaults, refuses what does not fit and answers ``GET /schemas/plugins/request-callout`` from it. It
travels as JSON, so it holds no functions; what it can't say is checked by ``config.load``. Nothing heavy is imported
here: Kong waits for this at start.
"""

from __future__ import annotations

from typing import Any

from request_callout import __version__
from request_callout.config.schema import json_schema

PLUGIN_NAME = "request-callout"
PRIORITY = 812
PHASES = ("access",)
PROTOCOLS = ("grpc", "grpcs", "http", "https")

_TYPES = {"string": "string", "integer": "integer", "number": "number", "boolean": "boolean"}

# Records that stay absent unless they are given: an empty one would mean something.
_OPTIONAL_RECORDS = frozenset({"proxy", "timeouts"})

_ENTITY_CHECKS: dict[str, list[dict[str, Any]]] = {
    "timeouts": [{"mutually_required": ["connect", "write", "read"]}],
    "redis": [
        {"mutually_required": ["sentinel_master", "sentinel_role", "sentinel_nodes"]},
    ],
}


def plugin_info() -> dict[str, Any]:
    """What Kong wants to know of the plugin: name, phases, priority, version and schema."""
    return {
        "Name": PLUGIN_NAME,
        "Phases": list(PHASES),
        "Priority": PRIORITY,
        "Version": __version__,
        "Schema": {
            "name": PLUGIN_NAME,
            "fields": [{"protocols": _protocols()}, {"config": {"type": "record", "fields": config_fields()}}],
        },
    }


def config_fields() -> list[dict[str, Any]]:
    """The fields of the record ``config``."""
    return _fields(json_schema())


def _protocols() -> dict[str, Any]:
    return {
        "type": "set",
        "required": True,
        "default": list(PROTOCOLS),
        "elements": {"type": "string", "one_of": list(PROTOCOLS)},
    }


def _fields(record: dict[str, Any]) -> list[dict[str, Any]]:
    required = record.get("required", ())
    return [{name: _field(name, node, name in required)} for name, node in record["properties"].items()]


def _field(name: str, node: dict[str, Any], required: bool) -> dict[str, Any]:
    field = _plain(node)
    if node["type"] == "object" and "properties" in node:
        required = required or name not in _OPTIONAL_RECORDS
        if name in _ENTITY_CHECKS:
            field["entity_checks"] = _ENTITY_CHECKS[name]
    if required or "default" in node:
        field["required"] = True
    if "default" in node:
        field["default"] = node["default"]
    if node.get("x-encrypted"):
        field["encrypted"] = True
    field["description"] = node["description"]
    return field


def _plain(node: dict[str, Any]) -> dict[str, Any]:
    """A node's type and constraints, without what belongs to it as a field."""
    kind = node["type"]
    if kind == "object" and "properties" in node:
        return {"type": "record", "fields": _fields(node)}
    if kind == "object":
        return {"type": "map", "keys": {"type": "string"}, "values": _plain(node["additionalProperties"])}
    if kind == "array":
        result: dict[str, Any] = {"type": "array", "elements": _plain(node["items"])}
        if "minItems" in node:
            result["len_min"] = node["minItems"]
        return result
    return _scalar(node)


def _scalar(node: dict[str, Any]) -> dict[str, Any]:
    kind = node["type"]
    result: dict[str, Any] = {"type": _TYPES[kind[0] if isinstance(kind, list) else kind]}
    if node.get("minLength") == 0:
        result["len_min"] = 0
    if "enum" in node:
        result["one_of"] = node["enum"]
    if "minimum" in node and "maximum" in node:
        result["between"] = [node["minimum"], node["maximum"]]
    if node.get("x-referenceable"):
        result["referenceable"] = True
    return result
