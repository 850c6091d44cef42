from __future__ import annotations

import json
from typing import Any

import pytest

from request_callout.config import InvalidConfiguration, load

REDIS = "config.cache.redis"
CLOUD = f"{REDIS}.cloud_authentication"
KEY = json.dumps({"client_email": "a@b", "private_key": "PRIVATE", "token_uri": "https://oauth2.googleapis.com/token"})
AWS = {"aws_cache_name": "sessions", "aws_region": "eu-central-1"}


def config(provider: str, username: str | None = None, strategy: str = "redis", **cloud: Any) -> dict[str, Any]:
    redis = {"username": username, "cloud_authentication": {"auth_provider": provider, **cloud}}
    return {"callouts": [], "cache": {"strategy": strategy, "redis": redis}}


@pytest.mark.parametrize(
    "good",
    [
        config("aws", "app", **AWS),
        config("aws", "app", **AWS, aws_access_key_id="AKIA", aws_secret_access_key="S", aws_assume_role_arn="arn:x"),
        config("aws", "{vault://env/user}", aws_cache_name="{vault://env/name}", aws_region="{vault://env/region}"),
        config("azure"),
        config("azure", "oid", azure_client_id="id"),
        config("azure", azure_client_id="id", azure_client_secret="S", azure_tenant_id="tenant"),
        config("gcp"),
        config("gcp", gcp_service_account_json=KEY),
        config("gcp", gcp_service_account_json="{vault://env/account}"),
        config("aws", strategy="off", aws_cache_name="sessions"),
    ],
)
def test_what_a_provider_needs_and_no_more_is_accepted(good: dict[str, Any]) -> None:
    """Optional fields may be absent, references count as given, and without Redis nothing is needed."""
    load(good)


@pytest.mark.parametrize(
    ("bad", "paths"),
    [
        (config("aws"), {f"{CLOUD}.aws_cache_name", f"{CLOUD}.aws_region", f"{REDIS}.username"}),
        (config("aws", "app", **AWS, aws_access_key_id="AKIA"), {CLOUD}),
        (config("azure", azure_client_secret="S"), {f"{CLOUD}.azure_client_id", f"{CLOUD}.azure_tenant_id"}),
        (config("gcp", gcp_service_account_json="no JSON"), {f"{CLOUD}.gcp_service_account_json"}),
        (config("gcp", gcp_service_account_json="[]"), {f"{CLOUD}.gcp_service_account_json"}),
        (config("gcp", gcp_service_account_json='{"client_email": "a@b"}'), {f"{CLOUD}.gcp_service_account_json"}),
    ],
)
def test_what_a_provider_lacks_is_told_at_its_path(bad: dict[str, Any], paths: set[str]) -> None:
    """Each missing or unusable field is a problem of its own, and no problem repeats a secret."""
    with pytest.raises(InvalidConfiguration) as caught:
        load(bad)
    assert {problem.path for problem in caught.value.problems} == paths
    assert "no JSON" not in str(caught.value)
