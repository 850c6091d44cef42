"""Checks of the plugins that are configured: our configurations, and what runs before and after them on a request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from request_callout.cli.doctor.findings import Finding
from request_callout.config import InvalidConfiguration, load
from request_callout.config.kong_schema import PLUGIN_NAME, PRIORITY

if TYPE_CHECKING:
    from request_callout.config import SourceCheck

_AUTHENTICATE = frozenset(
    ["basic-auth", "hmac-auth", "jwt", "key-auth", "ldap-auth", "mtls-auth", "oauth2", "openid-connect", "session"]
)
_ANSWER_EARLY = frozenset(["request-termination", "proxy-cache", "aws-lambda", "azure-functions"])
_CHANGE_REQUEST = frozenset(["request-transformer"])
_KNOWN_PRIORITIES: Mapping[str, int] = {
    "pre-function": 1_000_000, "correlation-id": 100_001, "cors": 2000, "session": 1900, "jwt": 1450, "oauth2": 1400,
    "key-auth": 1250, "ldap-auth": 1200, "basic-auth": 1100, "hmac-auth": 1030, "ip-restriction": 990,
    "request-size-limiting": 951, "acl": 950, "rate-limiting": 910, "response-ratelimiting": 900,
    "request-transformer": 801, "response-transformer": 800, "aws-lambda": 750, "azure-functions": 749,
    "proxy-cache": 100, "request-termination": 2, "post-function": -1000,
}  # fmt: skip
"""Of Kong 3.9's own plugins; what the Admin API tells goes before."""


def priorities(root: Mapping[str, Any] | None) -> dict[str, int]:
    """The plugins' priorities as this Kong tells them, with Kong's own."""
    plugins = (root or {}).get("plugins")
    available = plugins.get("available_on_server") if isinstance(plugins, dict) else None
    told = available if isinstance(available, dict) else {}
    found = {name: one["priority"] for name, one in told.items() if isinstance(one, dict) and "priority" in one}
    return {**_KNOWN_PRIORITIES, **found}


def configurations(
    plugins: Sequence[Mapping[str, Any]],
    routes: Mapping[str, Mapping[str, Any]],
    services: Mapping[str, Mapping[str, Any]],
    order: Mapping[str, int],
    check: SourceCheck,
) -> Iterator[Finding]:
    """Each configuration of the plugin: its own problems, and its neighbours."""
    ours = [one for one in plugins if one.get("name") == PLUGIN_NAME and one.get("enabled", True)]
    if not ours:
        yield Finding("configurations", "ok", "none yet: the plugin is on no route, service or globally")
    for plugin in ours:
        place = _place(plugin, routes, services)
        try:
            load(plugin.get("config") or {}, check)
        except InvalidConfiguration as invalid:
            for problem in invalid.problems:
                remedy = "mend it: requests of this configuration get 500"
                yield Finding(f"configuration ({place})", "problem", str(problem), remedy)
        else:
            yield Finding(f"configuration ({place})", "ok", "valid")
        yield from _neighbours(plugin, plugins, routes, order, place)


def _neighbours(
    plugin: Mapping[str, Any],
    plugins: Sequence[Mapping[str, Any]],
    routes: Mapping[str, Mapping[str, Any]],
    order: Mapping[str, int],
    place: str,
) -> Iterator[Finding]:
    names = {str(one.get("name")) for one in plugins if one.get("enabled", True) and _meet(plugin, one, routes)}
    names.discard(PLUGIN_NAME)
    check = f"order ({place})"
    mine = order.get(PLUGIN_NAME, PRIORITY)
    before = sorted((name for name in names if order.get(name, 0) > mine), key=lambda name: -order.get(name, 0))
    after = sorted(names - set(before), key=lambda name: -order.get(name, 0))
    if names:
        message = f"before it: {', '.join(before) or 'nothing'}; after it: {', '.join(after) or 'nothing'}"
        yield Finding(check, "ok", message)
    if plugin.get("ordering"):
        yield Finding(check, "warning", "ordering is set, which open-source Kong does not follow", "remove it")
    answers = [name for name in after if name in _ANSWER_EARLY]
    if answers:
        message = f"{', '.join(answers)} may answer the client when the callouts have been made already"
        yield Finding(check, "warning", message, "set when on the callouts, or put that plugin on other routes")
    changes = [name for name in after if name in _CHANGE_REQUEST]
    if changes:
        message = f"{', '.join(changes)} changes the request after this plugin: callouts see it as it was before"
        yield Finding(check, "warning", message, "let only one of the two set a header or parameter")
    cache = (plugin.get("config") or {}).get("cache")
    strategy = cache.get("strategy") if isinstance(cache, dict) else None
    if strategy in ("memory", "redis") and not names & _AUTHENTICATE and _forwards(plugin):
        message = "responses are cached for all clients alike: no plugin here says who the consumer is"
        remedy = "if answers depend on the client, add an authentication plugin or vary_on"
        yield Finding(f"cache ({place})", "warning", message, remedy)


def _forwards(plugin: Mapping[str, Any]) -> bool:
    """Whether some callout sends something of the client's."""
    callouts = (plugin.get("config") or {}).get("callouts")
    for callout in callouts if isinstance(callouts, list) else []:
        request = callout.get("request") if isinstance(callout, dict) else None
        headers = request.get("headers") if isinstance(request, dict) else None
        if isinstance(headers, dict) and headers.get("forward"):
            return True
    return False


def guard(plugins: Sequence[Mapping[str, Any]]) -> Finding:
    """Whether something answers in place of a plugin that MsgPack has let fail open."""
    for one in plugins:
        config = one.get("config") if one.get("name") == "post-function" and one.get("enabled", True) else None
        if isinstance(config, dict) and "request_callout" in str(config.get("access")).replace("-", "_"):
            return Finding("guard", "ok", "a post-function looks whether the plugin has run")
    remedy = "add the post-function of examples/msgpack-guard globally"
    return Finding("guard", "problem", "MsgPack fails open, and no post-function guards it", remedy)


def _meet(plugin: Mapping[str, Any], other: Mapping[str, Any], routes: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether both can run on one request: a scope that is not set holds everywhere."""
    mine, theirs = _scope(plugin, routes), _scope(other, routes)
    return all(one is None or another is None or one == another for one, another in zip(mine, theirs, strict=True))


def _scope(
    plugin: Mapping[str, Any], routes: Mapping[str, Mapping[str, Any]]
) -> tuple[str | None, str | None, str | None]:
    route = _id(plugin.get("route"))
    service = _id(plugin.get("service")) or (_id(routes.get(route, {}).get("service")) if route else None)
    return route, service, _id(plugin.get("consumer"))


def _id(reference: Any) -> str | None:
    return str(reference["id"]) if isinstance(reference, dict) and "id" in reference else None


def _place(
    plugin: Mapping[str, Any], routes: Mapping[str, Mapping[str, Any]], services: Mapping[str, Mapping[str, Any]]
) -> str:
    words = []
    for kind, entities in (("route", routes), ("service", services), ("consumer", {})):
        identity = _id(plugin.get(kind))
        if identity is not None:
            words.append(f"{kind} {entities.get(identity, {}).get('name') or identity}")
    return ", ".join(words) or "global"
