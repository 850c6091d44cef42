"""Query arguments as OpenResty reads and writes them (``ngx.req.get_uri_args``, ``ngx.encode_args``)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from request_callout.values import Value, raw, text

_ESCAPED = re.compile(rb"%([0-9A-Fa-f]{2})")
_TO_ESCAPE = re.compile(rb"[^A-Za-z0-9\-._~]")
_TO_FORM = re.compile(rb"[^A-Za-z0-9\-._* ]")

Argument = str | bool | list[str | bool]


def _unescape(piece: str) -> str:
    return text(_ESCAPED.sub(lambda found: bytes((int(found[1], 16),)), raw(piece).replace(b"+", b" ")))


def _escape(piece: str) -> str:
    return _TO_ESCAPE.sub(lambda found: b"%%%02X" % found[0][0], raw(piece)).decode("ascii")


def decode(query: str, limit: int = 100) -> dict[str, Argument]:
    """The arguments of a query: True for one without a value, a list for a repeated one; at most ``limit`` (0: all)."""
    result: dict[str, Argument] = {}
    count = 0
    for piece in query.split("&"):
        name, equals, value = piece.partition("=")
        if not name:
            continue
        if limit and count == limit:
            break
        count += 1
        key = _unescape(name)
        one: str | bool = _unescape(value) if equals else True
        known = result.get(key)
        if known is None:
            result[key] = one
        elif isinstance(known, list):
            known.append(one)
        else:
            result[key] = [known, one]
    return result


def encode(args: Mapping[str, Value]) -> str:
    """A table of arguments as a query, each name's part in the order of the text (``kong.service.request.set_query``).

    Raises TypeError for a value that no argument can have.
    """
    parts: list[str] = []
    for name, value in args.items():
        pieces: list[str] = []
        for one in value if isinstance(value, list) else value.values() if isinstance(value, dict) else [value]:
            if one is True:
                pieces.append(_escape(name))
            elif one is None or one is False:
                continue
            elif isinstance(one, (str, int, float)):
                shown = f"{one:.14g}" if isinstance(one, float) else str(one)
                pieces.append(f"{_escape(name)}={_escape(shown)}")
            else:
                raise TypeError("attempt to use table as query arg value")
        parts.append("&".join(pieces))
    return "&".join(sorted(parts))


def without(query: str, name: str) -> str:
    """The query without the arguments of one name; the rest is written anew, as a form is encoded."""
    kept = []
    for piece in query.split("&"):
        key, _, value = piece.partition("=")
        if piece and _unescape(key) != name:
            kept.append(f"{_form(_unescape(key))}={_form(_unescape(value))}")
    return "&".join(kept)


def _form(piece: str) -> str:
    return _TO_FORM.sub(lambda found: b"%%%02X" % found[0][0], raw(piece)).decode("ascii").replace(" ", "+")
