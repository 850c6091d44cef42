"""The configuration of a Redis cache, for tests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from request_callout.config import model

_NO_CLOUD = model.CloudAuthentication(
    auth_provider=None,
    aws_cache_name=None,
    aws_is_serverless=True,
    aws_region=None,
    aws_access_key_id=None,
    aws_secret_access_key=None,
    aws_assume_role_arn=None,
    aws_role_session_name=None,
    gcp_service_account_json=None,
    azure_client_id=None,
    azure_client_secret=None,
    azure_tenant_id=None,
)

_DEFAULTS = model.Redis(
    host="127.0.0.1",
    port=6379,
    connect_timeout_ms=20000,
    send_timeout_ms=20000,
    read_timeout_ms=20000,
    username=None,
    password=None,
    database=0,
    keepalive_pool_size=256,
    keepalive_backlog=None,
    ssl=False,
    ssl_verify=True,
    server_name=None,
    connection_is_proxied=False,
    sentinel_master=None,
    sentinel_role=None,
    sentinel_nodes=(),
    sentinel_username=None,
    sentinel_password=None,
    cluster_nodes=(),
    cluster_max_redirections=5,
    cloud_authentication=_NO_CLOUD,
)


def settings(**changes: Any) -> model.Redis:
    """The defaults of the schema with these changes, and with timeouts that a slow machine does not reach."""
    return replace(_DEFAULTS, **changes)


def timeouts(limit_ms: int) -> dict[str, int]:
    """All three, for ``settings``."""
    return dict.fromkeys(("connect_timeout_ms", "send_timeout_ms", "read_timeout_ms"), limit_ms)
