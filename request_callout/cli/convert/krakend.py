"""KrakenD's configuration (version 3) into services, routes and callouts.

An endpoint becomes a service with one route, and each of its backends a callout: side by side, or one after another for
a sequential proxy. The route's plugin answers with what the backends said, merged as KrakenD merges; the service itself
is called for endpoints that pass a backend's response on as it is (``no-op``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from request_callout.cli.convert.krakend_answer import answered
from request_callout.cli.convert.krakend_backend import Backend, EndpointSettings, Skipped, read_backend
from request_callout.cli.convert.krakend_durations import duration_ms
from request_callout.cli.convert.krakend_extras import PROXY, extras, leave_out
from request_callout.cli.convert.krakend_passing import passed_on
from request_callout.cli.convert.report import Report, Unconvertible

_DEFAULT_TIMEOUT_MS = 2000
_LONGEST_DEADLINE_MS = 55_000
# KrakenD gives the backends of a merge this part of the endpoint's time.
_MERGE_PERCENT = 85

_PLACEHOLDER = re.compile(r"\{([A-Za-z0-9_\-]+)\}\Z")
_UNSAFE = re.compile(r"[\\.+*?()|\[\]{}^$]")

_SERVICE_FIELDS = frozenset(
    {"version", "name", "host", "timeout", "cache_ttl", "output_encoding", "endpoints", "extra_config"}
)
_ENDPOINT_FIELDS = frozenset(
    {
        "endpoint",
        "method",
        "backend",
        "timeout",
        "cache_ttl",
        "input_headers",
        "input_query_strings",
        "output_encoding",
        "extra_config",
        "concurrent_calls",
    }
)
_KNOWN_PROXY = (("strategy", "parallel"), ("strategy", "sequential"), ("combiner", "default"))
_MERGED_ENCODINGS = ("json", "json-collection")


def convert(document: Mapping[str, Any], report: Report) -> dict[str, Any]:
    """The declarative document; raises Unconvertible."""
    endpoints = document.get("endpoints")
    if not isinstance(endpoints, list):
        raise Unconvertible("endpoints", "expected a list; is it a KrakenD configuration?")
    if document.get("version") != 3:
        found = document.get("version")
        raise Unconvertible("version", f"expected 3, not {found!r}; migrate the file to KrakenD's version 3 first")
    for name in document:
        if name not in _SERVICE_FIELDS and not _is_comment(name):
            report.left_out(name, name, "it is for KrakenD's own process", "see kong.conf for what Kong has of it")
    for name in extras(document.get("extra_config"), "extra_config", report):
        leave_out(name, f'extra_config."{name}"', report)
    services = []
    taken: set[str] = set()
    for number, endpoint in enumerate(endpoints, 1):
        place = f"endpoints[{number}]"
        try:
            services.append(_service(endpoint, document, place, taken, report))
        except Skipped as skipped:
            report.left_out(skipped.place, skipped.what, skipped.why, skipped.instead)
    if not services:
        raise Unconvertible(
            "endpoints", "none of them can be converted:" + "".join(f"\n  {line}" for line in report.lines())
        )
    report.differs(
        "endpoints",
        "X-Forwarded-For, X-Forwarded-Host",
        "KrakenD adds them to each request to a backend, a callout has the headers that are configured only",
        "set them in request.headers.custom where a backend needs them, as $(kong.client.get_forwarded_ip())",
    )
    return {"_format_version": "3.0", "services": services}


def _service(endpoint: Any, document: Mapping[str, Any], place: str, taken: set[str], report: Report) -> dict[str, Any]:
    if not isinstance(endpoint, Mapping):
        raise Unconvertible(place, "expected an object")
    path = endpoint.get("endpoint")
    if not isinstance(path, str) or not path:
        raise Unconvertible(f"{place}.endpoint", "expected a path")
    backends = endpoint.get("backend")
    if not isinstance(backends, list) or not backends:
        raise Unconvertible(f"{place}.backend", "expected a list with at least one backend")
    for name in endpoint:
        if name not in _ENDPOINT_FIELDS and not _is_comment(name):
            report.left_out(f"{place}.{name}", name, "there is nothing like it", "remove it if nobody relies on it")
    method = str(endpoint.get("method") or "GET").upper()
    kong_path, captures = _route_path(path, place)
    name = _unique(_slug(f"{method} {path}"), taken)
    timeout = endpoint.get("timeout", document.get("timeout"))
    timeout_ms = _DEFAULT_TIMEOUT_MS if timeout is None else duration_ms(timeout, f"{place}.timeout")
    proxy = _proxy_settings(endpoint, place, report)
    sequential = proxy.get("sequential") is True or proxy.get("strategy") == "sequential"
    encoding = endpoint.get("output_encoding") or document.get("output_encoding") or "json"
    settings = EndpointSettings(
        method=method,
        hosts=document.get("host"),
        captures=captures,
        headers=_names(endpoint.get("input_headers"), f"{place}.input_headers"),
        query=_names(endpoint.get("input_query_strings"), f"{place}.input_query_strings"),
        total_ms=timeout_ms if len(backends) == 1 else max(1, timeout_ms * _MERGE_PERCENT // 100),
        sequential=sequential and len(backends) > 1,
        count=len(backends),
    )
    route: dict[str, Any] = {"name": name, "paths": [kong_path], "methods": [method]}
    if encoding == "no-op":
        return passed_on(backends[0], settings, name, route, timeout_ms, f"{place}.backend[1]", report)
    if encoding not in _MERGED_ENCODINGS:
        report.left_out(
            f"{place}.output_encoding",
            f"output_encoding {encoding}",
            "the answer is always JSON",
            "let the client read JSON",
        )
    if endpoint.get("concurrent_calls", 1) not in (0, 1):
        report.left_out(
            f"{place}.concurrent_calls",
            "concurrent_calls",
            "no request is sent several times at once",
            "use request.hedge_after_ms: a second request if the first is slow",
        )
    read: list[Backend] = []
    for number, backend in enumerate(backends, 1):
        read.append(read_backend(backend, settings, read, f"{place}.backend[{number}]", report))
    config: dict[str, Any] = {"callouts": [one.callout for one in read]}
    config["upstream"] = answered(
        read,
        as_list=encoding == "json-collection",
        sequential=settings.sequential,
        max_age_s=_cache_s(endpoint, document, place),
        place=place,
        report=report,
    )
    if any(one.cached for one in read):
        config["cache"] = {"strategy": "memory", "cache_ttl": 0}  # only what says for how long is kept
        for one in read:
            one.callout["cache"] = {"respect_cache_control": True} if one.cached else {"bypass": True}
    if timeout_ms <= _LONGEST_DEADLINE_MS:
        config["deadline_ms"] = max(1, timeout_ms)
    route["plugins"] = [{"name": "request-callout", "config": config}]
    return {"name": name, "url": read[0].host, "routes": [route]}


def _proxy_settings(endpoint: Mapping[str, Any], place: str, report: Report) -> Mapping[str, Any]:
    found: Mapping[str, Any] = {}
    place = f"{place}.extra_config"
    for name, value in extras(endpoint.get("extra_config"), place, report).items():
        if name != PROXY or not isinstance(value, Mapping):
            leave_out(name, f'{place}."{name}"', report)
            continue
        found = value
        for member, one in value.items():
            known = member == "sequential" or (member, one) in _KNOWN_PROXY
            if not known and not _is_comment(member):
                leave_out(f"{PROXY}.{member}", f'{place}."{name}".{member}', report)
    return found


def _route_path(path: str, place: str) -> tuple[str, dict[str, str]]:
    """The route's path, as an expression for the whole of it, and the captures' names by those of the placeholders."""
    captures: dict[str, str] = {}
    segments = []
    for segment in ("/" + path.lstrip("/")).split("/"):
        found = _PLACEHOLDER.match(segment)
        if found is not None:
            name = re.sub(r"\W|^(?=\d)", "_", found[1], flags=re.ASCII)
            while name in captures.values():
                name += "_"
            captures[found[1]] = name
            segments.append(f"(?<{name}>[^/]+)")
        elif "{" in segment or segment == "*":
            raise Skipped(
                f"{place}.endpoint",
                f"the endpoint {path}",
                "only placeholders that are a whole segment of the path can be converted",
                "write a route with a path of its own",
            )
        else:
            segments.append(_UNSAFE.sub(lambda special: "\\" + special[0], segment))
    return f"~{'/'.join(segments)}$", captures


def _cache_s(endpoint: Mapping[str, Any], document: Mapping[str, Any], place: str) -> int:
    given = endpoint.get("cache_ttl", document.get("cache_ttl"))
    return 0 if given is None else duration_ms(given, f"{place}.cache_ttl") // 1000


def _names(value: Any, place: str) -> Sequence[str]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise Unconvertible(place, "expected a list of names")
    return tuple(value)


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-").lower() or "endpoint"


def _unique(name: str, taken: set[str]) -> str:
    number, one = 1, name
    while one in taken:
        number += 1
        one = f"{name}-{number}"
    taken.add(one)
    return one


def _is_comment(name: str) -> bool:
    return name.startswith(("@", "$", "_"))
