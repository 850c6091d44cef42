"""The values that pass between Kong, the engine and Lua: what JSON can say.

Text is ``str``; bytes that are no UTF-8 survive as lone surrogates (``surrogateescape``), so that any Lua or header
string comes through unchanged. None inside a list or dict is JSON's null (``ngx.null`` in Lua).
"""

from __future__ import annotations

from typing import Any, TypeAlias

Value: TypeAlias = Any
"""None, bool, int, float, str, list[Value] or dict[str, Value]; checked where it enters, not by the type checker."""


class Kept(dict[str, Value]):
    """A dict that is not changed any more: what was made of it for Kong and for Lua is kept with it."""

    __slots__ = ("for_kong", "for_lua")

    for_kong: bytes
    for_lua: bytes


def text(data: bytes) -> str:
    """Bytes as text that gives the same bytes back with ``raw``."""
    return data.decode("utf-8", "surrogateescape")


def raw(value: str) -> bytes:
    """The bytes of a text made by ``text``."""
    return value.encode("utf-8", "surrogateescape")


def printable(value: str) -> str:
    """A text on one line that does nothing to a terminal or a log: all else in it as Python's escapes."""
    return value if value.isprintable() else "".join(map(_printable, value))


def _printable(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
