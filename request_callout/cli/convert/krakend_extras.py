"""KrakenD's ``extra_config``: which components become fields of a callout, and what is said of the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from request_callout.cli.convert.report import Report, Unconvertible

PROXY = "proxy"
CACHE = "qos/http-cache"

_ALIASES = {
    "github.com/devopsfaith/krakend/proxy": PROXY,
    "github.com/devopsfaith/krakend-httpcache": CACHE,
    "github.com/devopsfaith/krakend-circuitbreaker/gobreaker": "qos/circuit-breaker",
    "github.com/devopsfaith/krakend-oauth2-clientcredentials": "auth/client-credentials",
}

# What to do instead, by the first part of a component's name that is here.
_INSTEAD = (
    ("proxy.flatmap_filter", "reshape the body in response.by_lua"),
    ("proxy.sequential_propagated_params", "use callouts.NAME.response.body in an expression of the later callout"),
    ("proxy.static", "write the constant members into upstream.respond.body"),
    ("proxy.strategy", "give the later callout a condition: when, with callouts.NAME.request.error"),
    ("proxy.shadow", "add a callout with on_error continue whose response nobody reads"),
    ("qos/ratelimit", "use Kong's rate-limiting plugin"),
    ("qos/", "see Kong's traffic control plugins"),
    ("auth/validator", "use Kong's jwt plugin"),
    ("auth/api-keys", "use Kong's key-auth plugin"),
    ("auth/", "see Kong's authentication plugins"),
    ("security/cors", "use Kong's cors plugin"),
    ("security/bot-detector", "use Kong's bot-detection plugin"),
    ("security/", "see Kong's security plugins"),
    ("telemetry/", "use Kong's prometheus or opentelemetry plugin"),
    ("validation/cel", "write the condition into callouts[].when"),
    ("validation/", "check the request in a pre-function"),
    ("modifier/lua-backend", "rewrite the script as request.by_lua or response.by_lua"),
    ("modifier/lua", "rewrite the script as upstream.by_lua"),
    ("modifier/", "change the request in request.headers, query and body, or in request.by_lua"),
    ("backend/conditional", "write the condition into callouts[].when"),
    ("backend/http", "set request.error.error_response_code and error_response_msg"),
    ("backend/graphql", "send the query as a JSON body with method POST"),
    ("backend/", "call the service through an HTTP API"),
    ("router", "see kong.conf for what Kong has of it"),
    ("websocket", "let Kong proxy the WebSocket"),
)


def extras(value: Any, place: str, report: Report) -> dict[str, Any]:
    """The components by their short names, comments left out; raises Unconvertible."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise Unconvertible(place, "expected an object")
    named = ((str(name), one) for name, one in value.items())
    return {_ALIASES.get(name, name): one for name, one in named if not name.startswith(("@", "$", "_"))}


def leave_out(name: str, place: str, report: Report) -> None:
    """Tell of a component that is not converted."""
    instead = next((what for start, what in _INSTEAD if name.startswith(start)), "see Kong's plugins")
    report.left_out(place, name, "a callout has nothing like it", instead)


def backend_extras(value: Any, place: str, name: str, report: Report) -> tuple[dict[str, Any], bool]:
    """Fields of the callout's request for the components of a backend, and whether its responses are cached."""
    request: dict[str, Any] = {}
    cached = False
    for component, given in extras(value, place, report).items():
        where = f'{place}."{component}"'
        members = given if isinstance(given, Mapping) else {}
        if component == CACHE:
            cached = True
            if members.get("shared"):
                what = "shared"
                why = "a callout's place in the cache has the route in it"
                report.left_out(f"{where}.shared", what, why, "set caching.cache_key in request.by_lua")
            if "max_items" in members or "max_size" in members:
                why = "the memory cache has limits of the whole server"
                report.left_out(where, "max_items, max_size", why, "use --memory-cache-entries and --memory-cache-mb")
        elif component == "qos/circuit-breaker":
            request["circuit_breaker"] = _circuit_breaker(members, where, report)
        elif component == "auth/client-credentials":
            request["auth"] = _client_credentials(members, where, report)
        elif component == PROXY:
            for member in members:
                if not member.startswith(("@", "$", "_")):
                    leave_out(f"{PROXY}.{member}", f"{where}.{member}", report)
        else:
            leave_out(component, where, report)
    return request, cached


def _circuit_breaker(given: Mapping[str, Any], place: str, report: Report) -> dict[str, Any]:
    numbers = {}
    for name in ("interval", "timeout", "max_errors"):
        number = given.get(name)
        if isinstance(number, bool) or not isinstance(number, (int, float)) or number < 0:
            raise Unconvertible(f"{place}.{name}", f"expected a number, not {number!r}")
        numbers[name] = number
    report.differs(
        place,
        "max_errors",
        "KrakenD counts errors in a row, here all of the last window_ms count",
        "raise circuit_breaker.failures where a few errors among many successes are usual",
    )
    return {
        "failures": max(1, int(numbers["max_errors"])),
        "window_ms": min(3_600_000, max(1, int(numbers["interval"] * 1000))),
        "open_ms": min(3_600_000, max(1, int(numbers["timeout"] * 1000))),
    }


def _client_credentials(given: Mapping[str, Any], place: str, report: Report) -> dict[str, Any]:
    auth: dict[str, Any] = {"type": "oauth2_client_credentials"}
    for name in ("token_url", "client_id", "client_secret"):
        if not isinstance(given.get(name), str) or not given[name]:
            raise Unconvertible(f"{place}.{name}", "expected a text")
        auth[name] = given[name]
    scopes = given.get("scopes")
    listed = scopes.split(",") if isinstance(scopes, str) else scopes if isinstance(scopes, list) else []
    if wanted := [str(one).strip() for one in listed if str(one).strip()]:
        auth["scopes"] = wanted
    parameters = given.get("endpoint_params")
    for name, values in (parameters if isinstance(parameters, Mapping) else {}).items():
        every = values if isinstance(values, list) else [values]
        if name in ("client_id", "client_secret"):
            auth["credentials_in"] = "body"
        elif name == "audience" and len(every) == 1:
            auth["audience"] = str(every[0])
        elif len(every) == 1:
            auth.setdefault("extra_parameters", {})[name] = str(every[0])
        else:
            why = "a parameter of the request for a token has one value"
            report.left_out(f"{place}.endpoint_params.{name}", name, why, "write it into token_url as a query")
    return auth
