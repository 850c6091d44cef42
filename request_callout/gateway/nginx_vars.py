"""nginx's variables of a request, as ``kong.nginx.get_var`` and ``ngx.var`` give them."""

from __future__ import annotations

import os
import platform
import time
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING

from request_callout.gateway.uri import normalized, path_of

if TYPE_CHECKING:
    from request_callout.gateway.exchange import Exchange


def variable(x: Exchange, name: str) -> str | None:
    """The variable of that name; None if nginx has none or it has no value."""
    known = _known(x, name)
    if known is not None:
        return known
    if name.startswith("http_"):
        values = x.headers.all(name[5:].replace("_", "-"))
        return ", ".join(values) if values else None
    if name.startswith("arg_"):
        return _argument(x.args or "", name[4:])
    if name.startswith("cookie_"):
        return _cookie(x, name[7:])
    return None


def _known(x: Exchange, name: str) -> str | None:
    client = x.client
    match name:
        case "request_id":
            return x.nginx_request_id
        case "kong_request_id":
            return x.request_id
        case "remote_addr" | "realip_remote_addr":
            return client.remote_addr
        case "remote_port" | "realip_remote_port":
            return str(client.remote_port)
        case "server_addr":
            return client.server_addr
        case "server_port":
            return str(client.server_port)
        case "server_name":
            return "kong"
        case "server_protocol":
            return f"HTTP/{client.version}"
        case "scheme":
            return client.scheme
        case "https":
            return "on" if client.scheme == "https" else ""
        case "host":
            return x.host
        case "hostname":
            return platform.node()
        case "pid":
            return str(os.getpid())
        case "request":
            return f"{client.method} {client.target} HTTP/{client.version}"
        case "request_method":
            return x.method
        case "request_uri":
            return client.target
        case "uri" | "document_uri":
            return normalized(path_of(client.target))
        case "args" | "query_string":
            return x.args or None
        case "is_args":
            return "?" if x.args else ""
        case "content_type":
            return x.headers.first("content-type")
        case "content_length":
            return x.headers.first("content-length")
        case "request_body":
            return x.body.content.decode("utf-8", "surrogateescape") if x.body.content else None
        case "msec":
            return f"{time.time():.3f}"
        case "request_time":
            return f"{time.time() - x.started_at:.3f}"
        case "upstream_uri":
            return x.upstream_path
        case "upstream_scheme":
            return x.upstream_scheme
        case "upstream_host":
            return x.upstream_host
    if name.startswith("upstream_x_forwarded_"):
        return x.forwarded.get(name[21:])
    return None


def _argument(query: str, name: str) -> str | None:
    for piece in query.split("&"):
        key, equals, value = piece.partition("=")
        if equals and key.lower() == name.lower():
            return value
    return None


def _cookie(x: Exchange, name: str) -> str | None:
    try:
        cookies = SimpleCookie("; ".join(x.headers.all("cookie")))
    except CookieError:
        return None
    return cookies[name].value if name in cookies else None
