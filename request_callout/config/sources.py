"""Values that hold Lua: scripts, and texts with ``$(...)`` expressions in them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from request_callout.config.problems import Problem
from request_callout.config.scope import element_names
from request_callout.config.template import Expression, Template, TemplateError, parse

_FOREIGN = {
    "|": ("||", "in Lua it is or"),
    "&": ("&&", "in Lua it is and"),
    "!": ("!=", "in Lua it is ~="),
    "+": ("+=", "in Lua it is x = x + 1"),
}
"""Other languages' operators: by the token at which Lua stops, how they are written, and Lua's way."""

_NEAR = re.compile(r"near '([^']+)'")

SourceCheck = Callable[[str, bool], Sequence[tuple[int, str]]]
"""Finds syntax errors in Lua: (source, whether it is an expression) to lines and messages."""


class Sources:
    """Looks at values that hold Lua; without ``check`` only at what can be told without a compiler.

    ``per_element``: expressions are evaluated for each element of a list, so that they know ``item`` and ``index``.
    """

    def __init__(self, check: SourceCheck | None, *, per_element: bool = False) -> None:
        self._check = check
        self._per_element = per_element

    def each(self) -> Sources:
        """The same for values that are evaluated for each element of a list."""
        return Sources(self._check, per_element=True)

    def script(self, source: Any, path: str) -> Iterator[Problem]:
        """A whole script."""
        if isinstance(source, str) and self._check is not None:
            for line, message in self._check(source, False):
                yield Problem(path, _remedied(source, line, message), line, "lua", _offset(source, line, message))

    def text(self, text: Any, path: str) -> Iterator[Problem]:
        """A value that may hold expressions."""
        if not isinstance(text, str):
            return
        if text.startswith("#"):
            yield Problem(path, 'a value must not begin with #; write $("#") in place of that character')
        yield from self.within(text, path)

    def within(self, text: str, path: str) -> Iterator[Problem]:
        """The expressions in a text, wherever it stands."""
        try:
            template = parse(text)
        except TemplateError as error:
            message = f"{error.message}; close it, or write $('$(') for the text itself"
            yield Problem(path, message, error.line, "lua", _offset(text, error.line, ""))
            return
        yield from self._expressions(template, path)

    def sole(self, text: Any, path: str) -> Iterator[Problem]:
        """A value that is one expression and nothing else."""
        problems = list(self.text(text, path))
        yield from problems
        if not isinstance(text, str) or not text or problems or parse(text).sole_expression is not None:
            return
        remedy = "write $(...) around all of it, with nothing before or after"
        if parse(text.strip()).sole_expression is not None:
            remedy = "remove the blanks and line breaks around it; in YAML use |- or >- in place of | or >"
        yield Problem(path, f"must be exactly one expression; {remedy}")

    def _expressions(self, template: Template, path: str) -> Iterator[Problem]:
        for part in template.expressions:
            if not part.source.strip():
                message = "the expression $() is empty; write one, or $('$()') for the text itself"
                yield Problem(path, message, part.line, "lua", part.offset)
            else:
                yield from self._expression(part, path)

    def _expression(self, part: Expression, path: str) -> Iterator[Problem]:
        for name in () if self._per_element else element_names(part.source):
            message = f"{name} is known only in the request and response of a callout with for_each; use it there"
            yield Problem(path, message, part.line, "lua", part.offset)
        if self._check is not None:
            for line, message in self._check(part.source, True):
                offset = part.offset + _offset(part.source, line, message)
                told = f"in $({part.source.strip()}): {_remedied(part.source, line, message)}"
                yield Problem(path, told, part.line + line - 1, "lua", offset)


def _remedied(source: str, line: int, message: str) -> str:
    """The message with a remedy, if it is about an operator of another language."""
    near = _NEAR.search(message)
    operator, remedy = _FOREIGN.get(near[1], ("", "")) if near else ("", "")
    if not operator or operator not in (source.split("\n")[line - 1 :] or [""])[0]:
        return message
    return f"{message}: Lua has no {operator}; {remedy}"


def _offset(source: str, line: int, message: str) -> int:
    """The character that a message is about: the token that it names if the line has it once, or the line's first."""
    lines = source.split("\n")
    place = min(line, len(lines)) - 1
    start = sum(len(one) + 1 for one in lines[:place])
    near = _NEAR.search(message)
    if near is not None:
        token = _FOREIGN.get(near[1], (near[1],))[0] if lines[place].count(near[1]) != 1 else near[1]
        if lines[place].count(token) == 1:
            return start + lines[place].index(token)
    return start + len(lines[place]) - len(lines[place].lstrip())
