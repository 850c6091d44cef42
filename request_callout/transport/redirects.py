"""Redirects (RFC 9110 section 15.4): what request follows from a response, if any.

What was meant for one origin does not go to another: there the request has no ``Authorization``, ``Cookie`` and
``Host`` of its own, no client certificate and no server name for TLS. User info in a ``Location`` is never used.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import urljoin

from request_callout.transport.destination import after_redirect
from request_callout.transport.message import IncomingResponse, OutgoingRequest, TransportError
from request_callout.transport.url import Target, parse_url

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_FOR_ONE_ORIGIN = frozenset({"authorization", "cookie", "cookie2", "host", "proxy-authorization"})
_OF_A_BODY = frozenset({"digest", "expect", "last-modified", "repr-digest", "trailer"})


def redirected(
    request: OutgoingRequest, target: Target, response: IncomingResponse
) -> tuple[OutgoingRequest, Target] | None:
    """The request that ``response`` asks for instead of ``request``, and where it goes; None: it is no redirect.

    Raises ``TransportError`` (``redirect``) for one that can't be followed.
    """
    if response.status not in _REDIRECTS:
        return None
    locations = [value for name, value in response.headers if name == "location"]
    if not locations:
        return None
    if len(locations) > 1:
        raise TransportError("redirect", "the response has more than one Location")
    try:
        found = parse_url(urljoin(target.origin + target.path, locations[0]))
        following = parse_url(found.origin + found.path)
    except ValueError:
        raise TransportError("redirect", "the response redirects to what is no URL") from None
    except TransportError as error:
        raise TransportError("redirect", f"the response redirects to what is no URL: {error}") from None
    if target.tls and not following.tls:
        raise TransportError("redirect", "the response redirects from https to http")
    method, body, headers = _content(request, response.status)
    changes: dict[str, Any] = {}
    if following.origin == target.origin:
        if target.authorization is not None and not any(name.lower() == "authorization" for name, _ in headers):
            headers.append(("Authorization", target.authorization))
    else:
        headers = [pair for pair in headers if pair[0].lower() not in _FOR_ONE_ORIGIN]
        changes = {"client_certificate": None, "ssl_server_name": None}
    if following.tls and not target.tls:
        changes["proxy"] = request.https_proxy
    if following.host != target.host:
        changes["destination"] = after_redirect(request.destination)
    url = following.origin + following.path
    return replace(request, url=url, method=method, body=body, headers=headers, **changes), following


def _content(request: OutgoingRequest, status: int) -> tuple[str, bytes | None, list[tuple[str, str]]]:
    """Method, body and headers: 303 means to look elsewhere, 301 and 302 have come to mean it after a POST."""
    method = request.method
    headers = list(request.headers)
    if (status == 303 and method not in ("GET", "HEAD")) or (status in (301, 302) and method == "POST"):
        kept = [pair for pair in headers if not _describes_a_body(pair[0].lower())]
        return "GET", None, kept
    return method, request.body, headers


def _describes_a_body(name: str) -> bool:
    return name.startswith("content-") or name in _OF_A_BODY
