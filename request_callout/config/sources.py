"""Values that hold Lua: scripts, and texts with ``$(...)`` expressions in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from request_callout.config.problems import Problem
from request_callout.config.template import Expression, Template, TemplateError, parse

SourceCheck = Callable[[str, bool], Sequence[tuple[int, str]]]
"""Finds syntax errors in Lua: (source, whether it is an expression) to lines and messages."""


class Sources:
    """Looks at values that hold Lua; without ``check`` only at what can be told without a compiler."""

    def __init__(self, check: SourceCheck | None) -> None:
        self._check = check

    def script(self, source: Any, path: str) -> Iterator[Problem]:
        """A whole script."""
        if isinstance(source, str) and self._check is not None:
            for line, message in self._check(source, False):
                yield Problem(path, message, line)

    def text(self, text: Any, path: str) -> Iterator[Problem]:
        """A value that may hold expressions."""
        if not isinstance(text, str):
            return
        if text.startswith("#"):
            yield Problem(path, 'a value must not begin with #; write $("#") in place of that character')
        try:
            template = parse(text)
        except TemplateError as error:
            yield Problem(path, f"{error.message}; close it, or write $('$(') for the text itself", error.line)
            return
        yield from self._expressions(template, path)

    def _expressions(self, template: Template, path: str) -> Iterator[Problem]:
        for part in template.expressions:
            if not part.source.strip():
                yield Problem(
                    path, "the expression $() is empty; write one, or $('$()') for the text itself", part.line
                )
            elif self._check is not None:
                yield from self._expression(part, path)

    def _expression(self, part: Expression, path: str) -> Iterator[Problem]:
        if self._check is not None:
            for line, message in self._check(part.source, True):
                yield Problem(path, f"in $({part.source.strip()}): {message}", part.line + line - 1)
