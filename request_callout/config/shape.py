"""The shape of a configuration against the JSON Schema: every violation as a problem with a path and a remedy."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from request_callout.config.normal import is_reference
from request_callout.config.problems import Problem
from request_callout.config.schema import json_schema

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError

_KINDS = {
    "object": "a record (names with values)",
    "array": "a list",
    "string": "a string",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}
_MEANT = "; did you mean "
_DURATION = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(ms|s|m|h)\s*")
_MILLISECONDS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}
_NUMBER = re.compile(r"\s*[-+]?[0-9]+(\.[0-9]+)?\s*")
_UNQUOTED = {"integer": _NUMBER, "number": _NUMBER, "boolean": re.compile("(?i)true|false|yes|no|on|off")}


@lru_cache(maxsize=1)
def _validator() -> Draft202012Validator:
    from jsonschema import Draft202012Validator  # not for `dump`, which Kong waits for

    return Draft202012Validator(json_schema())


def shape_problems(config: Any) -> list[Problem]:
    """Everything about the shape that does not fit, in the order of the configuration."""
    errors = sorted(_validator().iter_errors(config), key=lambda error: [_step(step) for step in error.absolute_path])
    mistyped = {tuple(error.absolute_path) for error in errors if error.validator == "type"}
    problems: list[Problem] = []
    for error in errors:
        if error.validator != "type" and tuple(error.absolute_path) in mistyped:
            continue  # follows from the wrong type
        if is_reference(error.instance) and error.schema.get("x-referenceable"):
            continue  # not resolved yet; what it stands for can't be seen
        found = [one if one.rule == "unknown-field" else replace(one, rule="schema") for one in _problems(error)]
        problems += [problem for problem in found if problem not in problems]
    meant = {
        f"{one.path.rpartition('.')[0]}.{one.message.partition(_MEANT)[2].rstrip('?')}"
        for one in problems
        if one.rule == "unknown-field"
    }
    return [one for one in problems if one.rule == "unknown-field" or one.path not in meant]  # it is there, misspelt


def _step(step: str | int) -> tuple[int, str]:
    return (step, "") if isinstance(step, int) else (-1, str(step))


def spelled(steps: Iterable[str | int], root: str = "config") -> str:
    """A path in Kong's spelling: ``config.callouts[1].request.url``; lists count from 1."""
    return root + "".join(f"[{step + 1}]" if isinstance(step, int) else f".{step}" for step in steps)


def _problems(error: ValidationError) -> Iterator[Problem]:
    path = spelled(error.absolute_path)
    wanted: Any = error.validator_value
    schema: Any = error.schema
    found: Any = error.instance
    rule = error.validator
    if rule == "additionalProperties":
        known = list(schema["properties"])
        for name in found:
            if name not in known:
                hint = _deeper(str(name), schema) or _close(str(name), known)
                hint = hint or _elsewhere(str(name), schema, error.absolute_path)
                hint = hint or f"; remove it, known here are {', '.join(known)}"
                yield Problem(f"{path}.{name}", f"unknown field{hint}", rule="unknown-field")
    elif rule == "required":
        for name in wanted:
            if name not in found:
                yield Problem(f"{path}.{name}", f"{_missing(error, name)}; add it{_example(schema, name)}")
    elif rule == "dependentRequired":
        for name, others in wanted.items():
            missing = [other for other in others if other not in found]
            if name in found and missing:
                given = [one for one in (name, *others) if one in found]
                yield Problem(
                    path,
                    f"{_listed(given)} can't stand without {_listed(missing)}; add what is missing, or leave all out",
                )
                return
    elif rule == "anyOf":
        names = [name for one in wanted for name in one["required"]]
        example = schema["properties"][names[0]]["examples"][0]
        yield Problem(path, f"needs {' or '.join(names)}; add one of them, such as {names[0]}: {example}")
    elif rule == "const":
        yield Problem(path, f"has to be {wanted} beside {_cause(error)}; set it to that")
    elif rule == "not":
        yield Problem(path, f"{_listed(wanted['required'])} do not go together; leave out one of them")
    else:
        yield Problem(path, _remedy(str(rule), wanted, found, schema))


def _missing(error: ValidationError, name: str) -> str:
    schema: Any = error.schema
    node = schema.get("properties", {}).get(name, {})
    return f"has to be {node['const']} beside {_cause(error)}" if "const" in node else "required field missing"


def _cause(error: ValidationError) -> str:
    """The field that a rule follows from: what the schema's ``if`` around it asks for."""
    node: Any = json_schema()
    names: list[str] = []
    for step in error.absolute_schema_path:
        if step == "then":
            names = node["if"].get("required", [])
        node = node[step]
    return _listed(names)


