"""What the schema can't say of a configuration: names, dependencies, Lua, URLs, methods, headers."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from request_callout.config import http_checks
from request_callout.config.auth_checks import authorization
from request_callout.config.cache_checks import callout_cache
from request_callout.config.certificate_checks import certificates
from request_callout.config.cloud_checks import cloud_authentication
from request_callout.config.destination_checks import destination, target
from request_callout.config.error_checks import error_policy, hedging
from request_callout.config.normal import is_reference
from request_callout.config.parts import items, record, texts
from request_callout.config.problems import Problem
from request_callout.config.respond_checks import respond
from request_callout.config.schema import json_schema
from request_callout.config.sources import SourceCheck, Sources
from request_callout.config.template import TemplateError, parse

_VAULT = "{vault://"


def check(config: Mapping[str, Any], check_source: SourceCheck | None) -> Iterator[Problem]:
    """Everything wrong beside the shape, on those parts whose shape allows to look."""
    callouts = [(place, one) for place, one in enumerate(items(config, "callouts"), 1) if isinstance(one, Mapping)]
    yield from _ruled("name", _names(callouts))
    yield from _ruled("dependency", _dependencies(callouts))
    sources = Sources(check_source)
    for place, callout in callouts:
        yield from _callout(callout, f"config.callouts[{place}]", sources)
    upstream = record(config, "upstream")
    for part in ("query", "headers", "body"):
        yield from _customized(record(upstream, part), f"config.upstream.{part}", part, sources)
    yield from sources.script(upstream.get("by_lua"), "config.upstream.by_lua")
    yield from respond(record(upstream, "respond"), "config.upstream.respond", sources)
    yield from target(record(upstream, "target"), "config.upstream.target", sources)
    cache = record(config, "cache")
    if cache.get("strategy") == "redis":
        yield from cloud_authentication(record(cache, "redis"))
    yield from _ruled("reference", _references(config, json_schema(), "config"))


def _ruled(rule: str, problems: Iterator[Problem]) -> Iterator[Problem]:
    return (replace(problem, rule=rule) for problem in problems)


def _names(callouts: Sequence[tuple[int, Mapping[str, Any]]]) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for place, callout in callouts:
        name = callout.get("name")
        if not isinstance(name, str) or not name:
            continue
        if not name.isprintable():
            path = f"config.callouts[{place}].name"
            yield Problem(path, "must not hold line breaks or control characters; remove them")
        if name in first:
            yield Problem(
                f"config.callouts[{place}].name",
                f"{name!r} is the name of callouts[{first[name]}] too; names have to be unique: rename one of them",
            )
        first.setdefault(name, place)


def _dependencies(callouts: Sequence[tuple[int, Mapping[str, Any]]]) -> Iterator[Problem]:
    names = list(dict.fromkeys(one["name"] for _, one in callouts if isinstance(one.get("name"), str)))
    graph: dict[str, list[str]] = {}
    for place, callout in callouts:
        declared = [name for name in items(callout, "depends_on") if isinstance(name, str)]
        for number, name in enumerate(declared, 1):
            if name not in names:
                close = difflib.get_close_matches(name, names, n=1)
                hint = f"did you mean {close[0]!r}?" if close else f"the names are: {', '.join(names)}"
                yield Problem(
                    f"config.callouts[{place}].depends_on[{number}]", f"there is no callout named {name!r}; {hint}"
                )
        if isinstance(callout.get("name"), str):
            graph.setdefault(callout["name"], declared)
    cycle = _cycle(graph)
    if cycle is not None:
        place = next(place for place, callout in callouts if callout.get("name") == cycle[0])
        yield Problem(
            f"config.callouts[{place}].depends_on",
            f"the callouts wait for each other: {' -> '.join(cycle)}; remove one of these dependencies",
        )


def _cycle(graph: Mapping[str, Sequence[str]]) -> list[str] | None:
    """A cycle with its first name again at its end, None if there is none."""
    done: set[str] = set()
    for start in graph:
        trail: list[str] = []
        stack = [iter([start])]
        while stack:
            name = next(stack[-1], None)
            if name is None:
                stack.pop()
                if trail:
                    done.add(trail.pop())
            elif name in trail:
                return [*trail[trail.index(name) :], name]
            elif name in graph and name not in done:
                trail.append(name)
                stack.append(iter(graph[name]))
    return None


def _callout(callout: Mapping[str, Any], path: str, sources: Sources) -> Iterator[Problem]:
    yield from sources.sole(callout.get("when"), f"{path}.when")
    yield from sources.sole(record(callout, "for_each").get("items"), f"{path}.for_each.items")
    if callout.get("for_each") is not None:
        sources = sources.each()
    yield from _request(record(callout, "request"), f"{path}.request", sources)
    yield from sources.script(record(callout, "response").get("by_lua"), f"{path}.response.by_lua")
    yield from callout_cache(record(callout, "cache"), f"{path}.cache", sources)


def _request(request: Mapping[str, Any], path: str, sources: Sources) -> Iterator[Problem]:
    yield from sources.text(request.get("url"), f"{path}.url")
    yield from _url(request.get("url"), f"{path}.url")
    yield from http_checks.method(request.get("method"), f"{path}.method")
    for part in ("query", "headers", "body"):
        yield from _customized(record(request, part), f"{path}.{part}", part, sources)
    yield from sources.text(record(request, "body").get("content"), f"{path}.body.content")
    yield from sources.script(request.get("by_lua"), f"{path}.by_lua")
    yield from error_policy(record(request, "error"), f"{path}.error", sources)
    yield from hedging(request, path)
    yield from authorization(request, path, sources)
    http_opts = record(request, "http_opts")
    yield from _proxy(record(http_opts, "proxy"), f"{path}.http_opts.proxy")
    yield from certificates(http_opts, f"{path}.http_opts")
    yield from destination(record(request, "destination"), f"{path}.destination")


def _customized(part: Mapping[str, Any], path: str, kind: str, sources: Sources) -> Iterator[Problem]:
    custom = record(part, "custom")
    if kind != "headers":
        for name, value in custom.items():
            yield from sources.text(value, f"{path}.custom.{name}")
        return
    yield from http_checks.headers(custom, f"{path}.custom", sources)
    for place, name in enumerate(items(part, "remove"), 1):
        yield from http_checks.header_name(name, f"{path}.remove[{place}]")


def _references(config: Any, schema: Mapping[str, Any], path: str) -> Iterator[Problem]:
    """Vault references where the gateway does not resolve them: they would be used as the text that they are."""
    for text, node, where in texts(config, schema, path):
        if _VAULT not in text or node.get("x-lua"):
            continue
        if is_reference(text):
            if not node.get("x-referenceable"):
                yield Problem(
                    where, "this field is not referenceable, Kong leaves the reference as text; write the value"
                )
        elif _within_literal(text):
            yield Problem(
                where,
                "a vault reference is resolved only if it is the whole value; put the text around it in the vault too",
            )


def _within_literal(value: str) -> bool:
    """Whether a reference stands in the text around expressions, not in one that asks ``kong.vault`` for it."""
    try:
        template = parse(value)
    except TemplateError:
        return False
    return any(isinstance(part, str) and _VAULT in part for part in template.parts)


def _url(url: Any, path: str) -> Iterator[Problem]:
    if not isinstance(url, str) or not url or is_reference(url) or url.startswith("#"):
        return
    before, expression, _ = url.partition("$(")
    if expression:
        scheme, mark, _ = before.partition("://")
        if mark and scheme.lower() not in ("http", "https"):
            yield Problem(path, f"{scheme}:// can't be called; write http:// or https://")
        return
    yield from http_checks.url(url, path)


def _proxy(proxy: Mapping[str, Any], path: str) -> Iterator[Problem]:
    for name in ("http_proxy", "https_proxy"):
        url = proxy.get(name)
        if not isinstance(url, str) or not url:
            continue
        if url.lower().startswith("https:"):
            yield Problem(f"{path}.{name}", "a proxy URL of scheme https is refused; use the proxy's http:// URL")
        else:
            yield from http_checks.url(url, f"{path}.{name}", ("http",))
