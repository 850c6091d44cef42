"""Where the URLs of one callout may lead: its configured rules, made stricter where a client could choose the host."""

from __future__ import annotations

from request_callout.config import model
from request_callout.config.template import parse
from request_callout.transport import DestinationRules

_ENDS_AUTHORITY = "/?#"


class Destinations:
    """The rules for one callout.

    A URL whose scheme and authority (RFC 3986 section 3.2) stand in the configuration as they are leads where its
    author wanted it to. With an expression in them, or when a script put another URL in its place, special addresses
    are refused as well.
    """

    __slots__ = ("_authority", "_chosen", "_configured")

    def __init__(self, request: model.Request) -> None:
        allow_hosts = request.destination.allow_hosts if request.destination else ()
        deny_networks = request.destination.deny_networks if request.destination else ()
        self._authority = fixed_authority(request.url)
        self._configured = DestinationRules(allow_hosts, deny_networks) if allow_hosts or deny_networks else None
        self._chosen = DestinationRules(allow_hosts, deny_networks, deny_special=True)

    def rules(self, url: str) -> DestinationRules | None:
        """The rules for one URL as it is sent; None: it may lead anywhere."""
        authority = self._authority
        if authority is not None and url.startswith(authority):
            rest = url[len(authority) : len(authority) + 1]
            if not rest or rest in _ENDS_AUTHORITY:
                return self._configured
        return self._chosen


def fixed_authority(template: str) -> str | None:
    """Scheme and authority of a URL template, if no expression stands in them."""
    literal, complete = "", True
    for part in parse(template).parts:
        if not isinstance(part, str):
            complete = False
            break
        literal += part
    start = literal.find("://") + 3
    if start < 3:
        return None
    ends = [place for place in (literal.find(mark, start) for mark in _ENDS_AUTHORITY) if place >= 0]
    if not ends and not complete:
        return None
    return literal[: min(ends)] if ends else literal
