"""From a callout's params to what the HTTP client sends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from request_callout.engine.params import Params, ensure_json_content_type
from request_callout.transport import ClientCertificate, OutgoingRequest, ProxySettings

if TYPE_CHECKING:
    from request_callout.config.model import HttpOptions
    from request_callout.engine.call import Call


def outgoing(call: Call) -> OutgoingRequest:
    """One attempt, bounded by the timeouts and the deadline of the callout.

    What scripts may not see or change comes from the configuration: certificates, limits and where it may lead.
    """
    params, run = call.record.params, call.run
    options = call.callout.config.request.http_opts
    settings = run.instance.engine.settings
    timeouts = params.timeouts
    body = params.body_bytes()
    headers = params.headers
    if body is not None and not isinstance(params.body, bytes) and "content-type" not in headers:
        headers = headers.copy()
        ensure_json_content_type(headers)
    pairs = headers.pairs()
    if "user-agent" not in headers:
        pairs.append(("User-Agent", run.instance.engine.user_agent))
    if call.authorization is not None:
        pairs.append(("Authorization", call.authorization))
    connect_ms = (timeouts.connect_ms if timeouts else 0) or settings.default_connect_timeout_ms
    write_ms = (timeouts.write_ms if timeouts else 0) or settings.default_write_timeout_ms
    read_ms = (timeouts.read_ms if timeouts else 0) or settings.default_read_timeout_ms
    url = params.full_url()
    return OutgoingRequest(
        method=params.method,
        url=url,
        headers=pairs,
        body=body,
        connect_timeout_s=connect_ms / 1000,
        write_timeout_s=write_ms / 1000,
        read_timeout_s=read_ms / 1000,
        deadline=call.deadline,
        ssl_verify=params.ssl_verify,
        ssl_server_name=params.ssl_server_name,
        proxy=_proxy(params, url),
        client_certificate=_client_certificate(options),
        ca_certificates=options.ca_certificates,
        max_body_bytes=options.max_response_bytes,
        max_redirects=options.max_redirects,
        destination=call.callout.destinations.rules(url),
        https_proxy=_proxy(params, "https:") if options.max_redirects else None,
    )


def _client_certificate(options: HttpOptions) -> ClientCertificate | None:
    if options.client_certificate is None or options.client_key is None:
        return None
    return ClientCertificate(options.client_certificate, options.client_key)


def _proxy(params: Params, url: str) -> ProxySettings | None:
    proxy = params.proxy
    if proxy is None:
        return None
    proxy_url = proxy.https_proxy if url[:6].lower() == "https:" else proxy.http_proxy
    return None if proxy_url is None else ProxySettings(proxy_url, proxy.auth_username, proxy.auth_password)
