"""Pieces of Lua that a conversion writes: strings, look-ups along a path, expressions in a configured value."""

from __future__ import annotations

import re
from collections.abc import Sequence

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z", re.ASCII)
_KEYWORDS = frozenset(
    {
        "and",
        "break",
        "do",
        "else",
        "elseif",
        "end",
        "false",
        "for",
        "function",
        "goto",
        "if",
        "in",
        "local",
        "nil",
        "not",
        "or",
        "repeat",
        "return",
        "then",
        "true",
        "until",
        "while",
    }
)
_ESCAPES = {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\0": "\\0"}

Step = str | int
"""A member's name, or a place in a list from 1."""


def quoted(text: str) -> str:
    """A Lua string in single quotes, so that it can stand in JSON and YAML without more escapes."""
    return "'" + "".join(_ESCAPES.get(character, character) for character in text) + "'"


def is_name(text: str) -> bool:
    """Whether Lua takes the text as a name after a dot."""
    return _NAME.match(text) is not None and text not in _KEYWORDS


def indexed(base: str, path: Sequence[Step]) -> str:
    """``base`` and the look-ups along a path: ``callouts.user.response.body['first name']``."""
    return base + "".join(
        f".{step}"
        if isinstance(step, str) and is_name(step)
        else f"[{quoted(step) if isinstance(step, str) else step}]"
        for step in path
    )


def key(name: str) -> str:
    """A member's name in a table constructor."""
    return name if is_name(name) else f"[{quoted(name)}]"


def expression(source: str) -> str:
    """The expression in a configured value."""
    return f"$({source})"
