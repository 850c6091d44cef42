"""``kong.service``: the request as it goes to the upstream."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from request_callout.gateway import query_args
from request_callout.gateway.exchange import Body, Exchange
from request_callout.gateway.pdk.arguments import (
    Failure,
    PdkFailure,
    Surroundings,
    checked_headers,
    header_values,
    json_text,
    safe_name,
    string,
    wrong_phase,
)
from request_callout.gateway.uri import escaped
from request_callout.values import Value, raw

_METHODS = frozenset(
    [
        "GET",
        "HEAD",
        "PUT",
        "POST",
        "DELETE",
        "OPTIONS",
        "MKCOL",
        "COPY",
        "MOVE",
        "PROPFIND",
        "PROPPATCH",
        "LOCK",
        "UNLOCK",
        "PATCH",
        "TRACE",
    ]
)


def _set_target(x: Exchange, around: Surroundings, host: Value = None, port: Value = None) -> None:
    name = string(host, "host")
    if not isinstance(port, (int, float)) or isinstance(port, bool) or port != int(port):
        raise PdkFailure("port must be an integer")
    if not 0 <= port <= 65535:
        raise PdkFailure(f"port must be an integer between 0 and 65535: given {int(port)}")
    x.upstream_host = name
    x.target_host, x.target_port = name, int(port)


def _set_upstream(x: Exchange, around: Surroundings, host: Value = None) -> Failure:
    return Failure(f"could not find an Upstream named '{string(host, 'host')}'")


def _set_scheme(x: Exchange, around: Surroundings, scheme: Value = None) -> None:
    if string(scheme, "scheme") not in ("http", "https"):
        raise PdkFailure(f"invalid scheme: {scheme}")
    x.upstream_scheme = scheme


def _set_path(x: Exchange, around: Surroundings, path: Value = None) -> None:
    if not string(path, "path").startswith("/"):
        raise PdkFailure("path must start with /")
    x.upstream_path = escaped(path)


def _set_raw_query(x: Exchange, around: Surroundings, query: Value = None) -> None:
    x.args = string(query, "query")


def _set_query(x: Exchange, around: Surroundings, args: Value = None) -> None:
    if not isinstance(args, (dict, list)):
        raise PdkFailure("args must be a table")
    try:
        x.args = query_args.encode(args if isinstance(args, dict) else {})
    except TypeError as error:
        raise PdkFailure(str(error)) from None


def _clear_query_arg(x: Exchange, around: Surroundings, name: Value = None) -> None:
    if x.args:
        x.args = query_args.without(x.args, string(name, "query argument name"))


def _set_method(x: Exchange, around: Surroundings, method: Value = None) -> None:
    if string(method, "method") not in _METHODS:
        raise PdkFailure(f"invalid method: {method}")
    x.method = method


def _set_request_header(x: Exchange, around: Surroundings, name: Value = None, value: Value = None) -> None:
    _set_one(x, str(name), header_values(name, value))


def _set_one(x: Exchange, name: str, values: list[str]) -> None:
    if name.lower() == "host" and values:
        x.upstream_host = values[0]
    x.headers.set(safe_name(name), values)


def _add_request_header(x: Exchange, around: Surroundings, name: Value = None, value: Value = None) -> None:
    values = header_values(name, value)
    if isinstance(value, list) and value:
        raise PdkFailure("a table cannot be added as one value of a header")
    _set_one(x, str(name), x.headers.all(str(name)) + values)
    if str(name).lower() == "host":
        x.upstream_host = values[0]


def _clear_request_header(x: Exchange, around: Surroundings, name: Value = None) -> None:
    x.headers.clear(string(name, "header"))


def _set_request_headers(x: Exchange, around: Surroundings, headers: Value = None) -> None:
    for name, values in checked_headers(headers).items():
        _set_one(x, name, values)


def _set_raw_body(x: Exchange, around: Surroundings, body: Value = None) -> None:
    content = raw(body) if isinstance(body, str) else body
    if not isinstance(content, bytes):
        raise PdkFailure("body must be a string")
    x.body = Body(content, None, len(content), changed=True)
    x.headers.clear("transfer-encoding")
    x.headers.set("Content-Length", [str(len(content))])


def _set_body(x: Exchange, around: Surroundings, args: Value = None, mime: Value = None) -> Value:
    if not isinstance(args, (dict, list)):
        raise PdkFailure("args must be a table")
    kind = mime or x.headers.first("content-type")
    if not kind:
        return Failure("content type was neither explicitly given as an argument or received as a header")
    media = str(kind).split(";")[0]
    if media == "application/json":
        content = json_text(args)
    elif media == "application/x-www-form-urlencoded":
        content = query_args.encode(args if isinstance(args, dict) else {}).encode()
    else:
        raise PdkFailure(f"unsupported content type {kind}")
    _set_raw_body(x, around, content)
    x.headers.set("Content-Type", [str(kind)])
    return True


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "kong.service.request.add_header": _add_request_header,
    "kong.service.request.clear_header": _clear_request_header,
    "kong.service.request.clear_query_arg": _clear_query_arg,
    "kong.service.request.set_body": _set_body,
    "kong.service.request.set_header": _set_request_header,
    "kong.service.request.set_headers": _set_request_headers,
    "kong.service.request.set_method": _set_method,
    "kong.service.request.set_path": _set_path,
    "kong.service.request.set_query": _set_query,
    "kong.service.request.set_raw_body": _set_raw_body,
    "kong.service.request.set_raw_query": _set_raw_query,
    "kong.service.request.set_scheme": _set_scheme,
    "kong.service.response.get_header": wrong_phase("response, header_filter, body_filter, log"),
    "kong.service.response.get_headers": wrong_phase("response, header_filter, body_filter, log"),
    "kong.service.response.get_raw_body": wrong_phase("header_filter, body_filter, log"),
    "kong.service.response.get_status": wrong_phase("response, header_filter, body_filter, log"),
    "kong.service.set_target": _set_target,
    "kong.service.set_upstream": _set_upstream,
}
