"""Kong's schema language."""

from __future__ import annotations

from typing import Any

import pytest

from request_callout.gateway.entities import plugin_schema
from request_callout.gateway.lua_pretty import pretty
from request_callout.gateway.schema_rules import fill, selected, validate


def record(*fields: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "record", "fields": list(fields), **more}


def problems(definition: dict[str, Any], value: Any) -> Any:
    schema = record({"f": definition})
    return validate(schema, fill(schema, {"f": value})).get("f")


def test_defaults() -> None:
    """Required records are filled, optional ones stay absent, a default is a copy each time."""
    inner = {**record({"n": {"type": "integer", "default": 3}}), "required": True}
    schema = record({"full": inner}, {"none": {**inner, "required": False}}, {"list": {"type": "array", "default": []}})
    first, second = fill(schema, {}), fill(schema, {})
    assert first == {"full": {"n": 3}, "none": None, "list": []}
    first["list"].append(1)
    assert second["list"] == []


@pytest.mark.parametrize(
    ("definition", "value", "message"),
    [
        ({"type": "string"}, "", "length must be at least 1"),
        ({"type": "string", "len_min": 0}, "", None),
        ({"type": "string"}, 1, "expected a string"),
        ({"type": "string"}, True, "expected a string"),
        ({"type": "integer"}, 1.5, "expected an integer"),
        ({"type": "integer"}, 2.0, None),
        ({"type": "integer"}, True, "expected an integer"),
        ({"type": "number"}, "1", "expected a number"),
        ({"type": "boolean"}, "true", "expected a boolean"),
        ({"type": "integer", "between": [1, 5]}, 6, "value should be between 1 and 5"),
        ({"type": "number", "gt": 0}, 0, "value must be greater than 0"),
        ({"type": "boolean", "eq": True}, False, "value must be true"),
        ({"type": "boolean", "eq": True}, True, None),
        ({"type": "number", "eq": 1}, 2, "value must be 1"),
        ({"type": "string", "one_of": ["a", "b"]}, "c", "expected one of: a, b"),
        ({"type": "string", "match": "^%a+$"}, "a1", "invalid value: a1"),
        ({"type": "string", "match": "^%a+$", "err": "letters only"}, "a1", "letters only"),
        ({"type": "string", "required": True}, None, "required field missing"),
        ({"type": "string", "referenceable": True, "one_of": ["a"]}, "{vault://env/x-y}", None),
        ({"type": "integer", "referenceable": True}, "{vault://env/x-y}", "expected an integer"),
        ({"type": "array", "elements": {"type": "string"}}, {"a": 1}, "expected an array"),
        ({"type": "array", "elements": {"type": "string"}}, ["a", 1], {2: "expected a string"}),
        ({"type": "array", "elements": {"type": "string"}, "len_min": 1}, [], "length must be at least 1"),
        ({"type": "set", "elements": {"type": "string"}}, ["a", "a"], None),
        ({"type": "map", "keys": {"type": "string"}, "values": {"type": "string"}}, "x", "expected a map"),
        (
            {"type": "map", "keys": {"type": "string"}, "values": {"type": "string"}},
            {"a": None},
            "required field missing",
        ),
        ({"type": "map", "keys": {"type": "string"}, "values": {"type": "string"}}, {1: "a"}, "expected a string"),
        (record({"a": {"type": "string"}}), {"b": 1}, {"b": "unknown field"}),
        (record({"a": {"type": "string"}}), "x", "expected a record"),
    ],
)
def test_values(definition: dict[str, Any], value: Any, message: Any) -> None:
    """A value that breaks a rule gets Kong's message for it."""
    assert problems(definition, value) == message


def test_mutually_required() -> None:
    """All or none of the fields are set."""
    fields = [{"a": {"type": "integer"}}, {"b": {"type": "integer"}}]
    schema = record(*fields, entity_checks=[{"mutually_required": ["a", "b"]}])
    assert validate(schema, fill(schema, {"a": 1, "b": 2})) == {}
    assert validate(schema, fill(schema, {})) == {}
    assert validate(schema, fill(schema, {"a": 1})) == {
        "@entity": ["all or none of these fields must be set: 'a', 'b'"]
    }


def test_conditional() -> None:
    """If one field has a value, another must have one."""
    fields = [{"kind": {"type": "string"}}, {"size": {"type": "integer"}}]
    rule = {"if_field": "kind", "if_match": {"eq": "big", "one_of": ["big"]}, "then_field": "size"}
    schema = record(*fields, entity_checks=[{"conditional": {**rule, "then_match": {"required": True}}}])
    assert validate(schema, fill(schema, {"kind": "small"})) == {}
    assert validate(schema, fill(schema, {"kind": "big", "size": 1})) == {}
    assert validate(schema, fill(schema, {"kind": "big"})) == {
        "size": "required field missing",
        "@entity": ["failed conditional validation given value of field 'kind'"],
    }


def test_selected() -> None:
    """A plugin gets no nulls; references are resolved in place and stand beside under ``$refs`` of the same record."""
    text = {"type": "string", "referenceable": True}
    strings = {"type": "array", "elements": text}
    schema = record({"s": text}, {"gone": {"type": "string"}}, {"l": strings}, {"r": record({"s": text})})
    data = fill(schema, {"s": "{vault://env/none}", "l": ["x", "{vault://env/a}"], "r": {"s": "{vault://env/a}"}})
    secrets = {"{vault://env/a}": "A"}
    assert selected(schema, data, secrets.get) == {
        "s": "",
        "l": ["x", "A"],
        "r": {"s": "A", "$refs": {"s": "{vault://env/a}"}},
        "$refs": {"s": "{vault://env/none}", "l": [None, "{vault://env/a}"]},
    }


def test_errors_as_lua_tables() -> None:
    """Error trees are written as Penlight writes them, on one line or indented."""
    tree = {"config": {"callouts": {2: {"@entity": ["a", "b"], "url": 'say "x"'}}}}
    assert pretty(tree, "") == '{config={callouts={[2]={["@entity"]={"a","b"},url="say \\"x\\""}}}}'
    assert pretty({"a": {1: "x"}}) == '{\n  a = {\n    "x"\n  }\n}'


def test_records_of_a_plugin_are_filled_unless_they_are_optional() -> None:
    """As in Kong, a record within records is filled when it is absent; one with required: false stays absent."""
    inner = {"type": "record", "fields": [{"n": {"type": "integer", "default": 1}}]}
    within = {"type": "array", "elements": record({"silent": inner})}
    schema = plugin_schema(
        record({"config": record({"silent": inner}, {"optional": {**inner, "required": False}}, {"list": within})})
    )
    filled = fill(schema, {"name": "p", "config": {"list": [{}]}})["config"]
    assert filled == {"silent": {"n": 1}, "optional": None, "list": [{"silent": None}]}
