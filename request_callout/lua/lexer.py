"""The tokens of Lua 5.1 as LuaJIT reads them: just enough to see which names a source uses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Kind = Literal["name", "keyword", "number", "string", "symbol"]

_KEYWORDS = """
    and break do else elseif end false for function goto if in local nil not or repeat return then true until while
"""
KEYWORDS = frozenset(_KEYWORDS.split())
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z", re.ASCII)


class LexError(ValueError):
    """A source that ends inside a string or a comment, or holds a character that Lua does not know."""


@dataclass(frozen=True, slots=True)
class Token:
    """One token; ``text`` is a string's content with its escapes resolved, else the token as it stands."""

    kind: Kind
    text: str


_TOKEN = re.compile(
    r"""
    (?P<space>\s+)
  | (?P<comment>--(?!\[=*\[)[^\n]*)
  | (?P<long>(?:--)?\[(?P<level>=*)\[)
  | (?P<name>[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_\x80-\U0010ffff]*)
  | (?P<number>(?:0[xX][0-9a-fA-F.]+(?:[pP][+-]?[0-9]+)?|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)[uUlLiI]*)
  | (?P<quote>["'])
  | (?P<symbol>\.\.\.|\.\.|==|~=|<=|>=|::|[-+*/%^\#&|~<>=(){}\[\];:,.])
    """,
    re.VERBOSE,
)
_SHORT = {
    '"': re.compile(r'((?:[^"\\\n]|\\(?:z\s*|[\s\S]))*)"'),
    "'": re.compile(r"((?:[^'\\\n]|\\(?:z\s*|[\s\S]))*)'"),
}
_ESCAPE = re.compile(
    r"\\(?:z(?P<gap>\s*)|x(?P<hex>[0-9a-fA-F]{2})|(?P<decimal>[0-9]{1,3})|u\{(?P<code>[0-9a-fA-F]+)\}|(?P<one>[\s\S]))"
)
_NAMED = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def tokens(source: str) -> Iterator[Token]:
    """The tokens of a source, without comments. Raises LexError."""
    at = 0
    while at < len(source):
        match = _TOKEN.match(source, at)
        if match is None:
            raise LexError(f"unexpected {source[at]!r}")
        at = match.end()
        kind = match.lastgroup
        if kind == "name":
            yield Token("keyword" if match.group() in KEYWORDS else "name", match.group())
        elif kind == "symbol":
            yield Token("symbol", match.group())
        elif kind == "number":
            yield Token("number", match.group())
        elif kind == "quote":
            string = _SHORT[match.group()].match(source, at)
            if string is None:
                raise LexError("unfinished string")
            at = string.end()
            yield Token("string", _ESCAPE.sub(_unescaped, string.group(1)))
        elif match["long"] is not None:
            closing = f"]{match['level']}]"
            end = source.find(closing, at)
            if end < 0:
                raise LexError("unfinished long string or comment")
            if not match["long"].startswith("--"):
                content = source[at:end]
                yield Token("string", content[1:] if content.startswith("\n") else content)
            at = end + len(closing)


def _unescaped(match: re.Match[str]) -> str:
    if match["gap"] is not None:
        return ""
    if match["hex"]:
        return _byte(int(match["hex"], 16))
    if match["decimal"]:
        return _byte(int(match["decimal"]) & 0xFF)
    if match["code"]:
        return chr(min(int(match["code"], 16), 0x10FFFF))
    return _NAMED.get(match["one"], match["one"])


def _byte(code: int) -> str:
    return chr(code) if code < 0x80 else chr(0xDC00 + code)


def is_name(text: str) -> bool:
    """Whether Lua takes a text as a name: after a dot, as a member in a table constructor."""
    return _NAME.match(text) is not None and text not in KEYWORDS
