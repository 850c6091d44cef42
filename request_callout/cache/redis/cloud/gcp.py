"""Tokens for Google Cloud Memorystore: OAuth 2.0 access tokens of a service account.

A token is the password of the user ``default`` (Memorystore documentation, "About IAM authentication").
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timezone
from typing import Any

import google.auth
import requests
from google.auth import exceptions, transport
from google.auth.credentials import Credentials
from google.auth.transport.requests import Request
from google.oauth2 import service_account
from redis.exceptions import AuthenticationError, ConnectionError

from request_callout.cache.redis.cloud.tokens import REQUEST_LIMIT_S, Source, Token
from request_callout.config import model

_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)


def source(settings: model.Redis) -> Source:
    """Tokens of the configured service account, else of the application default credentials.

    Raises AuthenticationError if there are none, or the configured one can't be read.
    """
    credentials = _credentials(settings.cloud_authentication.gcp_service_account_json)
    send = _Limited()

    def token() -> Token:
        try:
            credentials.refresh(send)
        except exceptions.GoogleAuthError as error:
            raise _told(error) from None
        if not credentials.token or credentials.expiry is None:
            raise ConnectionError("gcp: the answer to the request for a token held none")
        expires_at = credentials.expiry.replace(tzinfo=timezone.utc).timestamp()
        return Token(settings.username, str(credentials.token), expires_at)

    return token


class _Limited(transport.Request):
    """Google's transport, but with our time limits."""

    def __init__(self) -> None:
        self._send = Request(requests.Session())

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **options: Any,
    ) -> transport.Response:
        limit_s = REQUEST_LIMIT_S if timeout is None else min(timeout, REQUEST_LIMIT_S)
        answer: transport.Response = self._send(url, method, body, headers, limit_s, **options)
        return answer


def _credentials(account: str | None) -> Credentials:
    if not account:
        try:
            found: Credentials = google.auth.default(scopes=_SCOPES)[0]
        except exceptions.GoogleAuthError:
            raise AuthenticationError(
                "gcp: no credentials: gcp_service_account_json is not set, and there are no application default ones"
            ) from None
        return found
    try:
        found = service_account.Credentials.from_service_account_info(json.loads(account), scopes=_SCOPES)
    except (ValueError, TypeError, AttributeError, exceptions.GoogleAuthError):
        raise AuthenticationError("gcp: gcp_service_account_json holds no key of a service account") from None
    return found


def _told(error: exceptions.GoogleAuthError) -> AuthenticationError | ConnectionError:
    """Without the SDK's text, which names the account, but for the error code of OAuth (RFC 6749 section 5.2)."""
    if isinstance(error, exceptions.TransportError) or error.retryable:
        return ConnectionError("gcp: the token server can't be reached or failed")
    answer = error.args[1] if len(error.args) > 1 else None
    code = answer.get("error") if isinstance(answer, Mapping) else None
    reason = f": {code}" if isinstance(code, str) and code.isidentifier() else ""
    return AuthenticationError(f"gcp: the token server gave no token{reason}")
