"""From a callout's params to what the HTTP client sends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from request_callout.engine.params import Params, ensure_json_content_type
from request_callout.transport import OutgoingRequest, ProxySettings

if TYPE_CHECKING:
    from request_callout.engine.run import Run


def outgoing(params: Params, run: Run) -> OutgoingRequest:
    """One attempt, bounded by the timeouts of the callout and the deadline of the request."""
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
        deadline=run.deadline,
        ssl_verify=params.ssl_verify,
        ssl_server_name=params.ssl_server_name,
        proxy=_proxy(params, url),
    )


def _proxy(params: Params, url: str) -> ProxySettings | None:
    proxy = params.proxy
    if proxy is None:
        return None
    proxy_url = proxy.https_proxy if url[:6].lower() == "https:" else proxy.http_proxy
    return None if proxy_url is None else ProxySettings(proxy_url, proxy.auth_username, proxy.auth_password)
