"""Splitting configured values at their expressions: ``$(…)``, with balanced parentheses.

This is text only: what stands inside is Lua, and is compiled elsewhere. To find the end of an expression its strings and
comments have to be skipped (Lua 5.1 reference manual, section 2.1), so ``$('$(x)')`` holds the string ``$(x)``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


class TemplateError(ValueError):
    """A value whose expressions can't be told from its text; ``line`` counts from 1 within the value."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message


@dataclass(frozen=True, slots=True)
class Expression:
    """The Lua source between ``$(`` and ``)``; ``offset`` and ``line`` say where it begins within the value."""

    source: str
    offset: int
    line: int


@dataclass(frozen=True, slots=True)
class Template:
    """A value as its literal pieces and its expressions, in order."""

    parts: tuple[str | Expression, ...]

    @property
    def is_constant(self) -> bool:
        """Whether there is no expression in it."""
        return not any(isinstance(part, Expression) for part in self.parts)

    @property
    def sole_expression(self) -> Expression | None:
        """The expression that is all there is, None otherwise."""
        only = self.parts[0] if len(self.parts) == 1 else None
        return only if isinstance(only, Expression) else None


# What may stand between the parentheses that count: a long string or comment, a line comment, a short string, or a run
# of anything else that is no parenthesis.
_LONG = re.compile(r"(?:--)?\[(=*)\[.*?\]\1\]", re.DOTALL)
_COMMENT = re.compile(r"--[^\n]*")
_SHORT = re.compile(r"'(?:[^'\\\n]|\\.)*'|\"(?:[^\"\\\n]|\\.)*\"", re.DOTALL)
_PLAIN = re.compile(r"[^()\"'\[\-]+")


def parse(text: str) -> Template:
    """Split a value; raises TemplateError for an expression that does not end."""
    parts: list[str | Expression] = []
    position = 0
    while True:
        begin = text.find("$(", position)
        if begin < 0:
            if position < len(text) or not parts:
                parts.append(text[position:])
            return Template(tuple(parts))
        if begin > position:
            parts.append(text[position:begin])
        end = _end(text, begin + 2)
        line = text.count("\n", 0, begin) + 1
        if end is None:
            raise TemplateError(line, "the expression that begins with '$(' has no closing ')'")
        source = text[begin + 2 : end]
        if not source.strip():
            raise TemplateError(line, "the expression '$()' is empty")
        parts.append(Expression(source, begin + 2, line))
        position = end + 1


def _end(text: str, position: int) -> int | None:
    """Where the parenthesis that closes the expression stands."""
    depth = 1
    while position < len(text):
        character = text[position]
        if character == "(":
            depth += 1
        elif character == ")":
            depth -= 1
            if depth == 0:
                return position
        else:
            skipped = _skip(text, position)
            if skipped is None:
                return None
            position = skipped
            continue
        position += 1
    return None


def _skip(text: str, position: int) -> int | None:
    """Where what begins here ends: a string, a comment, plain text; None for a string without an end."""
    for pattern in (_PLAIN, _LONG, _SHORT):
        match = pattern.match(text, position)
        if match is not None:
            return match.end()
    if text[position] in "'\"":
        return None
    comment = _COMMENT.match(text, position)
    return comment.end() if comment is not None else position + 1
