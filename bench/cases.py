"""Plugin configurations that are measured, and what Kong answers to their reads."""

from __future__ import annotations

from typing import Any

HEADERS = {
    "host": "api.example.com",
    "user-agent": "curl/8.5.0",
    "accept": "application/json",
    "accept-encoding": "gzip, br",
    "x-request-id": "0123456789abcdef0123456789abcdef",
    "authorization": "Bearer 0123456789abcdef",
    "content-type": "application/json",
    "x-forwarded-for": "10.0.0.1",
}


def token_injection(url: str) -> dict[str, Any]:
    """A token is fetched with a POST and put into a header of the upstream request."""
    body = {"grant_type": "client_credentials", "client_secret": "0123456789abcdef"}
    return {
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
    """The same work by a script."""
    config = token_injection(url)
    token = 'kong.ctx.shared.callouts.auth.response.body.access_token'
    config["upstream"] = {"by_lua": f'kong.service.request.set_header("Authorization", "Bearer " .. {token})'}
    return config
