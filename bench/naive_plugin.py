"""The plugin that one writes at first: kong-pdk with its defaults, and ``requests``.

It does the work of the token-injection case: fetches a token with a POST and puts it into a header of the upstream
request. ``session`` keeps the connection to the service open, which ``requests.post`` alone does not.
"""

from __future__ import annotations

from typing import Any

import requests
from kong_pdk.cli import start_dedicated_server  # type: ignore[import-untyped]

Schema = [{"url": {"type": "string"}}, {"session": {"type": "boolean"}}]


class Plugin:
    """One configuration."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.url = config["url"]
        self.post = requests.Session().post if config.get("session") else requests.post

    def access(self, kong: Any) -> None:
        """Handle one request."""
        body = {"grant_type": "client_credentials", "client_secret": "0123456789abcdef"}
        token = self.post(self.url, json=body, timeout=60).json()["access_token"]
        kong.service.request.set_header("Authorization", "Bearer " + token)


if __name__ == "__main__":
    start_dedicated_server("naive", Plugin, "0.1.0", 0, Schema)