def _listed(names: Sequence[str]) -> str:
    return " and ".join(names)


def _example(schema: Any, name: str) -> str:
    return _such(schema.get("properties", {}).get(name, {}))


def _such(node: Any) -> str:
    return f", such as {json.dumps(node['examples'][0])}" if node.get("examples") else ""


def _remedy(rule: str, wanted: Any, found: Any, schema: Any) -> str:
    if rule == "type":
        kinds = [kind for kind in ([wanted] if isinstance(wanted, str) else wanted) if kind != "null"]
        expected = " or ".join(_KINDS[kind] for kind in kinds)
        return f"expected {expected}, not {_kind_of(found)}{_rewriting(kinds, found, schema)}"
    if rule == "enum":
        return f"expected one of: {', '.join(map(str, wanted))}{_close(str(found), list(map(str, wanted)))}"
    if rule in ("minimum", "maximum"):
        low, high = schema.get("minimum"), schema.get("maximum")
        return f"must be {low} or more" if high is None else f"must be between {low} and {high}"
    if rule == "minLength":
        return "must not be empty; give it a value or leave it out"
    if rule == "minItems":
        return "must not be an empty list; name at least one or leave it out"
    return f"does not fit the schema ({rule}); see the description of this field"


def _rewriting(kinds: Sequence[str], found: Any, schema: Any) -> str:
    kind = kinds[0]
    if kind == "string" and isinstance(found, bool) and str(schema.get("examples", [""])[0]).startswith("$("):
        return f"; write an expression{_such(schema)}"
    if "string" in kinds and isinstance(found, (bool, int, float)):
        return "; put it in quotes" + (" (YAML reads on, off, yes and no as such)" if isinstance(found, bool) else "")
    if isinstance(found, str) and kind in _UNQUOTED:
        return "; write it without quotes" if _UNQUOTED[kind].fullmatch(found) else _without_unit(found, schema)
    if kind == "string" and isinstance(found, (list, dict)):
        return "; write it as text" + _such(schema)
    if kind == "array" and isinstance(found, dict):
        return "; begin each of its items with '- '"
    if kind == "array" and isinstance(found, (str, int, float)) and not isinstance(found, bool):
        return "; put it in [ ]"
    if kind == "object" and found is not None and "custom" in schema.get("properties", {}):
        return "; write custom: {NAME: VALUE} in it"
    if kind == "object" and found is not None and "properties" in schema:
        return f"; its fields are {', '.join(schema['properties'])}"
    if kind == "object" and isinstance(found, list):
        return "; write each as NAME: VALUE, without a hyphen before it"
    return ""


def _without_unit(text: str, schema: Any) -> str:
    """What to write for a time with its unit, such as 1s; empty for other texts."""
    found = _DURATION.fullmatch(text)
    unit = re.match("(Milliseconds|Seconds|Time limits? in milliseconds)", schema.get("description", ""))
    if found is None or unit is None:
        return ""
    value = float(found[1]) * _MILLISECONDS[found[2]]
    name = "seconds" if unit[1] == "Seconds" else "milliseconds"
    return f"; write the number of {name} alone, {value / 1000 if name == 'seconds' else value:g}"


def _kind_of(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, (int, float)):
        return "a number" if isinstance(value, int) or value.is_integer() else "a fraction"
    if isinstance(value, str):
        return "a string"
    return "a list" if isinstance(value, list) else "a record"


def _deeper(name: str, schema: Any) -> str:
    """Where the field belongs if a record in this one has it."""
    below = [field for field, one in schema["properties"].items() if name in one.get("properties", {})]
    return f"; it belongs one level deeper: {' or '.join(f'{field}.{name}' for field in below)}" if below else ""


def _elsewhere(name: str, schema: Any, path: Sequence[str | int]) -> str:
    """Where the field belongs: with what is set by name, in the record around this one, or misspelt in one below."""
    if "custom" in schema["properties"]:
        return "; to set a value of this name, put it below custom"
    node: Any = json_schema()
    around = []
    for step in path:
        if name in node.get("properties", {}):
            around.append(step)
        node = node["items"] if isinstance(step, int) else node["properties"].get(step, {})
    if around:
        return f"; it belongs one level higher, beside {around[-1]}"
    below = {field: one.get("properties", {}) for field, one in schema["properties"].items()}
    close = [f"{field}.{one}" for field, known in below.items() for one in difflib.get_close_matches(name, known, n=1)]
    return f"{_MEANT}{' or '.join(close)}?" if close else ""


def _close(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1) or [one for one in known if one.endswith(f"_{name}")][:1]
    return f"{_MEANT}{close[0]}?" if close else ""
