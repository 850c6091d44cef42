"""``kong.request``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from request_callout.gateway import query_args
from request_callout.gateway.exchange import Exchange
from request_callout.gateway.pdk.arguments import Failure, RawBody, Surroundings, maximum, single, string
from request_callout.gateway.uri import normalized, path_of
from request_callout.values import Value, text


def _get_header(x: Exchange, around: Surroundings, name: Value = None) -> Value:
    return x.headers.first(string(name, "header name").replace("_", "-")) or x.headers.first(name)


def _get_headers(x: Exchange, around: Surroundings, limit: Value = None) -> Value:
    return single(x.headers.by_name(maximum(limit, "max_headers")))


def _get_query(x: Exchange, around: Surroundings, limit: Value = None) -> Value:
    return query_args.decode(x.args or "", maximum(limit, "max_args"))


def _get_query_arg(x: Exchange, around: Surroundings, name: Value = None) -> Value:
    value = query_args.decode(x.args or "").get(string(name, "query argument name"))
    return value[0] if isinstance(value, list) else value


def _get_raw_body(x: Exchange, around: Surroundings, limit: Value = None) -> RawBody | Failure:
    if x.body.path is None:
        return RawBody(x.body.content, None)
    if isinstance(limit, (int, float)) and limit >= 0:
        if limit > 0 and x.body.size > limit:
            return Failure(f"request body file too big: {x.body.size} > {int(limit)}")
        with open(x.body.path, "rb") as file:
            return RawBody(file.read(), None)
    return RawBody(None, x.body.path)


def _get_body(x: Exchange, around: Surroundings, mime: Value = None, *_: Value) -> Value:
    kind = mime or x.headers.first("content-type")
    if not kind:
        return Failure("missing content type")
    media = str(kind).split(";")[0].strip().lower()
    if media.startswith("application/x-www-form-urlencoded"):
        if x.body.path is not None:
            return Failure("requesty body in temp file not supported")
        return query_args.decode(text(x.body.content))
    if media.startswith("application/json"):
        if x.body.path is not None:
            return Failure(
                "request body did not fit into client body buffer, consider raising 'client_body_buffer_size'"
            )
        try:
            decoded = orjson.loads(x.body.content)
        except ValueError:
            decoded = None
        return decoded if isinstance(decoded, (dict, list)) else Failure("invalid json body")
    return Failure(f"unsupported content type '{kind}'")


def captures_of(x: Exchange) -> dict[str, dict[int | str, str]]:
    """The captures of the route's path: ``unnamed`` by number (0 is the whole), ``named`` by name."""
    found = (x.match.captures if x.match is not None else None) or {}
    return {
        "unnamed": {key: value for key, value in found.items() if isinstance(key, int)},
        "named": {key: value for key, value in found.items() if isinstance(key, str)},
    }


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "kong.request.get_body": _get_body,
    "kong.request.get_forwarded_host": lambda x, _around, *_args: x.host,
    "kong.request.get_forwarded_path": lambda x, _around, *_args: normalized(path_of(x.client.target)),
    "kong.request.get_forwarded_port": lambda x, _around, *_args: x.client.server_port,
    "kong.request.get_forwarded_prefix": lambda x, _around, *_args: x.forwarded.get("prefix"),
    "kong.request.get_forwarded_scheme": lambda x, _around, *_args: x.client.scheme,
    "kong.request.get_header": _get_header,
    "kong.request.get_headers": _get_headers,
    "kong.request.get_host": lambda x, _around, *_args: x.host,
    "kong.request.get_http_version": lambda x, _around, *_args: x.client.version,
    "kong.request.get_method": lambda x, _around, *_args: x.method,
    "kong.request.get_path": lambda x, _around, *_args: normalized(path_of(x.client.target)),
    "kong.request.get_path_with_query": lambda x, _around, *_args: x.client.target,
    "kong.request.get_port": lambda x, _around, *_args: x.client.server_port,
    "kong.request.get_query": _get_query,
    "kong.request.get_query_arg": _get_query_arg,
    "kong.request.get_raw_body": _get_raw_body,
    "kong.request.get_raw_path": lambda x, _around, *_args: path_of(x.client.target),
    "kong.request.get_raw_query": lambda x, _around, *_args: x.args or "",
    "kong.request.get_scheme": lambda x, _around, *_args: x.client.scheme,
    "kong.request.get_start_time": lambda x, _around, *_args: int(x.started_at * 1000),
    "kong.request.get_uri_captures": lambda x, _around, *_args: captures_of(x),
}
