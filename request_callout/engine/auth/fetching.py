"""Sending the request for a token: with the callout's own HTTP options, and never further than its destination."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from request_callout.engine.auth.endpoint import MAX_ANSWER_BYTES, Grant, TokenEndpoint, TokenUnavailable
from request_callout.transport import OutgoingRequest, ProxySettings, TransportError
from request_callout.transport.message import ClientCertificate, DestinationRules

if TYPE_CHECKING:
    from request_callout.config.settings import Settings
    from request_callout.engine.instance import Engine


def fetch_token(engine: Engine, endpoint: TokenEndpoint) -> Grant:
    """Ask for a token once; raises TokenUnavailable.

    It takes no longer than ``timeouts.total`` of the callout or all callouts of a request may, whoever waits for it.
    """
    got = False
    try:
        response = engine.transport.send(token_request(endpoint, engine.settings, engine.user_agent))
        grant = endpoint.grant(response)
        got = True
        return grant
    except TransportError as error:
        raise TokenUnavailable(endpoint.redact(str(error)).removesuffix(f" ({endpoint.shown})")) from None
    finally:
        if engine.watch is not None:
            engine.watch.token(urlsplit(endpoint.shown).netloc, got=got)


def token_request(endpoint: TokenEndpoint, settings: Settings, user_agent: str) -> OutgoingRequest:
    """What is sent. ``ssl_server_name`` is the callee's, so it has no part in it: the name in the URL is verified."""
    options = endpoint.http_opts
    timeouts = options.timeouts
    connect_ms = (timeouts.connect_ms if timeouts else 0) or settings.default_connect_timeout_ms
    write_ms = (timeouts.write_ms if timeouts else 0) or settings.default_write_timeout_ms
    read_ms = (timeouts.read_ms if timeouts else 0) or settings.default_read_timeout_ms
    total_ms = (timeouts.total_ms if timeouts else None) or settings.deadline_ms
    certificate, key = options.client_certificate, options.client_key
    return OutgoingRequest(
        method="POST",
        url=endpoint.url,
        headers=(*endpoint.headers, ("User-Agent", user_agent)),
        body=endpoint.body,
        connect_timeout_s=connect_ms / 1000,
        write_timeout_s=write_ms / 1000,
        read_timeout_s=read_ms / 1000,
        deadline=time.monotonic() + min(total_ms, settings.deadline_ms) / 1000,
        ssl_verify=options.ssl_verify,
        proxy=_proxy(endpoint),
        client_certificate=None if certificate is None or key is None else ClientCertificate(certificate, key),
        ca_certificates=options.ca_certificates,
        max_body_bytes=MAX_ANSWER_BYTES,
        destination=_destination(endpoint),
    )


def _proxy(endpoint: TokenEndpoint) -> ProxySettings | None:
    proxy = endpoint.http_opts.proxy
    if proxy is None:
        return None
    url = proxy.https_proxy if endpoint.url[:6].lower() == "https:" else proxy.http_proxy
    return None if url is None else ProxySettings(url, proxy.auth_username, proxy.auth_password)


def _destination(endpoint: TokenEndpoint) -> DestinationRules | None:
    rules = endpoint.destination
    return None if rules is None else DestinationRules(rules.allow_hosts, rules.deny_networks)
