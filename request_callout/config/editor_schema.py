"""JSON Schemas for editors: of a configuration, and of whole files with configurations in them.

Those of files are JSON Schema draft 7, which every editor knows, and leave all that is not this plugin's free. A field
may also be null, as ``deck gateway dump`` writes it, or a template of decK's (``${{ env "DECK_X" }}``), where the
schema asks for a number or a word.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from request_callout.config.kong_schema import PLUGIN_NAME
from request_callout.config.schema import json_schema

_TEMPLATE = {"type": "string", "pattern": r"^\$\{\{.*\}\}$"}
_CONFIG = {"$ref": "#/definitions/config"}
_PARENTS = ("services", "routes", "consumers", "consumer_groups")


def editor_schema(kind: str) -> dict[str, Any]:
    """The schema for ``config`` (a configuration alone), ``file`` (Kong and decK), ``kubernetes`` or ``plugin``."""
    if kind == "config":
        return json_schema()
    made = {"file": _file, "kubernetes": _kubernetes, "plugin": _plugin}[kind]()
    head = {"$schema": "http://json-schema.org/draft-07/schema#", "title": f"{PLUGIN_NAME}: {kind}"}
    shared = kind == "file"
    definitions = {"config": _relaxed(json_schema(), optional=False)}
    if shared:
        # Beside a shared configuration, which gives the other fields, no field is required at the top.
        definitions["rest"] = {name: value for name, value in definitions["config"].items() if name != "required"}
        definitions["plugins"] = {"type": "array", "items": _plugin()}
        for name in _PARENTS:
            definitions[name] = {"type": "array", "items": {"type": "object", "properties": _below()}}
    return {**head, **made, "definitions": definitions}


def _file() -> dict[str, Any]:
    version = {"type": "string", "description": 'The version of the file\'s format, in quotes: "3.0".'}
    return {"type": "object", "required": ["_format_version"], "properties": {"_format_version": version, **_below()}}


def _below() -> dict[str, Any]:
    return {name: {"$ref": f"#/definitions/{name}"} for name in ("plugins", *_PARENTS)}


def _plugin() -> dict[str, Any]:
    alone = {"properties": {"config": _CONFIG}, "required": ["config"]}
    beside = {"if": {"required": ["_config"]}, "then": {"properties": {"config": {"$ref": "#/definitions/rest"}}}}
    return _if_ours("name", {**beside, "else": alone})


def _kubernetes() -> dict[str, Any]:
    return _if_ours("plugin", {"properties": {"config": _CONFIG}})


def _if_ours(field: str, then: Mapping[str, Any]) -> dict[str, Any]:
    ours = {"properties": {field: {"const": PLUGIN_NAME}}, "required": [field]}
    return {"type": "object", "if": ours, "then": dict(then)}


def _relaxed(node: Mapping[str, Any], *, optional: bool) -> dict[str, Any]:
    """The same in draft 7, with null for what is optional and templates in place of numbers and words."""
    required = node.get("required", ())
    made: dict[str, Any] = {}
    rules: dict[str, Any] = {}
    for name, value in node.items():
        if name == "properties":
            made[name] = {
                key: _relaxed(one, optional=key not in required) if one.get("type") else one
                for key, one in value.items()
            }
        elif name in ("items", "additionalProperties") and isinstance(value, Mapping):
            made[name] = _relaxed(value, optional=False)
        elif name in ("dependentRequired", "allOf", "anyOf", "not", "if", "then"):
            rules[name] = value
        elif name not in ("$schema", "type") and not name.startswith("x-"):
            made[name] = value
    if rules:
        made["allOf"] = _rules(rules)
    kinds = node.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else list(kinds)
    if optional and "properties" not in node:
        kinds.append("null")
        if "enum" in made:
            made["enum"] = [*made["enum"], None]
    elif optional and node.get("x-optional"):
        kinds.append("null")
    if kinds:
        made["type"] = kinds[0] if len(kinds) == 1 else list(dict.fromkeys(kinds))
    if "enum" in node or any(kind in ("integer", "number", "boolean") for kind in kinds):
        told: dict[str, Any] = {
            key: made.pop(key) for key in ("title", "description", "default", "examples") if key in made
        }
        return {**told, "anyOf": [made, _TEMPLATE]}
    return made


def _rules(rules: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What a schema says of several fields together, where null is as good as absent."""
    made: list[dict[str, Any]] = [
        {"if": _given({"required": [name]}), "then": _given({"required": others})}
        for name, others in rules.get("dependentRequired", {}).items()
    ]
    for rule in (rules, *rules.get("allOf", ())):
        if "anyOf" in rule:
            made.append({"anyOf": [_given(one) for one in rule["anyOf"]]})
        if "not" in rule:
            made.append({"not": _given(rule["not"])})
        if "if" in rule:
            made.append({"if": _given(rule["if"]), "then": _given(rule["then"])})
    return made


def _given(condition: Mapping[str, Any]) -> dict[str, Any]:
    """The condition with each field that it requires not null."""
    properties = dict(condition.get("properties", {}))
    for name in condition["required"]:
        properties[name] = {"not": {"type": "null"}, **properties.get(name, {})}
    return {**condition, "properties": properties}
