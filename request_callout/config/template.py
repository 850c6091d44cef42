"""Splits a configured text into its literal parts and its ``$(...)`` expressions. Text only: nothing is run here.

An expression ends at the parenthesis that balances the opening one. Lua's strings, long brackets and comments are
stepped over while balancing, so ``$(headers["a)"])`` is one expression and ``$('$(x)')`` is the string ``$(x)``
(Lua 5.1 reference manual, 2.1).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_OPENING = "$("

# What matters while balancing: a comment, a long bracket, a quote, a parenthesis.
_TOKEN = re.compile(r"--|\[(=*)\[|['\"()]")
_LONG_BRACKET = re.compile(r"\[(=*)\[")
# A quoted string from its quote to the same quote; a line ends it unless escaped (``\z`` is LuaJIT's).
_QUOTED = {
    quote: re.compile(rf"{quote}(?:[^{quote}\\\n\r]|\\z\s*(?!\s)|\\(?:\r\n|\n\r|[^z]))*{quote}") for quote in ("'", '"')
}


class TemplateError(ValueError):
    """A text whose ``$(`` is not closed; ``line`` counts from 1 within the text."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(f"line {line}: {message}")
        self.line = line
        self.message = message


@dataclass(frozen=True, slots=True)
class Expression:
    """A Lua expression: ``source`` is what stands between ``$(`` and its ``)``.

    ``offset`` is where the source begins in the whole text (in characters, from 0), ``line`` the line of the text
    on which it begins (from 1).
    """

    source: str
    offset: int
    line: int


@dataclass(frozen=True, slots=True)
class Template:
    """A text in parts, in order: literals as plain text, none of them empty or beside another, and expressions."""

    text: str
    parts: tuple[str | Expression, ...]

    @property
    def expressions(self) -> tuple[Expression, ...]:
        """The expressions alone, in order."""
        return tuple(part for part in self.parts if isinstance(part, Expression))

    @property
    def is_constant(self) -> bool:
        """Whether the text holds no expression, so that it stands for itself."""
        return not any(isinstance(part, Expression) for part in self.parts)

    @property
    def sole_expression(self) -> Expression | None:
        """The expression, if the text is exactly one and nothing else: the case where its type can be kept."""
        if len(self.parts) == 1 and isinstance(self.parts[0], Expression):
            return self.parts[0]
        return None


def parse(text: str) -> Template:
    """Split ``text`` into literals and expressions; raises TemplateError where a ``$(`` is not closed."""
    parts: list[str | Expression] = []
    literal_from = 0
    while (opening := text.find(_OPENING, literal_from)) != -1:
        if opening > literal_from:
            parts.append(text[literal_from:opening])
        source_from = opening + len(_OPENING)
        closing = _closing_parenthesis(text, source_from)
        parts.append(Expression(text[source_from:closing], source_from, _line(text, source_from)))
        literal_from = closing + 1
    if literal_from < len(text):
        parts.append(text[literal_from:])
    return Template(text, tuple(parts))


def literal(text: str) -> str:
    """A value that stands for ``text`` as it is, whatever ``$(`` it holds and even if it begins with ``#``."""
    escaped = text.replace(_OPENING, f"""{_OPENING}"{_OPENING}")""")
    return f"""{_OPENING}"#"){escaped[1:]}""" if escaped.startswith("#") else escaped


def _closing_parenthesis(text: str, source_from: int) -> int:
    depth = 1
    position = source_from
    comment_at: int | None = None
    while (token := _TOKEN.search(text, position)) is not None:
        kind = token.group()
        if kind == "(":
            depth += 1
            position = token.end()
        elif kind == ")":
            depth -= 1
            if depth == 0:
                return token.start()
            position = token.end()
        elif kind == "--":
            comment_at = token.start()
            position = _after_comment(text, token.end())
        elif kind in _QUOTED:
            position = _after_quoted(text, token.start())
        else:
            position = _after_long_bracket(text, token)
    hint = "" if comment_at is None else "; a comment (--) in it runs to the end of its line"
    raise TemplateError(_line(text, source_from), f"$( is not closed by a balancing ){hint}")


def _after_comment(text: str, position: int) -> int:
    long_bracket = _LONG_BRACKET.match(text, position)
    if long_bracket is not None:
        return _after_long_bracket(text, long_bracket)
    end = text.find("\n", position)
    return len(text) if end == -1 else end


def _after_quoted(text: str, start: int) -> int:
    quoted = _QUOTED[text[start]].match(text, start)
    if quoted is None:
        raise TemplateError(_line(text, start), f"a string in $( is not closed by {text[start]}")
    return quoted.end()


def _after_long_bracket(text: str, opening: re.Match[str]) -> int:
    closing = f"]{opening.group(1)}]"
    end = text.find(closing, opening.end())
    if end == -1:
        raise TemplateError(_line(text, opening.start()), f"{opening.group()} in $( is not closed by {closing}")
    return end + len(closing)


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1
