"""Pieces of Lua that a conversion writes: strings, look-ups along a path, expressions in a configured value."""

from __future__ import annotations

from collections.abc import Sequence

from request_callout.lua.lexer import is_name

_ESCAPES = {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\0": "\\0"}

Step = str | int
"""A member's name, or a place in a list from 1."""


def quoted(text: str) -> str:
    """A Lua string in single quotes, so that it can stand in JSON and YAML without more escapes."""
    return "'" + "".join(_ESCAPES.get(character, character) for character in text) + "'"


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
