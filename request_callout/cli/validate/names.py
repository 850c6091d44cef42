"""Names in expressions that Lua takes for something else than was meant: it finds nil there, and the request fails."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence

from request_callout.lua.analysis import uses_of
from request_callout.lua.lexer import LexError, Token, tokens

_TABLES = ("headers", "query_params", "uri_captures", "shared", "callouts")
_COMMON = {
    "args": "query_params",
    "captures": "uri_captures",
    "params": "query_params",
    "query": "query_params",
    "request": "kong.request, or callouts.NAME.request",
    "response": "callouts.NAME.response",
}
"""What other products call these things; none of them is a name in Lua's library or in Kong's sandbox."""

_PARTS: Mapping[str, Sequence[str]] = {
    "": ("request", "response", "caching", "skipped", "fallback"),
    "request": ("params", "retries", "n_retries", "error"),
    "response": ("status", "headers", "body", "items"),
}
_FOREIGN = re.compile(
    r"\$\{\s*(?:callouts|headers|query_params|uri_captures)\b[^}]*\}|\{\{-?\s*\.?(?:callouts|headers|query_params)\b[^}]*\}\}"
)


def foreign(text: str) -> str | None:
    """An expression as other products write them, which is text here."""
    found = _FOREIGN.search(text)
    return found[0] if found else None


def misread(source: str) -> Iterator[str]:
    """What is told of the names in an expression."""
    try:
        stream = list(tokens(source))
    except LexError:
        return
    if any(token.text == "function" and token.kind == "keyword" for token in stream):
        return  # it may have names of its own
    for place, token in enumerate(stream):
        if (
            token.kind == "name"
            and not _is_symbol(stream, place - 1, ".", ":")
            and not _is_symbol(stream, place + 1, "=")
        ):
            yield from _misnamed(token.text)
        yield from _subtracted(stream, place)
    for path in dict.fromkeys(use.path for use in uses_of(source, frozenset({"callouts", "shared", "kong"}))):
        if path[0] == "callouts":
            yield from _misspelt(path[1:])


def _misnamed(name: str) -> Iterator[str]:
    meant = _COMMON.get(name)
    if meant is None and name not in _TABLES:
        meant = next(iter(difflib.get_close_matches(name, _TABLES, n=1, cutoff=0.85)), None)
    if meant is not None:
        yield f"there is no {name} in expressions; did you mean {meant}?"


def _subtracted(stream: Sequence[Token], place: int) -> Iterator[str]:
    """``headers.x-user``, which is ``headers.x`` minus ``user``."""
    table = stream[place].text
    if table not in ("headers", "query_params") or not _is_symbol(stream, place + 1, "."):
        return
    words = [token.text for token in stream[place + 2 : place + 3]]
    at = place + 3
    while _is_symbol(stream, at, "-") and _is_plain(stream, at + 1):
        words.append(stream[at + 1].text)
        at += 2
    if len(words) > 1:
        name = "-".join(words)
        yield f'{table}.{name} is a subtraction in Lua; write {table}["{name}"]'


def _is_plain(stream: Sequence[Token], place: int) -> bool:
    """Whether a name stands here by itself that could be the rest of a header's name."""
    if place >= len(stream) or stream[place].kind != "name" or stream[place].text in ("item", "index"):
        return False
    return not _is_symbol(stream, place + 1, ".", ":", "[", "(")


def _misspelt(keys: Sequence[str | int]) -> Iterator[str]:
    """A part of a callout's context that it does not have; ``keys`` begin with the name of the callout."""
    part = ""
    for key in keys[1:3]:
        known = _PARTS.get(part, ())
        close = difflib.get_close_matches(str(key), known, n=1) if key not in known else []
        if close:
            where = f"callouts.{keys[0]}" + (f".{part}" if part else "")
            yield f"{where} has no {key}; did you mean {close[0]}?"
        part = str(key)


def _is_symbol(stream: Sequence[Token], place: int, *symbols: str) -> bool:
    return 0 <= place < len(stream) and stream[place].kind == "symbol" and stream[place].text in symbols
