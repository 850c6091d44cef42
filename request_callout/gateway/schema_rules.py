"""Kong's schema language, interpreted: defaults, validation, and the form in which a plugin gets its configuration.

A schema is data: ``{"type": "record", "fields": [{name: definition}, ...], "entity_checks": [...]}``. Absent is a
missing key, an explicit null is None. The rules and the words of the messages are those of Kong 3.9's
``kong/db/schema``.

``default`` may be any value, ``custom`` a Python function ``value -> message or None`` that stands for Kong's
``custom_validator`` (a schema that came from a plugin server as JSON has none).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from request_callout.gateway.lua_pattern import matches
from request_callout.values import Value, raw

Definition: TypeAlias = Mapping[str, Any]
Errors: TypeAlias = dict[Any, Any]
"""A tree: field names (and ``@entity``), positions counted from 1, at the leaves messages."""

Resolve: TypeAlias = Callable[[str], str | None]
"""Gives the value of a ``{vault://...}`` reference, None if it has none."""

REQUIRED = "required field missing"
UNKNOWN = "unknown field"
_REQUIRED_FOR_CHECK = "field required for entity check"

_ABSENT: Any = object()


def is_reference(value: Any) -> bool:
    """Whether a value is a reference to a vault."""
    return isinstance(value, str) and len(value) > 10 and value.startswith("{vault://") and value.endswith("}")


def each_field(schema: Definition) -> Iterator[tuple[str, Definition]]:
    """The fields of a record in order."""
    for entry in schema["fields"]:
        yield from entry.items()


# Filling


def fill(schema: Definition, data: Mapping[str, Any]) -> dict[str, Any]:
    """A record with its defaults; optional fields that are absent become None. Unknown fields stay."""
    filled = dict(data)
    for name, field in each_field(schema):
        value = _filled_value(field, filled.get(name, _ABSENT))
        if value is not _ABSENT:
            filled[name] = value
    return filled


def _filled_value(field: Definition, value: Any) -> Any:
    if field.get("abstract"):
        return value
    kind = field["type"]
    if kind == "record":
        if value is _ABSENT:
            return _missing(field)
        return fill(field, value) if isinstance(value, dict) else value
    if kind in ("array", "set") and isinstance(value, list):
        elements = [_filled_value(field["elements"], one) for one in value]
        return _distinct(elements) if kind == "set" else elements
    if kind == "map" and isinstance(value, dict):
        return {key: _filled_value(field["values"], one) for key, one in value.items()}
    return _missing(field) if value is _ABSENT else value


def _distinct(elements: list[Any]) -> list[Any]:
    return [one for position, one in enumerate(elements) if one not in elements[:position]]


def _missing(field: Definition) -> Any:
    if field.get("default") is not None:
        default = copy.deepcopy(field["default"])
        return fill(field, default) if field["type"] == "record" else default
    if field.get("required") is not True:
        return None
    return fill(field, {}) if field["type"] == "record" else _ABSENT


# Validating


def validate(schema: Definition, data: Mapping[Any, Any]) -> Errors:
    """Everything that is wrong with a filled record; empty if nothing is."""
    errors: Errors = {}
    known = dict(each_field(schema))
    for name, value in data.items():
        field = known.get(name)
        problem = UNKNOWN if field is None else validate_value(field, value)
        if problem:
            errors[name] = problem
    for name, field in known.items():
        if field.get("required") and data.get(name) is None:
            errors[name] = REQUIRED
    for check in schema.get("entity_checks") or ():
        for check_name, argument in check.items():
            _CHECKS[check_name](schema, data, argument, errors)
    return errors


def validate_value(field: Definition, value: Any, *, required: bool | None = None) -> str | Errors | None:
    """What is wrong with one value, None if nothing is. ``required`` overrides the definition's own."""
    if value is None:
        return REQUIRED if (field.get("required") if required is None else required) else None
    if field.get("abstract"):
        return None
    kind = field["type"]
    problem = _TYPES[kind](field, value)
    if problem:
        return problem
    if kind == "string" and field.get("referenceable") and is_reference(value):
        return None
    problem = _limits(field, value)
    return (field.get("err") or problem) if problem else None


def _elements(name: str) -> Callable[[Definition, Any], str | Errors | None]:
    def check(field: Definition, value: Any) -> str | Errors | None:
        if not isinstance(value, list) and value != {}:
            return name
        errors: Errors = {}
        for position, element in enumerate(value, 1):
            problem = validate_value(field["elements"], element, required=True)
            if problem:
                errors[position] = problem
        return errors

    return check


def _map(field: Definition, value: Any) -> str | Errors | None:
    if not isinstance(value, (dict, list)):
        return "expected a map"
    entries = value.items() if isinstance(value, dict) else enumerate(value, 1)
    for key, one in entries:
        problem = validate_value(field["keys"], key, required=True) or validate_value(
            field["values"], one, required=True
        )
        if problem:
            return problem
    return None


def _record(field: Definition, value: Any) -> str | Errors | None:
    if not isinstance(value, (dict, list)):
        return "expected a record"
    if isinstance(value, list):
        return validate(field, fill(field, dict(enumerate(value, 1))))  # type: ignore[arg-type]
    return validate(field, fill(field, value))


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _of(accepts: Callable[[Any], bool], message: str) -> Callable[[Definition, Any], str | None]:
    return lambda field, value: None if accepts(value) else message


_TYPES: dict[str, Callable[[Definition, Any], str | Errors | None]] = {
    "array": _elements("expected an array"),
    "set": _elements("expected a set"),
    "map": _map,
    "record": _record,
    "string": _of(lambda value: isinstance(value, str), "expected a string"),
    "number": _of(_number, "expected a number"),
    "integer": _of(lambda value: _number(value) and value == value // 1, "expected an integer"),
    "boolean": _of(lambda value: isinstance(value, bool), "expected a boolean"),
    "any": lambda field, value: None,
}


def _length(value: Any) -> int:
    return len(raw(value)) if isinstance(value, str) else len(value)


def _limits(field: Definition, value: Any) -> str | None:
    """The validators in Kong's order."""
    for name, check in _VALIDATORS:
        limit = field.get(name)
        if name == "len_min" and limit is None and field["type"] == "string":
            limit = 1
        if limit is not None:
            problem = check(value, limit)
            if problem:
                return problem
    return None


def _listed(options: Any) -> str:
    return ", ".join(map(str, options))


def _starts_with(value: Any, start: str) -> str | None:
    return None if value.startswith(start) else f"should start with: {start}"


def _match_none(value: Any, rules: Any) -> str | None:
    return next((rule["err"] for rule in rules if matches(value, rule["pattern"])), None)


def _exclusive_subsets(value: Any, subsets: Any) -> str | None:
    used = [subset for subset in subsets if any(one in subset for one in value)]
    if len(used) <= 1:
        return None
    return "these sets are mutually exclusive: " + ", ".join(f"({_quoted(subset)})" for subset in used)


def _equals(value: Any, wanted: Any) -> str | None:
    if value == wanted and isinstance(value, bool) == isinstance(wanted, bool):
        return None
    return f"value must be {str(wanted).lower() if isinstance(wanted, bool) else wanted}"


_VALIDATORS: tuple[tuple[str, Callable[[Any, Any], str | None]], ...] = (
    ("eq", _equals),
    ("not_one_of", lambda value, of: f"must not be one of: {_listed(of)}" if value in of else None),
    ("one_of", lambda value, of: None if value in of else f"expected one of: {_listed(of)}"),
    ("gt", lambda value, limit: None if value > limit else f"value must be greater than {limit}"),
    (
        "between",
        lambda value, of: None if of[0] <= value <= of[1] else f"value should be between {of[0]:d} and {of[1]:d}",
    ),
    ("len_eq", lambda value, limit: None if _length(value) == limit else f"length must be {limit}"),
    ("len_min", lambda value, limit: None if _length(value) >= limit else f"length must be at least {limit}"),
    ("len_max", lambda value, limit: None if _length(value) <= limit else f"length must be at most {limit}"),
    ("starts_with", _starts_with),
    ("not_match", lambda value, pattern: f"invalid value: {value}" if matches(value, pattern) else None),
    ("match_none", _match_none),
    ("match", lambda value, pattern: None if matches(value, pattern) else f"invalid value: {value}"),
    ("custom", lambda value, check: check(value)),
    ("mutually_exclusive_subsets", _exclusive_subsets),
)


# Checks over several fields of a record


def _at(data: Any, path: str) -> Any:
    for name in path.split("."):
        if not isinstance(data, dict) or name not in data:
            return _ABSENT
        data = data[name]
    return data


def _nonempty(value: Any) -> bool:
    return value is not _ABSENT and value not in (None, "", {}, [])


def _quoted(names: Any) -> str:
    return ", ".join(f"'{name}'" for name in names)


def _entity_error(errors: Errors, message: str) -> None:
    errors.setdefault("@entity", []).append(message)


def _referenced(schema: Definition, data: Any, names: Any) -> bool:
    """Kong leaves a check out when one of its fields holds a reference."""
    known = dict(each_field(schema))
    return any(
        known.get(name, {}).get("referenceable") and is_reference(_at(data, name)) for name in names if name in known
    )


def _mutually_required(schema: Definition, data: Any, names: Any, errors: Errors) -> None:
    if any(name in errors for name in names) or _referenced(schema, data, names):
        return
    given = sum(_nonempty(_at(data, name)) for name in names)
    if 0 < given < len(names):
        _entity_error(errors, f"all or none of these fields must be set: {_quoted(names)}")


def _mutually_exclusive(schema: Definition, data: Any, names: Any, errors: Errors) -> None:
    if any(name in errors for name in names) or _referenced(schema, data, names):
        return
    if sum(_nonempty(_at(data, name)) for name in names) > 1:
        _entity_error(errors, f"only one or none of these fields must be set: {_quoted(names)}")


def _at_least_one_of(schema: Definition, data: Any, names: Any, errors: Errors) -> None:
    if not any(_nonempty(_at(data, name)) for name in names) and not _referenced(schema, data, names):
        _entity_error(errors, f"at least one of these fields must be non-empty: {_quoted(names)}")


def _only_one_of(schema: Definition, data: Any, names: Any, errors: Errors) -> None:
    if sum(_nonempty(_at(data, name)) for name in names) != 1:
        _entity_error(errors, f"exactly one of these fields must be non-empty: {_quoted(names)}")


def _definition_at(schema: Definition, path: str) -> Definition:
    field: Definition = schema
    for name in path.split("."):
        field = dict(each_field(field))[name]
    return field


def _conditional(schema: Definition, data: Any, rule: Any, errors: Errors) -> None:
    given, then = _at(data, rule["if_field"]), _at(data, rule["then_field"])
    if _referenced(schema, data, (rule["if_field"], rule["then_field"])):
        return
    if given is _ABSENT:
        _put(errors, rule["if_field"], _REQUIRED_FOR_CHECK)
        return
    if_field = {**_definition_at(schema, rule["if_field"]), **rule["if_match"]}
    if validate_value(if_field, given):
        return
    then = None if then is _ABSENT else then
    if "eq" in rule["then_match"] and rule["then_match"]["eq"] is None:
        problem: Any = None if then is None else "value must be null"
    else:
        problem = validate_value({**_definition_at(schema, rule["then_field"]), **rule["then_match"]}, then)
    if problem:
        _put(errors, rule["then_field"], problem)
        message = rule.get("then_err") or f"failed conditional validation given value of field '{rule['if_field']}'"
        _entity_error(errors, message)


def _put(errors: Errors, path: str, problem: Any) -> None:
    *parents, name = path.split(".")
    for parent in parents:
        below = errors.setdefault(parent, {})
        if not isinstance(below, dict):
            return
        errors = below
    errors[name] = problem


_CHECKS: dict[str, Callable[[Definition, Any, Any, Errors], None]] = {
    "mutually_required": _mutually_required,
    "mutually_exclusive": _mutually_exclusive,
    "at_least_one_of": _at_least_one_of,
    "only_one_of": _only_one_of,
    "conditional": _conditional,
}


# What a plugin gets


def selected(schema: Definition, data: Mapping[str, Any], resolve: Resolve) -> dict[str, Value]:
    """A filled, valid record as it reaches a plugin: nulls left out, references resolved.

    The references stay beside what they resolved to, under ``$refs`` of the same record; one that has no value
    becomes the empty string.
    """
    result: dict[str, Value] = {}
    references: dict[str, Any] = {}
    for name, field in each_field(schema):
        value = data.get(name)
        if value is None:
            continue
        kind = field["type"]
        if kind == "string" and field.get("referenceable") and is_reference(value):
            references[name] = value
            value = resolve(value) or ""
        elif kind == "string" and value == "" and field.get("len_min", 1) > 0:
            continue
        elif kind in ("array", "set", "map"):
            value = _selected_elements(field, value, resolve)
            held = _held_references(field, data[name])
            if held:
                references[name] = held
        elif kind == "record":
            value = selected(field, value, resolve)
        result[name] = value
    if references:
        result["$refs"] = references
    return result


def _selected_elements(field: Definition, value: Any, resolve: Resolve) -> Any:
    below = field["values"] if field["type"] == "map" else field["elements"]

    def one(element: Any) -> Any:
        if below["type"] == "record" and isinstance(element, dict):
            return selected(below, element, resolve)
        if below.get("referenceable") and is_reference(element):
            return resolve(element) or ""
        return element

    if isinstance(value, dict):
        return {key: one(element) for key, element in value.items()}
    return [one(element) for element in value]


def _held_references(field: Definition, value: Any) -> dict[Any, str] | list[str | None] | None:
    below = field["values"] if field["type"] == "map" else field["elements"]
    if not below.get("referenceable"):
        return None
    if isinstance(value, dict):
        return {key: element for key, element in value.items() if is_reference(element)} or None
    held = [element if is_reference(element) else None for element in value]
    return held if any(held) else None
