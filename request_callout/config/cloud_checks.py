"""What the schema can't say of ``cache.redis.cloud_authentication``: what each provider needs to log in."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from request_callout.config.normal import is_reference
from request_callout.config.problems import Problem

_REDIS = "config.cache.redis"
_CLOUD = f"{_REDIS}.cloud_authentication"
_ACCOUNT = ("client_email", "private_key", "token_uri")


def cloud_authentication(redis: Mapping[str, Any]) -> Iterator[Problem]:
    """``cache.redis`` of a configuration that uses it; a field that holds a vault reference is there."""
    cloud = redis.get("cloud_authentication")
    if not isinstance(cloud, Mapping):
        return
    provider = cloud.get("auth_provider")
    if provider == "aws":
        if not cloud.get("aws_region"):
            message = "auth_provider aws needs it to log in; give the cache's region, such as eu-central-1"
            yield Problem(f"{_CLOUD}.aws_region", message)
        if not redis.get("username"):
            message = "auth_provider aws needs it to log in; give the name of the ElastiCache user"
            yield Problem(f"{_REDIS}.username", message)
    elif provider == "azure" and cloud.get("azure_client_secret"):
        for name in ("azure_client_id", "azure_tenant_id"):
            if not cloud.get(name):
                message = "is needed with azure_client_secret; add it, or remove that to use a managed identity"
                yield Problem(f"{_CLOUD}.{name}", message)
    elif provider == "gcp":
        yield from _service_account(cloud.get("gcp_service_account_json"))


def _service_account(text: Any) -> Iterator[Problem]:
    if not isinstance(text, str) or not text or is_reference(text):
        return
    try:
        account = json.loads(text)
    except ValueError:
        account = None
    if not isinstance(account, dict) or not all(isinstance(account.get(name), str) for name in _ACCOUNT):
        yield Problem(
            f"{_CLOUD}.gcp_service_account_json",
            f"must be the JSON of a service account's key, with {', '.join(_ACCOUNT)}; paste the whole key file, "
            "or remove it to use the application default credentials",
        )
