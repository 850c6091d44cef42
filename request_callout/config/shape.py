"""The shape of a configuration against the JSON Schema: every violation as a problem with a path and a remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from request_callout.config.problems import Problem
from request_callout.config.schema import json_schema

_KINDS = {
    "object": "a record (fields with values)",
    "array": "a list",
    "string": "a string",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}


@lru_cache(maxsize=1)
def _validator() -> Draft202012Validator:
    return Draft202012Validator(json_schema())


def shape_problems(config: Any) -> list[Problem]:
    """Everything about the shape that does not fit, in the order of the configuration."""
    errors = sorted(_validator().iter_errors(config), key=lambda error: [str(step) for step in error.absolute_path])
    return [problem for error in errors for problem in _problems(error)]


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
                yield Problem(f"{path}.{name}", f"unknown field{_suggestion(str(name), known)}")
    elif rule == "required":
        for name in wanted:
            if name not in found:
                yield Problem(f"{path}.{name}", "is required; add it")
    elif rule == "dependentRequired":
        missing = [name for name in ("connect", "write", "read") if name not in found]
        yield Problem(path, f"connect, write and read go together: add {' and '.join(missing)}, or leave all out")
    else:
        yield Problem(path, _remedy(str(rule), wanted, found, schema))


def _remedy(rule: str, wanted: Any, found: Any, schema: Any) -> str:
    if rule == "type":
        kinds = [wanted] if isinstance(wanted, str) else wanted
        quote = " (put it in quotes)" if "string" in kinds and isinstance(found, (int, float)) else ""
        return f"must be {' or '.join(_KINDS[kind] for kind in kinds)}, not {_kind_of(found)}{quote}"
    if rule == "enum":
        return f"must be one of {', '.join(map(str, wanted))}{_suggestion(str(found), list(map(str, wanted)))}"
    if rule in ("minimum", "maximum"):
        low, high = schema.get("minimum"), schema.get("maximum")
        return f"must be between {low} and {high}, not {found}"
    if rule == "minLength":
        return "must not be empty; give it a value or leave it out"
    if rule == "minItems":
        return "must not be an empty list; name at least one or leave it out"
    return f"does not fit the schema ({rule})"


def _kind_of(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, str):
        return "a string"
    return "a list" if isinstance(value, list) else "a record"


def _suggestion(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else f"; known are {', '.join(known)}" if len(known) < 12 else ""
