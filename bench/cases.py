"""Plugin configurations that are measured, and what Kong answers to their reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

RESULTS: dict[str, Any] = {
    "kong.client.get_consumer": {"id": "3c1ac2e1-90fd-4e3c-9b0e-0d8f5c2f4d11", "username": "alice"},
    "kong.router.get_route": {"id": "7a3f0c1e-52cb-4e0e-8a8e-2a3b6c1f9b10", "name": "orders"},
    "kong.nginx.get_var": "0123456789abcdef0123456789abcdef",
}
"""What Kong answers to the calls that these configurations make."""

SCOPE = {
    "__plugin_id": "20f2bf6a-ce1e-5e65-9bbc-34373393c753",
    "__ws_id": "0dc6f45b-8f8d-40d2-a504-473544ee190b",
    "route_id": "7a3f0c1e-52cb-4e0e-8a8e-2a3b6c1f9b10",
}
"""What Kong adds to the configuration of a plugin on a route."""


def token_injection(url: str) -> dict[str, Any]:
    """A token is fetched with a POST and put into a header of the upstream request."""
    body = {"grant_type": "client_credentials", "client_secret": "0123456789abcdef"}
    return {
        **SCOPE,
        "callouts": [
            {
                "name": "auth",
                "request": {"url": f"{url}/token", "method": "POST", "body": {"custom": body}},
                "response": {"body": {"decode": True}},
            }
        ],
        "upstream": {"headers": {"custom": {"Authorization": "Bearer $(callouts.auth.response.body.access_token)"}}},
    }


def by_script(url: str) -> dict[str, Any]:
    """The same work, the header set by a script."""
    config = token_injection(url)
    token = "kong.ctx.shared.callouts.auth.response.body.access_token"
    config["upstream"] = {"by_lua": f'kong.service.request.set_header("Authorization", "Bearer " .. {token})'}
    return config


def cached(url: str) -> dict[str, Any]:
    """The same work, the token taken from the memory cache."""
    return {**token_injection(url), "cache": {"strategy": "memory", "cache_ttl": 3600}}


def fixed(_url: str) -> dict[str, Any]:
    """The same header without any callout."""
    return {**SCOPE, "callouts": [], "upstream": {"headers": {"custom": {"Authorization": "Bearer $('token')"}}}}


def cached_in(redis: Mapping[str, Any], url: str, number: int = 0, ttl: str = "3600") -> dict[str, Any]:
    """The same work, the token taken from Redis; each number has an entry of its own."""
    config = token_injection(url)
    config["callouts"][0]["cache"] = {"ttl": ttl, "vary_on": [str(number)]}
    return {**config, "cache": {"strategy": "redis", "redis": dict(redis)}}


def early_exit(url: str) -> dict[str, Any]:
    """The client is answered with what the callout gave."""
    config = token_injection(url)
    answer = "{token = kong.ctx.shared.callouts.auth.response.body.access_token}"
    config["upstream"] = {"by_lua": f"kong.response.exit(200, {answer})"}
    return config


def script_error(url: str) -> dict[str, Any]:
    """The script fails, so that the client gets 500."""
    config = token_injection(url)
    config["upstream"] = {"by_lua": "local nothing; return nothing.here"}
    return config


def several(url: str, count: int, *, chained: bool = False, path: str = "/token") -> dict[str, Any]:
    """So many callouts, independent or each with something of the one before."""
    callouts: list[dict[str, Any]] = []
    for place in range(count):
        request: dict[str, Any] = {"url": f"{url}{path}"}
        if chained and place:
            request["query"] = {"custom": {"n": f"$(callouts.c{place - 1}.response.body.expires_in)"}}
        callouts.append({"name": f"c{place}", "request": request, "response": {"body": {"decode": True}}})
    return {**SCOPE, "callouts": callouts}


def for_each(url: str, count: int, concurrency: int, path: str) -> dict[str, Any]:
    """One callout for each of so many elements."""
    numbers = f"$((function() local list = {{}} for i = 1, {count} do list[i] = {{id = i}} end return list end)())"
    callout = {
        "name": "each",
        "for_each": {"items": numbers, "max_items": count, "concurrency": concurrency},
        "request": {"url": f"{url}{path}?id=$(item.id)"},
        "response": {"body": {"decode": True}},
    }
    return {**SCOPE, "callouts": [callout]}


def expression() -> dict[str, Any]:
    """No callout: a header of the upstream request from one expression."""
    return {**SCOPE, "callouts": [], "upstream": {"headers": {"custom": {"X-Answer": "$(6 * 7)"}}}}


def burning(url: str) -> dict[str, Any]:
    """The token injection, and a script that takes about a millisecond of CPU."""
    config = token_injection(url)
    config["upstream"]["by_lua"] = "local n = 0; for i = 1, 100000 do n = n + i % 7 end; return n"
    return config
