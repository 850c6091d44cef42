"""The head of a request: request line and header section (RFC 9112 sections 3 and 5), safe against injection."""

from __future__ import annotations

import re
from functools import lru_cache

from request_callout.transport.message import OutgoingRequest, TransportError
from request_callout.transport.url import Proxy, Target
from request_callout.values import raw

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_SPECIAL = frozenset({"host", "content-length", "transfer-encoding", "authorization", "proxy-authorization"})
_COUNTED_WHEN_EMPTY = frozenset({"POST", "PUT", "PATCH"})
_BREAKS = re.compile("[\r\n\0]")


def request_head(request: OutgoingRequest, target: Target, forward_proxy: Proxy | None) -> bytes:
    """The bytes from the request line to the empty line.

    ``forward_proxy`` is the proxy that gets the request itself, in absolute form (none for CONNECT). ``Content-Length``
    and ``Transfer-Encoding`` of ``request.headers`` are left out: how the body is framed is decided here. Header values
    go out as the bytes that ``values.text`` made them of. Raises ``TransportError`` of kind ``request`` for a method
    or header that can't be sent.
    """
    method = request.method
    _check_method(method)
    host: str | None = None
    authorization = target.authorization
    proxy_authorization = forward_proxy.authorization if forward_proxy is not None else None
    lines: list[str] = []
    for name, value in request.headers:
        special = _special(name)
        if special:
            if special == "host":
                if host is not None:
                    raise TransportError("request", "more than one Host header")
                host = value
                continue
            if special == "authorization":
                authorization = None
            elif special != "proxy-authorization" or proxy_authorization is not None:
                continue
        lines.append(f"{name}: {value}\r\n")
    if authorization is not None:
        lines.append(f"Authorization: {authorization}\r\n")
    if proxy_authorization is not None:
        lines.append(f"Proxy-Authorization: {proxy_authorization}\r\n")
    body = request.body
    if body or method in _COUNTED_WHEN_EMPTY:
        lines.append(f"Content-Length: {len(body) if body else 0}\r\n")
    where = target.path if forward_proxy is None else f"http://{target.authority}{target.path}"
    text = f"{method} {where} HTTP/1.1\r\nHost: {target.authority if host is None else host}\r\n{''.join(lines)}\r\n"
    # One look over the whole head instead of one at each value; which one it was is asked only when it failed.
    count = len(lines) + 3
    if text.count("\n") != count or text.count("\r") != count or "\0" in text:
        raise TransportError("request", f"line break or NUL in the value of header {_culprit(request)}")
    try:
        return raw(text)
    except UnicodeEncodeError as error:
        raise TransportError("request", "a header value is not valid Unicode") from error


def _culprit(request: OutgoingRequest) -> str:
    return next((name for name, value in request.headers if _BREAKS.search(value)), "?")


@lru_cache(4096)
def _special(name: str) -> str | None:
    """The lower-case name of a header that needs care, None for any other; raises for what is no token."""
    if not _TOKEN.fullmatch(name):
        raise TransportError("request", f"invalid header name {name[:80]!r}")
    lower = name.lower()
    return lower if lower in _SPECIAL else None


@lru_cache(256)
def _check_method(method: str) -> None:
    if not _TOKEN.fullmatch(method) or method == "CONNECT":
        raise TransportError("request", f"invalid method {method[:80]!r}")
