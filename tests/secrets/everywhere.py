"""Configurations that have a secret at every place of the schema that may hold one, and what may bring it to light."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tests.secrets.places import Vault
from tests.secrets.planted import PARAMS, Planted, Services
from tests.servers.redis_server import HOST

SURROUNDINGS = {
    "AWS_ENDPOINT_URL_STS": "http://127.0.0.1:1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AZURE_AUTHORITY_HOST": "https://127.0.0.1:1",
}
"""Variables that keep the providers' packages from asking anybody outside."""


IN_ANSWERS = {"vault: answer"}
"""What is configured to be told to clients."""


def everywhere(
    planted: Planted, to: Services, redis_port: int, vault: Vault | None = None
) -> dict[str, Mapping[str, Any]]:
    """Configurations whose secrets come from a vault, by what they use."""
    vault = vault or Vault(planted)
    return {name: vault.filling(config) for name, config in _configurations(planted, to, redis_port).items()}


def _configurations(planted: Planted, to: Services, redis_port: int) -> dict[str, Mapping[str, Any]]:
    plain, dead = to.plain.url, "http://127.0.0.1:1"
    named = {name: planted(f"vault: {name}") for name in ("query", "header", "body", "fallback", "answer")}
    host = planted("vault: host")
    certificates = {
        "client_certificate": to.certificate,
        "client_key": to.key,
        "ca_certificates": to.authority,
    }
    basic = {"type": "basic", "username": planted("vault: user"), "password": planted("vault: password")}
    proxy = {"auth_username": planted("vault: proxy user"), "auth_password": planted("vault: proxy's password")}
    token_url = f"/quoting-token?a={planted('vault: token URL query')}"

    def sends(url: str, **more: Any) -> dict[str, Any]:
        return {
            "url": url,
            "method": "POST",
            "query": {"custom": {"plain": named["query"]}},
            "headers": {"custom": {"X-Plain": named["header"]}},
            "body": {"custom": {"plain": named["body"]}},
            **more,
        }

    def a(**request: Any) -> dict[str, Any]:
        return {"name": "a", "request": request}

    def oauth(url: str, **more: Any) -> dict[str, Any]:
        return {
            "type": "oauth2_client_credentials",
            "token_url": url,
            "client_id": planted("vault: client_id"),
            "client_secret": planted("vault: client's secret"),
            "extra_parameters": {"about": planted("vault: extra parameter")},
            **more,
        }

    def redis(**given: Any) -> dict[str, Any]:
        return {
            "callouts": [a(url=f"{plain}/cached")],
            "cache": {"strategy": "redis", "redis": {"connect_timeout": 500, **given}},
        }

    def cloud(provider: str, **given: Any) -> dict[str, Any]:
        at = {"host": HOST, "port": redis_port, "username": planted("vault: redis user")}
        return redis(**at, cloud_authentication={"auth_provider": provider, **given})

    account = {
        "type": "service_account",
        "client_email": planted("vault: account's address"),
        "private_key": to.key,
        "token_uri": f"{dead}/{planted('vault: account')}",
    }
    own = f"{PARAMS}.headers['X-Plain'] .. {PARAMS}.body.plain .. {PARAMS}.query.plain"
    go_on = {"on_error": "continue"}
    fallback = {"status": 503, "headers": {"X-Plain": named["fallback"]}, "body": "{}"}
    return {
        "URL": {"callouts": [a(**sends(f"{plain}/quote/{planted('vault: path')}?a={planted('vault: URL query')}"))]},
        "URL's host": {"callouts": [a(**sends(f"http://{host}.invalid/{planted('vault: path')}"))]},
        "URL's host, guarded": {
            "callouts": [
                a(
                    **sends(f"http://u:{planted('vault: URL password')}@{host}.invalid/"),
                    circuit_breaker={"failures": 1},
                    error={**go_on, "fallback": fallback},
                )
            ]
        },
        "quoted": {"callouts": [{**a(**sends(f"{plain}/quote", error={"http_statuses": [200]}))}]},
        "script": {"callouts": [a(**sends(dead, by_lua=f"error({own})"))]},
        "content": {
            "callouts": [
                a(
                    url=f"{plain}/page",
                    method="POST",
                    body={"format": "raw", "content": f"<a>{planted('vault: content')}</a>"},
                    error={"http_statuses": [403]},
                )
            ]
        },
        "fallback": {"callouts": [a(url=dead, error={**go_on, "fallback": fallback})]},
        "proxy": {"callouts": [a(url="http://asks.example/", http_opts={"proxy": {"http_proxy": plain, **proxy}})]},
        "certificates": {"callouts": [a(url=to.mutual.url, http_opts=certificates)]},
        "wrong certificates": {
            "callouts": [a(url=to.mutual.url, http_opts=certificates | {"ca_certificates": to.certificate})]
        },
        "basic": {"callouts": [a(url=f"{plain}/quote", auth=basic, error={"http_statuses": [200]})]},
        "bearer": {
            "callouts": [
                a(
                    url=f"{plain}/page",
                    auth={"type": "bearer", "token": planted("vault: token")},
                    error={"http_statuses": [403]},
                )
            ]
        },
        "OAuth": {"callouts": [a(url=plain, auth=oauth(plain + token_url))]},
        "OAuth in the body": {"callouts": [a(url=plain, auth=oauth(plain + token_url, credentials_in="body"))]},
        "OAuth, unknown host": {"callouts": [a(url=plain, auth=oauth(f"http://{host}.invalid/token"))]},
        "upstream": {
            "callouts": [],
            "upstream": {
                "query": {"custom": {"plain": named["query"]}},
                "headers": {"custom": {"X-Plain": named["header"]}},
                "body": {"custom": {"plain": named["body"]}},
            },
        },
        "answer": {
            "callouts": [],
            "upstream": {"respond": {"status": 200, "headers": {"X-Plain": named["answer"]}, "body": "{}"}},
        },
        "Redis's host": redis(host=f"{host}.invalid", password=planted("vault: redis's password")),
        "Redis with TLS": redis(host=HOST, port=to.tls.port, ssl=True, server_name=f"{planted('vault: SNI')}.example"),
        "Redis's user": redis(
            host=HOST,
            port=redis_port,
            username=planted("vault: redis user"),
            password=planted("vault: redis's password"),
        ),
        "sentinels": redis(
            sentinel_master="main",
            sentinel_role="master",
            sentinel_nodes=[{"host": HOST, "port": redis_port}],
            sentinel_username=planted("vault: sentinel user"),
            sentinel_password=planted("vault: sentinel password"),
        ),
        "AWS": cloud(
            "aws",
            aws_access_key_id=planted("vault: aws_access_key_id"),
            aws_secret_access_key=planted("vault: aws_secret_access_key"),
            aws_assume_role_arn=planted("vault: aws_assume_role_arn"),
            aws_role_session_name=planted("vault: aws_role_session_name"),
            aws_cache_name=planted("vault: aws_cache_name"),
            aws_region=planted("vault: aws_region"),
        ),
        "Azure": cloud(
            "azure",
            azure_client_id=planted("vault: azure_client_id"),
            azure_client_secret=planted("vault: azure_client_secret"),
            azure_tenant_id=planted("vault: azure_tenant_id"),
        ),
        "GCP": cloud("gcp", gcp_service_account_json=json.dumps(account)),
    }
