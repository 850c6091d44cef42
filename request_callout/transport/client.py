"""One request, one attempt, one response: that of the last redirect, decoded."""

from __future__ import annotations

from collections.abc import Hashable

from request_callout.config.settings import TransportSettings
from request_callout.transport.connection import Connection, ConnectionLost
from request_callout.transport.decoding import decoded
from request_callout.transport.destination import Rules, rules_of
from request_callout.transport.dial import dial
from request_callout.transport.head import request_head
from request_callout.transport.message import DestinationRules, IncomingResponse, OutgoingRequest, TransportError
from request_callout.transport.pool import IdleConnections
from request_callout.transport.redirects import redirected
from request_callout.transport.response import ClosedBeforeResponse, read_response
from request_callout.transport.tls import TlsContexts, identity
from request_callout.transport.url import Proxy, Target, parse_proxy, parse_url

_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})
_SENT_WITH_HEAD = 64 * 1024


class Transport:
    """Sends callouts from any number of greenlets of one thread.

    Raises ``ValueError`` if the CA file or the rules for destinations of the settings can't be used.
    """

    def __init__(self, settings: TransportSettings) -> None:
        self._settings = settings
        self._contexts = TlsContexts(settings.ca_file)
        self._idle = IdleConnections(settings.pool_size, settings.pool_idle_s)
        own = DestinationRules(settings.allow_hosts, settings.deny_networks)
        self._own_rules: tuple[Rules, ...] = () if own == DestinationRules() else (Rules(own),)

    def send(self, request: OutgoingRequest) -> IncomingResponse:
        """Make one attempt, which follows as many redirects as the request allows.

        Both the transport's rules for destinations and those of the request hold, for redirects too. A pooled
        connection that turns out to be closed before anything of a response came is replaced once by a new one, for
        idempotent methods (RFC 9110 section 9.2.2). A greenlet that is killed meanwhile, or whose ``gevent.Timeout`` is
        raised, leaves no connection behind. Raises ``TransportError``.
        """
        target = parse_url(request.url)
        try:
            response = self._send(request, target)
            for _ in range(request.max_redirects):
                following = redirected(request, target, response)
                if following is None:
                    break
                request, target = following
                response = self._send(request, target)
            else:
                if request.max_redirects and redirected(request, target, response) is not None:
                    raise TransportError("redirect", f"more than {request.max_redirects} redirects")
            return decoded(response, self._max_body_bytes(request))
        except TransportError as error:
            raise TransportError(error.kind, f"{error} ({target.shown})") from error.__cause__

    def close(self) -> None:
        """Close the idle connections; those in use are closed when they come back."""
        self._idle.close()

    def _send(self, request: OutgoingRequest, target: Target) -> IncomingResponse:
        rules = self._own_rules if request.destination is None else (*self._own_rules, rules_of(request.destination))
        for one in rules:
            one.check_host(target.host)
        proxy = None if request.proxy is None else parse_proxy(request.proxy)
        head = request_head(request, target, None if target.tls else proxy)
        response = self._attempt(request, target, proxy, head, rules)
        if response.status == 407 and proxy is not None and not target.tls:
            raise TransportError("proxy", f"the proxy {proxy.target.authority} asks for authentication (407)")
        return response

    def _attempt(
        self, request: OutgoingRequest, target: Target, proxy: Proxy | None, head: bytes, rules: tuple[Rules, ...]
    ) -> IncomingResponse:
        key = _key(request, target)
        connection = self._idle.take(key)
        if connection is not None:
            try:
                return self._exchange(connection, key, request, head)
            except (ClosedBeforeResponse, ConnectionLost) as error:
                if connection.received or request.method not in _IDEMPOTENT:
                    raise _no_response(error) from error
        connection = dial(request, target, proxy, self._contexts, self._settings.max_header_bytes, rules)
        try:
            return self._exchange(connection, key, request, head)
        except (ClosedBeforeResponse, ConnectionLost) as error:
            raise _no_response(error) from error

    def _exchange(
        self, connection: Connection, key: Hashable, request: OutgoingRequest, head: bytes
    ) -> IncomingResponse:
        settings = self._settings
        try:
            connection.begin(request.write_timeout_s, request.read_timeout_s, request.deadline)
            sent = _send_all(connection, head, request.body)
            response, reusable = read_response(
                connection.receive, request.method, settings.max_header_bytes, self._max_body_bytes(request)
            )
        except BaseException:
            connection.close()
            raise
        if reusable and sent:
            self._idle.put(key, connection)
        else:
            connection.close()
        return response

    def _max_body_bytes(self, request: OutgoingRequest) -> int:
        return self._settings.max_body_bytes if request.max_body_bytes is None else request.max_body_bytes


def _send_all(connection: Connection, head: bytes, body: bytes | None) -> bool:
    """Write the request; False if the peer stopped reading, which it may do after an early answer."""
    try:
        if not body:
            connection.send(head)
        elif len(body) <= _SENT_WITH_HEAD:
            connection.send(head + body)
        else:
            connection.send(head)
            connection.send(body)
    except ConnectionLost:
        return False
    return True


def _key(request: OutgoingRequest, target: Target) -> Hashable:
    """What two requests must share to share a connection.

    The rules are part of it where they look at addresses: an open connection leads to one that its own rules allowed.
    """
    rules = request.destination
    if rules is not None and not rules_of(rules).checks_addresses:
        rules = None
    if target.tls:
        return (target.origin, request.proxy, rules, request.ssl_verify, request.ssl_server_name, identity(request))
    return (target.origin, request.proxy, rules)


def _no_response(error: Exception) -> TransportError:
    return TransportError("protocol", str(error) or "the connection was closed before a response")
