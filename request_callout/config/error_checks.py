"""What the schema can't say of ``callouts[].request.error`` and of hedging."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from request_callout.config import http_checks
from request_callout.config.parts import items, record
from request_callout.config.problems import Problem
from request_callout.config.sources import Sources

# RFC 9110, section 9.2.2
_IDEMPOTENT = ("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE")


def error_policy(error: Mapping[str, Any], path: str, sources: Sources) -> Iterator[Problem]:
    """``callouts[].request.error`` at ``path``."""
    yield from sources.text(error.get("error_response_msg"), f"{path}.error_response_msg")
    yield from sources.sole(error.get("when"), f"{path}.when")
    for place, name in enumerate(items(error, "retry_methods"), 1):
        yield from http_checks.method(name, f"{path}.retry_methods[{place}]")
    fallback = record(error, "fallback")
    yield from http_checks.headers(record(fallback, "headers"), f"{path}.fallback.headers", sources)
    yield from sources.text(fallback.get("body"), f"{path}.fallback.body")


def hedging(request: Mapping[str, Any], path: str) -> Iterator[Problem]:
    """``callouts[].request.hedge_after_ms``; a script may choose another method, which is then looked at."""
    method = request.get("method")
    if request.get("hedge_after_ms") is None or request.get("by_lua") is not None or not isinstance(method, str):
        return
    if method and method.upper() not in _IDEMPOTENT:
        yield Problem(
            f"{path}.hedge_after_ms",
            f"a second {method.upper()} could do its work twice; remove this, or use an idempotent method: "
            + ", ".join(_IDEMPOTENT),
        )
