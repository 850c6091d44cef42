"""A request as lines, and what plugins made of it as a unified diff."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

import orjson

OF_KONG = frozenset(
    ["via", "connection", "x-real-ip", "x-kong-request-id", "content-length", "transfer-encoding"]
    + [f"x-forwarded-{name}" for name in ("for", "proto", "host", "port", "path", "prefix")]
)
"""Headers that Kong sets on each upstream request, whatever plugins do; they are left out of the diff."""


def lines(method: str, target: str, headers: Iterable[tuple[str, str]], body: bytes) -> list[str]:
    """The request, a thing a line: method, path, a line for each part of the query, headers by name, body."""
    path, _, query = target.partition("?")
    result = [f"{method} {path}"]
    result += [f"?{piece}" for piece in query.split("&") if piece]
    kept = [(name.lower(), value) for name, value in headers if name.lower() not in OF_KONG]
    result += [f"{name}: {value}" for name, value in sorted(kept, key=lambda one: one[0])]
    if body:
        result += ["", *pretty(body).splitlines()]
    return result


def pretty(body: bytes) -> str:
    """A body for people: JSON with a member a line, other text as it is, else its length."""
    try:
        content = body.decode()
    except UnicodeDecodeError:
        return f"({len(body)} bytes that are no text)"
    if content.lstrip()[:1] in ("{", "["):
        try:
            return orjson.dumps(orjson.loads(content), option=orjson.OPT_INDENT_2).decode()
        except ValueError:
            pass
    return content


def unified(before: list[str], after: list[str]) -> list[str]:
    """The lines of a unified diff with all of both; empty if they are alike."""
    most = max(len(before), len(after))
    found = difflib.unified_diff(before, after, "client's request", "upstream request", n=most, lineterm="")
    return list(found)
