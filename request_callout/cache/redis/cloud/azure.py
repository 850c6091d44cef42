"""Tokens for Azure Managed Redis and Azure Cache for Redis: access tokens of Microsoft Entra ID.

The username is the object id of the identity (Azure documentation, "Use Microsoft Entra ID for cache authentication").
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import re

from azure.core.credentials import TokenCredential
from azure.core.exceptions import AzureError, ServiceRequestError, ServiceResponseError
from azure.identity import ClientSecretCredential, DefaultAzureCredential
from redis.exceptions import AuthenticationError, ConnectionError

from request_callout.cache.redis.cloud.tokens import REQUEST_LIMIT_S, Source, Token
from request_callout.config import model

_SCOPE = "https://redis.azure.com/.default"
_ERROR_CODE = re.compile(r"\bAADSTS\d+")
_SERVER_ERROR = re.compile(r"\bHTTP Error: (5\d\d)\b")  # MSAL's words: no exception has the status

# They write each request and the authority's words on each failure, which name the tenant and the client.
for _name in ("azure", "msal"):
    logging.getLogger(_name).setLevel(logging.ERROR)


def source(settings: model.Redis) -> Source:
    """Tokens for ``settings.username``, or for whom the token is for; raises AuthenticationError for bad ids."""
    configured = bool(settings.cloud_authentication.azure_client_secret)
    try:
        credential = _credential(settings.cloud_authentication)
    except ValueError:
        raise AuthenticationError("azure: azure_tenant_id or azure_client_id is no valid id") from None

    def token() -> Token:
        try:
            access = credential.get_token(_SCOPE)
        except AzureError as error:
            raise _told(error, configured=configured) from None
        return Token(settings.username or object_id(access.token), access.token, access.expires_on)

    return token


def object_id(token: str) -> str:
    """The ``oid`` claim; the signature is Redis's to check. Raises AuthenticationError if there is none."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        found = claims.get("oid")
    except (IndexError, binascii.Error, ValueError, AttributeError):
        found = None
    if not isinstance(found, str) or not found:
        raise AuthenticationError("azure: the token does not say whose it is; set username to the object id")
    return found


def _credential(cloud: model.CloudAuthentication) -> TokenCredential:
    """The client secret if there is one, else what the surroundings give: variables, workload or managed identity."""
    limits = {"connection_timeout": REQUEST_LIMIT_S, "read_timeout": REQUEST_LIMIT_S, "retry_total": 1}
    if cloud.azure_client_secret:
        if not cloud.azure_tenant_id or not cloud.azure_client_id:
            raise AuthenticationError("azure: azure_client_secret needs azure_tenant_id and azure_client_id")
        return ClientSecretCredential(
            cloud.azure_tenant_id,
            cloud.azure_client_id,
            cloud.azure_client_secret,
            # The authority is Microsoft's or comes from the process's environment: there is nothing to validate.
            disable_instance_discovery=True,
            **limits,
        )
    own = {"managed_identity_client_id": cloud.azure_client_id, "workload_identity_tenant_id": cloud.azure_tenant_id}
    return DefaultAzureCredential(
        # What a developer's machine has is not for a server, and would start processes.
        exclude_shared_token_cache_credential=True,
        exclude_visual_studio_code_credential=True,
        exclude_cli_credential=True,
        exclude_developer_cli_credential=True,
        exclude_powershell_credential=True,
        exclude_broker_credential=True,
        **{name: value for name, value in own.items() if value},  # None would hide the environment's
        **limits,
    )


def _told(error: AzureError, *, configured: bool) -> AuthenticationError | ConnectionError:
    """Without the SDK's text, which names the tenant and the client, but for Entra's own code."""
    # azure-identity makes a ClientAuthenticationError of almost everything; what it was is its cause.
    unreachable = next(
        (one for one in (error, error.__cause__) if isinstance(one, (ServiceRequestError, ServiceResponseError))), None
    )
    if unreachable is not None:
        return ConnectionError(f"azure: Microsoft Entra ID can't be reached: {type(unreachable).__name__}")
    text = str(error)
    server_error = _SERVER_ERROR.search(text)
    if server_error is not None:
        return ConnectionError(f"azure: Microsoft Entra ID failed with status {server_error.group(1)}")
    code = _ERROR_CODE.search(text)
    if code is not None:
        return AuthenticationError(f"azure: Microsoft Entra ID gave no token: {code.group()}")
    if not configured:
        return AuthenticationError("azure: no credentials: neither configured nor found in the surroundings")
    return AuthenticationError(f"azure: Microsoft Entra ID gave no token: {type(error).__name__}")
