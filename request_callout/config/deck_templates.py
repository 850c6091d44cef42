"""decK's templates in a file: ``${{ env "DECK_NAME" }}``, put in as decK does before the file is read as YAML.

decK uses Go's templates. Those that state files are written with are known here: ``env`` and, after it, ``toInt``,
``toFloat``, ``toBool`` and ``indent N``. What a variable stands for may be a secret: no message may hold it.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from request_callout.config.places import Source

UNKNOWN = "\ue000unknown\ue000"
"""Stands in a text for a value that can't be seen; private characters, which no configuration has."""

_TEMPLATE = re.compile(r"\$\{\{(-\s)?(.*?)(\s-)?\}\}", re.DOTALL)
_BLANKS = re.compile(r"\s*")
_COMMENT = re.compile(r"\s*/\*.*?\*/\s*", re.DOTALL)
_ENV = re.compile(r"""\s*env\s+(?:"([^"\\\n]*)"|`([^`]*)`)\s*""")
_STEP = re.compile(r"\s*(?:(toInt|toFloat|toBool)|indent\s+([0-9]{1,3}))\s*")
_INTEGER = re.compile(r"[-+]?[0-9]+")
_BOOLEANS = {"1": "true", "t": "true", "true": "true", "0": "false", "f": "false", "false": "false"}


@dataclass(frozen=True, slots=True)
class TemplateProblem:
    """What is wrong with a template, and where it begins in the file's text; ``unset`` if a variable is not set."""

    index: int
    message: str
    unset: bool = False


@dataclass(frozen=True, slots=True)
class Rendered:
    """The text as YAML will read it, what is wrong with its templates, and the values that were put in.

    ``lines`` are those, from 1, that a variable's templates begin in.
    """

    source: Source
    problems: tuple[TemplateProblem, ...]
    substituted: Mapping[str, str]
    lines: Mapping[str, frozenset[int]]


def render(original: Source, environment: Mapping[str, str]) -> Rendered:
    """Put the environment's values into a text; what can't be known becomes ``UNKNOWN``."""
    text = original.text
    parts: list[str] = []
    problems: list[TemplateProblem] = []
    substituted: dict[str, str] = {}
    starts: list[int] = []  # of the parts, in the rendered text
    froms: list[tuple[int, bool]] = []  # of the parts, in the file; and whether it is as it was there
    length = 0

    def add(part: str, start: int, literal: bool) -> None:
        nonlocal length
        if part:
            parts.append(part)
            starts.append(length)
            froms.append((start, literal))
            length += len(part)

    lines: dict[str, set[int]] = {}
    at = 0
    for found in _TEMPLATE.finditer(text):
        before = text[at : found.start()]
        add(before.rstrip() if found[1] else before, at, literal=True)
        add(_value(found, environment, problems, substituted), found.start(), literal=False)
        if (variable := _ENV.match(found[2])) and (variable[1] or variable[2]) in substituted:
            lines.setdefault(variable[1] or variable[2], set()).add(original.place(found.start()).line)
        at = found.end()
        if found[3] and (blanks := _BLANKS.match(text, at)):
            at = blanks.end()
    unclosed = text.find("${{", at)
    if unclosed >= 0:
        problems.append(TemplateProblem(unclosed, "${{ is not closed by }}"))
    add(text[at:], at, literal=True)

    def outward(index: int) -> int:
        if not starts:
            return 0
        part = max(bisect_right(starts, index) - 1, 0)
        start, literal = froms[part]
        return start + (index - starts[part] if literal else 0)

    if at == 0 and not problems:  # there is no template
        return Rendered(original, (), {}, {})
    source = Source("".join(parts), original, outward)
    return Rendered(source, tuple(problems), substituted, {name: frozenset(found) for name, found in lines.items()})


def is_unknown(value: Any) -> bool:
    """Whether a value, or anything in it, can't be seen."""
    if isinstance(value, str):
        return "\ue000" in value
    if isinstance(value, Mapping):
        return any(is_unknown(name) or is_unknown(one) for name, one in value.items())
    return isinstance(value, list) and any(map(is_unknown, value))


def _value(
    found: re.Match[str], environment: Mapping[str, str], problems: list[TemplateProblem], substituted: dict[str, str]
) -> str:
    if _COMMENT.fullmatch(found[2]):
        return ""
    first, *steps = found[2].split("|")
    variable = _ENV.fullmatch(first)
    if variable is None or not all(_STEP.fullmatch(step) for step in steps):
        known = 'env "DECK_NAME", with toInt, toFloat, toBool or indent N after it'
        problems.append(TemplateProblem(found.start(), f"this template is not known here; known is {known}"))
        return UNKNOWN
    name = variable[1] or variable[2] or ""
    if not name.startswith("DECK_"):
        message = f"decK takes environment variables from DECK_ on only; rename {name!r} to DECK_{name}"
        problems.append(TemplateProblem(found.start(), message))
        return UNKNOWN
    value = environment.get(name)
    if value is None:
        problems.append(TemplateProblem(found.start(), f"the environment variable {name} is not set", unset=True))
        return UNKNOWN
    substituted[name] = value
    for step in steps:
        converted = _converted(value, step)
        if converted is None:
            kind = {"toInt": "whole number", "toFloat": "number", "toBool": "true or false"}[step.strip()]
            problems.append(TemplateProblem(found.start(), f"the value of {name} is no {kind}, as {step.strip()} asks"))
            return UNKNOWN
        value = converted
    return value


def _converted(value: str, step: str) -> str | None:
    found = _STEP.fullmatch(step)
    if found is None or found[2]:
        return value.replace("\n", "\n" + " " * int(found[2])) if found else None
    if found[1] == "toInt":
        return value if _INTEGER.fullmatch(value) else None
    if found[1] == "toBool":
        return _BOOLEANS.get(value.lower())
    try:
        return repr(float(value))
    except ValueError:
        return None
