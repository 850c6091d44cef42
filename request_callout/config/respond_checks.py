"""What the schema can't say of ``upstream.respond``: its body is JSON, its condition one expression."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from request_callout.config import http_checks
from request_callout.config.parts import record
from request_callout.config.problems import Problem
from request_callout.config.sources import Sources

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
        document = json.loads(text, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        yield Problem(path, f"is no JSON text ({error.msg} at {place}); {_HINT}", error.lineno)
        return
    except ValueError as error:
        yield Problem(path, f"is no JSON text ({error}); {_HINT}")
        return
    except RecursionError:
        yield Problem(path, "is nested too deep; make it flatter")
        return
    for value in _strings(document):
        yield from (Problem(path, problem.message) for problem in sources.within(value, path))


def _no_number(name: str) -> None:
    raise ValueError(f"JSON has no {name}")


def _strings(document: Any) -> Iterator[str]:
    if isinstance(document, str):
        yield document
    elif isinstance(document, dict | list):
        for value in document.values() if isinstance(document, dict) else document:
            yield from _strings(value)
