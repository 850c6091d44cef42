"""``request-callout try`` run as people do, and a configuration for the stand-ins of the demo."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import yaml

CLIENT_SECRET = "planted-client-secret"
CLIENT_TOKEN = "planted-client-token"

_CONFIGURATION: dict[str, Any] = {
    "callouts": [
        {
            "name": "token",
            "request": {
                "url": "{auth}/oauth/token",
                "method": "POST",
                "body": {
                    "custom": {
                        "grant_type": "client_credentials",
                        "client_id": "{client_id}",
                        "client_secret": "{vault://env/TRY_CLIENT_SECRET}",
                        "audience": "https://api.apiprimer.com",
                    }
                },
            },
            "response": {"body": {"decode": True}},
        },
        {
            "name": "user",
            "request": {"url": "{jsonplaceholder}/users/$(query_params.id)"},
            "response": {"body": {"decode": True}},
        },
        {
            "name": "posts",
            "request": {
                "url": "{jsonplaceholder}/posts",
                "query": {"custom": {"userId": "$(callouts.user.response.body.id)"}},
            },
            "response": {"body": {"decode": True}},
        },
    ],
    "upstream": {
        "headers": {
            "custom": {
                "Authorization": "Bearer $(callouts.token.response.body.access_token)",
                "X-User": "$(callouts.user.response.body.username)",
            }
        },
        "query": {"custom": {"posts": "$(#callouts.posts.response.body)"}},
    },
}


def configuration(addresses: Mapping[str, str], client_id: str) -> str:
    """A declarative file with one route, ``/people``."""
    text = orjson.dumps(_CONFIGURATION).decode()
    for name, address in {**addresses, "client_id": client_id}.items():
        text = text.replace(f"{{{name}}}", address)
    service = {
        "name": "people",
        "url": f"{addresses['upstream']}/internal",
        "routes": [
            {
                "name": "people",
                "hosts": ["api.example.com"],
                "paths": ["/people"],
                "plugins": [{"name": "request-callout", "config": orjson.loads(text)}],
            }
        ],
    }
    document: str = yaml.safe_dump({"_format_version": "3.0", "services": [service]})
    return document


def attempt(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """``request-callout try`` in a folder, run to its end."""
    return subprocess.run(
        [sys.executable, "-m", "request_callout", "try", *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
    )
