"""The plugin key-auth: who a request is from, by a key in a header or the query."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from request_callout.gateway import pdk, query_args
from request_callout.gateway.exchange import Exchange
from request_callout.gateway.model import Configuration, Consumer, Credential


def access(exchange: Exchange, config: Mapping[str, Any], configuration: Configuration) -> None:
    """Authenticate a request, or give it Kong's 401."""
    if not config["run_on_preflight"] and exchange.method == "OPTIONS":
        return
    anonymous = config.get("anonymous")
    if anonymous is not None and exchange.credential is not None:
        return
    found = _credential(exchange, config, configuration)
    if isinstance(found, Credential):
        _set_consumer(exchange, found.consumer, found)
    elif anonymous is not None:
        consumer = next((one for one in configuration.consumers if anonymous in (one.id, one.username)), None)
        _set_consumer(exchange, consumer, None)
    else:
        realm = config.get("realm")
        challenge = f'Key realm="{realm}"' if realm else "Key"
        pdk.error_exit(exchange, 401, found, [("WWW-Authenticate", (challenge,))])


def _credential(exchange: Exchange, config: Mapping[str, Any], configuration: Configuration) -> Credential | str:
    headers = exchange.headers.by_name()
    query = query_args.decode(exchange.args or "")
    for name in config["key_names"]:
        value: Any = None
        if config["key_in_header"]:
            lines = headers.get(name.lower())
            value = lines[0] if lines and len(lines) == 1 else lines
        if value is None and config["key_in_query"]:
            value = query.get(name)
        if isinstance(value, list):
            return "Duplicate API key found"
        if isinstance(value, str):
            if config["hide_credentials"]:
                exchange.args = query_args.without(exchange.args, name) if exchange.args else exchange.args
                exchange.headers.clear(name)
            if not value:
                break
            return configuration.credentials.get(value, "Unauthorized")
    return "No API key found in request"


def _set_consumer(exchange: Exchange, consumer: Consumer | None, credential: Credential | None) -> None:
    exchange.consumer, exchange.credential = consumer, credential
    headers = {
        "X-Consumer-ID": consumer.id if consumer else None,
        "X-Consumer-Custom-ID": consumer.custom_id if consumer else None,
        "X-Consumer-Username": consumer.username if consumer else None,
        "X-Credential-Identifier": credential.id if credential else None,
        "X-Anonymous-Consumer": None if credential else "true",
    }
    for name, value in headers.items():
        exchange.headers.set(name, [] if value is None else [value])
