"""What a script or an expression reads, seen in its source: the plan of the callouts and the gathered read rest on it.

It errs on the side of more: whatever cannot be resolved to a name counts as a use of everything. Scripts that hide a
name from it (by ``load``, which only the unrestricted mode has) count so too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from request_callout.lua.lexer import LexError, Token, tokens

Path = tuple[str | int, ...]

_SHORTCUTS = frozenset({"headers", "query_params", "uri_captures"})
_ELEMENT = frozenset({"item", "index"})
_EVERYTHING = frozenset({"_G", "getfenv", "setfenv", "load", "loadstring", "dofile", "loadfile", "debug"})
_CHANGES_TABLES = (
    frozenset({"insert", "remove", "sort", "move", "rawset", "require", "package", "setmetatable"}) | _EVERYTHING
)


@dataclass(frozen=True, slots=True)
class Uses:
    """What a source reads.

    ``callouts`` are the names resolved; ``all_callouts`` says that there is a use which cannot be resolved.
    ``shortcuts`` are the tables of the client's request that it may read. ``path`` is given when an expression only
    follows constant keys from ``callouts``, ``headers``, ``query_params``, ``uri_captures`` or ``item``. ``element``:
    it may read ``item`` or ``index``, which an expression of a callout for each element has.
    """

    callouts: frozenset[str]
    all_callouts: bool
    shortcuts: frozenset[str]
    path: Path | None
    element: bool = False


def analyse(source: str, is_expression: bool) -> Uses:
    """What this source reads; a source that is no Lua counts as reading everything."""
    try:
        stream = list(tokens(source))
    except LexError:
        return Uses(frozenset(), True, _SHORTCUTS if is_expression else frozenset(), None, element=is_expression)
    callouts: set[str] = set()
    shortcuts: set[str] = set()
    everything = element = False
    for place, token in enumerate(stream):
        if token.kind != "name" or _is_member(stream, place):
            continue
        if token.text in _EVERYTHING:
            everything = True
            if is_expression:
                shortcuts.update(_SHORTCUTS)
                element = True
        elif is_expression and token.text in _SHORTCUTS:
            shortcuts.add(token.text)
        elif is_expression and token.text in _ELEMENT:
            element = True
        elif token.text == "kong" or (is_expression and token.text in ("callouts", "shared")):
            name = _callout_named(token.text, _keys(stream, place + 1)[0])
            if name is None:
                everything = True
            elif name:
                callouts.add(name)
    path = _path(stream) if is_expression else None
    return Uses(frozenset(callouts), everything, frozenset(shortcuts), path, element)


@dataclass(frozen=True, slots=True)
class Use:
    """One use of a global: the constant keys that follow it, and the text it is called with, if it is called with one.

    ``kong.ctx.shared.callouts`` and ``shared.callouts`` are written as ``callouts``.
    """

    path: Path
    argument: str | None = None


def uses_of(source: str, roots: frozenset[str]) -> list[Use]:
    """Where a source uses these globals, in its order; nothing for one that is no Lua."""
    try:
        stream = list(tokens(source))
    except LexError:
        return []
    found = []
    for place, token in enumerate(stream):
        if token.kind == "name" and token.text in roots and not _is_member(stream, place):
            keys, end = _keys(stream, place + 1)
            found.append(Use(_shortened(token.text, keys), _argument(stream, end)))
    return found


def _argument(stream: Sequence[Token], place: int) -> str | None:
    """The text that stands right after a name: ``("text")`` or ``"text"``."""
    place += place < len(stream) and stream[place].kind == "symbol" and stream[place].text == "("
    return stream[place].text if place < len(stream) and stream[place].kind == "string" else None


def may_change_tables(source: str) -> bool:
    """Whether an expression could change a table that it reads; only then does it need copies."""
    try:
        stream = list(tokens(source))
    except LexError:
        return True
    for place, token in enumerate(stream):
        if token.text == "function" and token.kind == "keyword":
            return True
        if token.kind == "name" and token.text in _CHANGES_TABLES:
            return True
        if token.kind == "name" and token.text == "table" and not _is_member(stream, place):
            following = stream[place + 1] if place + 1 < len(stream) else None
            if following is None or following.text != ".":
                return True
    return False


def assigns_members(source: str) -> bool:
    """Whether a script assigns to a member of any table, but in a table's own constructor."""
    try:
        stream = list(tokens(source))
    except LexError:
        return True
    braces = 0
    for place, token in enumerate(stream):
        if token.kind != "symbol":
            continue
        braces += {"{": 1, "}": -1}.get(token.text, 0)
        if token.text == "=" and not braces and not _assigns_names(stream, place):
            return True
    return False


