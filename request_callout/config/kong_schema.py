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
        # Kong fills a required record with its defaults, and takes one for required unless it is told otherwise.
        field["required"] = not node.get("x-optional", False)
    # A field with a default is not required: Kong refuses a null for a required one, and null means absent here.
    elif required:
        field["required"] = True
    if "default" in node:
        field["default"] = node["default"]
    if node.get("x-encrypted"):
        field["encrypted"] = True
    field["description"] = node["description"]
    return field


def _entity_checks(node: dict[str, Any]) -> list[dict[str, Any]]:
    """What the schema says of several fields of a record together."""
    checks: list[dict[str, Any]] = []
    needs: dict[str, list[str]] = node.get("dependentRequired", {})
    for name, others in needs.items():
        if all(name in needs.get(other, ()) for other in others):
            group = sorted([name, *others], key=list(node["properties"]).index)
            if {"mutually_required": group} not in checks:
                checks.append({"mutually_required": group})
        else:
            checks += [_then_required(name, {}, other, {}) for other in others]
    if "anyOf" in node:
        checks.append({"at_least_one_of": [name for one in node["anyOf"] for name in one["required"]]})
    for rule in (node, *node.get("allOf", ())):
        if "not" in rule:
            checks.append({"mutually_exclusive": rule["not"]["required"]})
        if "if" in rule:
            checks += _conditions(node, rule["if"], rule["then"])
    return checks


def _conditions(node: dict[str, Any], given: dict[str, Any], then: dict[str, Any]) -> list[dict[str, Any]]:
    """What has to be there, or has to have a value, if a field is there or has a value."""
    (name,) = given["required"]
    wanted = then.get("properties", {})
    if "properties" in node["properties"][name]:
        return [_without_record(name, other, wanted[other]["const"]) for other in then["required"]]
    match = _equal(given.get("properties", {}).get(name))
    return [_then_required(name, match, other, _equal(wanted.get(other))) for other in then["required"]]


def _without_record(record: str, other: str, value: str) -> dict[str, Any]:
    """A record that needs a value in another field, from the other side: Kong fails on a record as ``if_field``."""
    match = {"if_match": {"not_one_of": [value]}, "then_match": {"eq": None}}
    message = f"{record} needs {other} {value}"
    return {"conditional": {"if_field": other, "then_field": record, **match, "then_err": message}}


def _equal(node: dict[str, Any] | None) -> dict[str, Any]:
    return {"eq": node["const"]} if node else {}


def _then_required(name: str, match: dict[str, Any], other: str, wanted: dict[str, Any]) -> dict[str, Any]:
    # Without `required` Kong finds that an absent field matches.
    condition: dict[str, Any] = {"if_field": name, "if_match": {"required": True, **match}}
    return {"conditional": {**condition, "then_field": other, "then_match": {"required": True, **wanted}}}


def _plain(node: dict[str, Any]) -> dict[str, Any]:
    """A node's type and constraints, without what belongs to it as a field."""
    kind = node["type"]
    if kind == "object" and "properties" in node:
        record: dict[str, Any] = {"type": "record", "fields": _fields(node)}
        checks = _entity_checks(node)
        if checks:
            record["entity_checks"] = checks
        return record
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
    elif "minimum" in node:
        result["gt"] = node["minimum"] - 1  # Kong has no inclusive lower bound; the schema's are all whole numbers
    if node.get("x-referenceable"):
        result["referenceable"] = True
    return result
