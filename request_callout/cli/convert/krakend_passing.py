"""A KrakenD endpoint that passes a backend's response on as it is (``no-op``): a service of Kong, without callouts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from request_callout.cli.convert.krakend_backend import EndpointSettings, host_of, url_path
from request_callout.cli.convert.krakend_extras import extras, leave_out
from request_callout.cli.convert.report import Report, Unconvertible


def passed_on(
    backend: Any,
    settings: EndpointSettings,
    name: str,
    route: dict[str, Any],
    timeout_ms: int,
    place: str,
    report: Report,
) -> dict[str, Any]:
    """The service with its route; raises Skipped and Unconvertible."""
    if not isinstance(backend, Mapping) or not isinstance(backend.get("url_pattern"), str):
        raise Unconvertible(f"{place}.url_pattern", "expected a path")
    for component in extras(backend.get("extra_config"), f"{place}.extra_config", report):
        leave_out(component, f'{place}.extra_config."{component}"', report)
    method = str(backend.get("method") or settings.method).upper()
    if method != settings.method:
        why = "a proxied request keeps its method"
        instead = "use kong.service.request.set_method in upstream.by_lua"
        report.left_out(f"{place}.method", f"method {method}", why, instead)
    path, _, query = url_path(backend["url_pattern"], settings, (), place).partition("?")
    if query:
        why = "a proxied request has the client's query"
        report.left_out(f"{place}.url_pattern", f"the query {query}", why, "set it in upstream.query.custom")
    if settings.headers != ("*",) or settings.query not in ((), ("*",)):
        why = "Kong passes on all of them, KrakenD those that input_headers and input_query_strings list"
        report.differs(
            place, "headers and query parameters", why, "list others in upstream.headers.remove and query.remove"
        )
    upstream: dict[str, Any] = {"target": {"path": path}}
    if not settings.query:
        upstream["query"] = {"forward": False}
    route["plugins"] = [{"name": "request-callout", "config": {"callouts": [], "upstream": upstream}}]
    timeout = max(1, timeout_ms)
    limits = {"connect_timeout": timeout, "read_timeout": timeout, "write_timeout": timeout}
    return {"name": name, "url": host_of(backend, settings, place, report), **limits, "routes": [route]}
