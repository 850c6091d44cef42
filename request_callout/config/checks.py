"""What the schema can't say of a configuration: names, dependencies, Lua, URLs, methods, headers."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from request_callout.config.cache_checks import callout_cache
from request_callout.config.cloud_checks import cloud_authentication
from request_callout.config.normal import is_reference
from request_callout.config.problems import Problem
from request_callout.config.schema import json_schema
from request_callout.config.sources import SourceCheck, Sources
from request_callout.config.template import TemplateError, parse

# RFC 9110, section 5.6.2
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_LINE_BREAK = re.compile(r"[\r\n\0]")
_SPACE = re.compile(r"[\x00-\x20\x7f]")
_VAULT = "{vault://"


def check(config: Mapping[str, Any], check_source: SourceCheck | None) -> Iterator[Problem]:
    """Everything wrong beside the shape, on those parts whose shape allows to look."""
    callouts = [(place, one) for place, one in enumerate(_list(config, "callouts"), 1) if isinstance(one, Mapping)]
    yield from _names(callouts)
    yield from _dependencies(callouts)
    sources = Sources(check_source)
    for place, callout in callouts:
        yield from _callout(callout, f"config.callouts[{place}]", sources)
    upstream = _record(config, "upstream")
    for part in ("query", "headers", "body"):
        yield from _customized(_record(upstream, part), f"config.upstream.{part}", part, sources)
    yield from sources.script(upstream.get("by_lua"), "config.upstream.by_lua")
    cache = _record(config, "cache")
    if cache.get("strategy") == "redis":
        yield from cloud_authentication(_record(cache, "redis"))
    yield from _references(config, json_schema(), "config")


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
        declared = [name for name in _list(callout, "depends_on") if isinstance(name, str)]
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
    request = _record(callout, "request")
    where = f"{path}.request"
    yield from sources.text(request.get("url"), f"{where}.url")
    yield from _url(request.get("url"), f"{where}.url")
    method = request.get("method")
    if isinstance(method, str) and method and not _TOKEN.fullmatch(method):
        yield Problem(f"{where}.method", f"{method!r} is no HTTP method; use one like GET or POST")
    for part in ("query", "headers", "body"):
        yield from _customized(_record(request, part), f"{where}.{part}", part, sources)
    yield from sources.script(request.get("by_lua"), f"{where}.by_lua")
    message = _record(request, "error").get("error_response_msg")
    yield from sources.text(message, f"{where}.error.error_response_msg")
    proxy = _record(_record(request, "http_opts"), "proxy")
    yield from _proxy(proxy, f"{where}.http_opts.proxy")
    response = _record(callout, "response")
    yield from sources.script(response.get("by_lua"), f"{path}.response.by_lua")
    yield from callout_cache(_record(callout, "cache"), f"{path}.cache", sources)


def _customized(part: Mapping[str, Any], path: str, kind: str, sources: Sources) -> Iterator[Problem]:
    custom = _record(part, "custom")
    for name, value in custom.items():
        yield from sources.text(value, f"{path}.custom.{name}")
        if kind == "headers":
            yield from _header_name(name, f"{path}.custom.{name}")
            yield from _header_value(value, f"{path}.custom.{name}")
    if kind == "headers":
        for place, name in enumerate(_list(part, "remove"), 1):
            yield from _header_name(name, f"{path}.remove[{place}]")


def _header_name(name: Any, path: str) -> Iterator[Problem]:
    if isinstance(name, str) and not _TOKEN.fullmatch(name):
        yield Problem(path, f"{name!r} is no header name; use letters, digits and hyphens")


def _header_value(value: Any, path: str) -> Iterator[Problem]:
    if not isinstance(value, str):
        return
    try:
        parts = parse(value).parts
    except TemplateError:
        return
    if any(isinstance(part, str) and _LINE_BREAK.search(part) for part in parts):
        hint = "; in YAML use |- in place of | to have none at the end" if value.endswith("\n") else ""
        yield Problem(path, f"a header value must not hold line breaks; remove them{hint}")


def _references(config: Any, schema: Mapping[str, Any], path: str) -> Iterator[Problem]:
    """Vault references where the gateway does not resolve them: they would be used as the text that they are."""
    if isinstance(config, Mapping):
        for name, value in config.items():
            node = schema.get("properties", {}).get(name) or schema.get("additionalProperties") or {}
            yield from _references(value, node, f"{path}.{name}")
    elif isinstance(config, list):
        for place, value in enumerate(config, 1):
            yield from _references(value, schema.get("items", {}), f"{path}[{place}]")
    elif isinstance(config, str) and _VAULT in config and not schema.get("x-lua"):
        if is_reference(config):
            if not schema.get("x-referenceable"):
                yield Problem(
                    path, "this field is not referenceable, Kong leaves the reference as text; write the value"
                )
        elif _within_literal(config):
            yield Problem(
                path,
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
    if not isinstance(url, str) or not url or "$(" in url or is_reference(url) or url.startswith("#"):
        return
    yield from _http_url(url, path, ("http", "https"))


def _http_url(url: str, path: str, schemes: tuple[str, ...]) -> Iterator[Problem]:
    try:
        parts = urlsplit(url)
        valid = parts.scheme in schemes and _is_host(parts.netloc, parts.hostname or "") and not _SPACE.search(url)
        valid = valid and (parts.port is None or parts.port > 0)
    except ValueError:
        valid = False
    if not valid:
        example = " or ".join(f"{scheme}://host/path" for scheme in schemes)
        yield Problem(path, f"is no valid URL; write {example}")


def _is_host(netloc: str, hostname: str) -> bool:
    """Whether this may be a host: labels that are not empty, and no backslash, which some readers take for a slash."""
    return "\\" not in netloc and (netloc.rpartition("@")[2].startswith("[") or all(hostname.rstrip(".").split(".")))


def _proxy(proxy: Mapping[str, Any], path: str) -> Iterator[Problem]:
    for name in ("http_proxy", "https_proxy"):
        url = proxy.get(name)
        if not isinstance(url, str) or not url:
            continue
        if url.lower().startswith("https:"):
            yield Problem(f"{path}.{name}", "a proxy URL of scheme https is refused; use the proxy's http:// URL")
        else:
            yield from _http_url(url, f"{path}.{name}", ("http",))


def _record(parent: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = parent.get(name)
    return value if isinstance(value, Mapping) else {}


def _list(parent: Mapping[str, Any], name: str) -> Sequence[Any]:
    value = parent.get(name)
    return value if isinstance(value, list) else ()
