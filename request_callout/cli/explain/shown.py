"""What of a configured value may be shown: the expressions in it, since they are logic, but not what else stands there.

A constant may be a secret that nobody has put into a vault, so it is only shown where its name says that it is none.
Texts within expressions are hidden where a name near them, or that of their field, is one of a secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from request_callout.config.deck_templates import UNKNOWN
from request_callout.config.normal import is_reference
from request_callout.config.template import Expression, parse
from request_callout.engine.expression import Text
from request_callout.engine.redaction import Redaction
from request_callout.engine.secret_names import is_secret, mentions_secret

HIDDEN = "***"

_OPEN_NAMES = re.compile(r"accept(-.*)?|content-type|user-agent|cache-control|grant_type|format", re.IGNORECASE)
_SCHEME = re.compile(r"\s*(Basic|Bearer|Digest|Token)\s+", re.IGNORECASE)
_PUNCTUATION = re.compile(r"[\s\W_]{1,3}")
_LUA_TEXT = re.compile(
    r"""(?P<comment>--\[(?P<bars>=*)\[.*?\](?P=bars)\]|--[^\n]*)
      | (?P<open>\[\s*)?
        (?P<text>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|\[(?P<level>=*)\[.*?\](?P=level)\])
        (?P<close>\s*\])?""",
    re.VERBOSE | re.DOTALL,
)
_USER_INFO = re.compile(r"^([a-z]+://)[^/?#]*@", re.IGNORECASE)


def without_expressions(text: str) -> str:
    """A value with a NUL in place of each expression, to be taken apart."""
    return "".join(part if isinstance(part, str) else "\0" for part in parse(text).parts)


def constants(text: str) -> Iterator[str]:
    """The texts in a value that stand for themselves: around its expressions, and within them."""
    for part in parse(text).parts:
        if isinstance(part, Expression):
            yield from (found["text"].strip("'\"") for found in _LUA_TEXT.finditer(part.source) if _is_value(found))
        elif not _PUNCTUATION.fullmatch(part):
            scheme = _SCHEME.match(part)
            yield part[scheme.end() :] if scheme else part


class Shown:
    """Values of one configuration as they may be shown."""

    def __init__(self, redaction: Redaction) -> None:
        self._redaction = redaction

    def plain(self, text: str) -> str:
        """A text that is meant to be read, without any secret that has got into it."""
        return self._redaction.line(text.replace(UNKNOWN, "(unknown)"))

    def value(self, name: str, text: str) -> str:
        """The value of a header, parameter or field."""
        if is_reference(text) or _OPEN_NAMES.fullmatch(name):
            return self.plain(text)
        return self.plain("".join(self._part(name, part) for part in parse(text).parts))

    def expression(self, text: str, name: str = "") -> str:
        """A value that is one expression, or a text around expressions that is none of a header or the like."""
        if is_reference(text):
            return self.plain(text)
        parts = parse(text).parts
        return self.plain("".join(part if isinstance(part, str) else _expression(name, part) for part in parts))

    def url(self, text: Text) -> str:
        """A URL without user info and without the constant values of its query."""
        if is_reference(text.source):
            return self.plain(text.source)
        expressions: list[str] = []
        pieces = []
        for part in parse(text.source).parts:
            if isinstance(part, Expression):
                expressions.append(_expression("", part))
                pieces.append(f"\0{len(expressions) - 1}\0")
            else:
                pieces.append(part.replace("\0", ""))
        url = _USER_INFO.sub(rf"\1{HIDDEN}@", "".join(pieces).partition("#")[0])
        base, mark, query = url.partition("?")
        if mark:
            base += "?" + "&".join(_parameter(piece) for piece in query.split("&"))
        return self.plain(re.sub("\0([0-9]+)\0", lambda found: expressions[int(found[1])], base))

    def _part(self, name: str, part: str | Expression) -> str:
        if isinstance(part, Expression):
            return _expression(name, part)
        if _PUNCTUATION.fullmatch(part):
            return part
        scheme = _SCHEME.match(part)
        if scheme is not None and is_secret(name):
            return scheme[0] + (HIDDEN if part[scheme.end() :] else "")
        return HIDDEN


def _expression(name: str, part: Expression) -> str:
    hides = is_secret(name) or mentions_secret(part.source)

    def replacement(found: re.Match[str]) -> str:
        if found["comment"] is not None:
            return " "
        return f"{found['open'] or ''}'{HIDDEN}'{found['close'] or ''}" if hides and _is_value(found) else found[0]

    return f"$({' '.join(_LUA_TEXT.sub(replacement, part.source).split())})"


def _is_value(found: re.Match[str]) -> bool:
    """Whether this is a text that is no key of a table."""
    return found["text"] is not None and (found["open"] is None or found["close"] is None)


def _parameter(piece: str) -> str:
    """One parameter of a query: its name, and of its value the expressions."""
    name, equals, value = piece.partition("=")
    if not equals:
        return name
    kept = "".join(re.findall("\0[0-9]+\0", value))
    return f"{name}={kept or HIDDEN}"