def _assigns_names(stream: Sequence[Token], place: int) -> bool:
    """Whether nothing but plain names stands left of an assignment."""
    while place > 0 and stream[place - 1].kind == "name":
        if _is_member(stream, place - 1):
            return False
        if place < 2 or stream[place - 2].kind != "symbol" or stream[place - 2].text != ",":
            return True
        place -= 2
    return False


def problem_of_expression(source: str) -> str | None:
    """Why this is not one expression, as far as its brackets and its being empty tell."""
    try:
        stream = list(tokens(source))
    except LexError:
        return None  # Lua itself says it better
    if not stream:
        return "there is no expression between the parentheses"
    depth = 0
    for token in stream:
        if token.kind == "symbol" and token.text in "()":
            depth += 1 if token.text == "(" else -1
            if depth < 0:
                return "unbalanced parentheses: this is not one expression"
    return None


def _is_member(stream: Sequence[Token], place: int) -> bool:
    return place > 0 and stream[place - 1].kind == "symbol" and stream[place - 1].text in (".", ":")


def _keys(stream: Sequence[Token], place: int) -> tuple[list[str | int | None], int]:
    """The keys that follow a name, None for one that is not constant (the last then), and where they end."""
    keys: list[str | int | None] = []
    while place < len(stream) and stream[place].kind == "symbol":
        symbol = stream[place].text
        if symbol == "." and place + 1 < len(stream) and stream[place + 1].kind == "name":
            keys.append(stream[place + 1].text)
            place += 2
        elif symbol == "[":
            closed = place + 2 < len(stream) and stream[place + 2].kind == "symbol" and stream[place + 2].text == "]"
            key = _constant(stream[place + 1]) if closed else None
            keys.append(key)
            if key is None:
                break
            place += 3
        else:
            break
    return keys, place


def _constant(token: Token) -> str | int | None:
    if token.kind == "string":
        return token.text
    if token.kind == "number" and token.text.isdecimal():
        return int(token.text)
    return None


def _callout_named(root: str, keys: Sequence[str | int | None]) -> str | None:
    """The callout that a chain of keys leads to, "" if it leads elsewhere, None if that is not known."""
    prefix = {"kong": ("ctx", "shared", "callouts"), "shared": ("callouts",), "callouts": ()}[root]
    for place, expected in enumerate(prefix):
        if place >= len(keys) or keys[place] is None:
            return None
        if keys[place] != expected:
            return ""
    if len(keys) <= len(prefix) or not isinstance(keys[len(prefix)], str):
        return None
    return str(keys[len(prefix)])


def _path(stream: Sequence[Token]) -> Path | None:
    if not stream or stream[0].kind != "name":
        return None
    keys, end = _keys(stream, 1)
    if end < len(stream):
        return None
    chain = _shortened(stream[0].text, keys)
    if chain[0] in _ELEMENT:
        return chain
    if len(chain) < 2 or chain[0] not in (*_SHORTCUTS, "callouts"):
        return None
    return chain


def _shortened(root: str, keys: Sequence[str | int | None]) -> Path:
    """The constant keys from a name on, with ``callouts`` at the beginning of what leads there."""
    chain: list[str | int] = [root, *(key for key in keys if key is not None)]
    for prefix in (["kong", "ctx", "shared", "callouts"], ["shared", "callouts"]):
        if chain[: len(prefix)] == prefix:
            chain = chain[len(prefix) - 1 :]
    return tuple(chain)
