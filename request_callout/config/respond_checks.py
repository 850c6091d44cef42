"""What the schema can't say of ``upstream.respond``: its body is JSON, its condition one expression."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from request_callout.config import http_checks
from request_callout.config.parts import record
from request_callout.config.problems import Problem
from request_callout.config.sources import Sources

_MAX_DEPTH = 100
_HINT = 'write expressions as strings: {"id": "$(callouts.NAME.response.body.id)"}, with single quotes inside them'


def respond(answer: Mapping[str, Any], path: str, sources: Sources) -> Iterator[Problem]:
    """``upstream.respond`` at ``path``."""
    yield from sources.sole(answer.get("when"), f"{path}.when")
    yield from http_checks.headers(record(answer, "headers"), f"{path}.headers", sources)
    yield from _body(answer.get("body"), f"{path}.body", sources)


def _body(text: Any, path: str, sources: Sources) -> Iterator[Problem]:
    if not isinstance(text, str) or not text:
        return
    try:
        document = orjson.loads(text.encode(errors="surrogateescape"))
    except orjson.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        yield Problem(path, f"is no JSON text ({error.msg} at {place}); {_HINT}", error.lineno)
        return
    strings = _strings(document)
    if strings is None:
        yield Problem(path, f"must not nest deeper than {_MAX_DEPTH} levels; make it flatter")
    for value in strings or ():
        yield from (Problem(path, problem.message) for problem in sources.within(value, path))


def _strings(document: Any) -> list[str] | None:
    """All strings but names, None if they are too deep."""
    found: list[str] = []
    level = [document]
    for _ in range(_MAX_DEPTH + 1):
        found += [value for value in level if isinstance(value, str)]
        members = [value.values() if isinstance(value, dict) else value for value in level if _is_compound(value)]
        level = [member for one in members for member in one]
        if not level:
            return found
    return None


def _is_compound(value: Any) -> bool:
    return isinstance(value, dict | list)
