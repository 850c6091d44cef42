"""How a token is asked for: the client credentials grant of OAuth 2.0 (RFC 6749, section 4.4). Nothing is sent here.

What a token server answers may hold anything, so none of it gets into an error's text but an error code.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote_plus, urlencode

import orjson

from request_callout.config import model
from request_callout.engine import json
from request_callout.engine.auth.identity import basic, is_token
from request_callout.transport import IncomingResponse, TransportError
from request_callout.transport.url import parse_url

DEFAULT_EXPIRES_IN_S = 60.0
"""How long a token counts as valid whose server does not say it (section 5.1 leaves that to other means)."""

MAX_ANSWER_BYTES = 64 * 1024

_FORM_TYPE = "application/x-www-form-urlencoded"
_ERROR_CODE = re.compile(r"[a-z][a-z0-9_]{2,39}")
_SHORT_SECRET = 3  # as in any text
_DIGEST_KEY = os.urandom(32)  # a digest says nothing outside this process


class TokenUnavailable(Exception):
    """There is no token; the text says why, without credentials and without what the server sent."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token server gave: the token, and for how many seconds from the request on it is valid."""

    access_token: str = field(repr=False)
    expires_in_s: float


class TokenEndpoint:
    """One client of one token server, and the way there; ``digest`` is equal for equal settings only.

    ``headers`` and ``body`` are those of the request, which is a POST; ``shown`` is the URL for people. ``redact``
    takes the secrets of the configuration, of which the URL may be one, out of a text for a log.
    """

    __slots__ = ("_secrets", "body", "destination", "digest", "headers", "http_opts", "redact", "shown", "url")

    def __init__(
        self,
        auth: model.Auth,
        http_opts: model.HttpOptions,
        destination: model.Destination | None = None,
        redact: Callable[[str], str] = str,
    ) -> None:
        client_id, client_secret = auth.client_id or "", auth.client_secret or ""
        fields = dict(auth.extra_parameters)
        fields["grant_type"] = "client_credentials"
        if auth.scopes:
            fields["scope"] = " ".join(auth.scopes)
        if auth.audience is not None:
            fields["audience"] = auth.audience
        headers = [("Accept", "application/json"), ("Content-Type", _FORM_TYPE)]
        if auth.credentials_in == "body":
            fields["client_id"], fields["client_secret"] = client_id, client_secret
        else:
            headers.append(("Authorization", basic(_form_encoded(client_id), _form_encoded(client_secret))))
        self.url = auth.token_url or ""
        self.headers = tuple(headers)
        self.body = urlencode(fields, errors="surrogateescape").encode("ascii")
        self.http_opts = http_opts
        self.destination = destination
        self.redact = redact
        self.shown = redact(_shown(self.url))
        # Of the same settings, but with another text for logs, is another source of tokens: each logs its own.
        self.digest = _digest(self.url, headers, self.body, http_opts, destination, self.shown)
        self._secrets = [one for one in (client_secret, *auth.extra_parameters.values()) if len(one) > _SHORT_SECRET]

    @classmethod
    def of(cls, auth: model.Auth, request: model.Request, redact: Callable[[str], str]) -> TokenEndpoint:
        """The endpoint of one callout."""
        return cls(auth, request.http_opts, request.destination, redact)

    def grant(self, response: IncomingResponse) -> Grant:
        """The token in an answer (section 5.1); raises TokenUnavailable."""
        status = response.status
        try:
            answer = json.decode(response.body)
        except json.NotJsonError:
            answer = None
        if not 200 <= status < 300:
            raise TokenUnavailable(f"status {status}{self._error_code(answer)}{_hint(status)}")
        if not isinstance(answer, dict):
            raise TokenUnavailable(f"status {status}, but the answer is no JSON object")
        token, token_type = answer.get("access_token"), answer.get("token_type")
        if not isinstance(token, str):
            raise TokenUnavailable(f"status {status}, but without an access_token{self._error_code(answer)}")
        if not isinstance(token_type, str) or token_type.lower() != "bearer":
            raise TokenUnavailable("the token_type of the answer is not Bearer")
        if not is_token(token):
            raise TokenUnavailable("the access_token of the answer is no bearer token (RFC 6750, section 2.1)")
        return Grant(token, _seconds(answer.get("expires_in")))

    def _error_code(self, answer: Any) -> str:
        """The error code of an answer (section 5.2), unless it may be something else."""
        code = answer.get("error") if isinstance(answer, dict) else None
        if not isinstance(code, str) or not _ERROR_CODE.fullmatch(code):
            return ""
        if any(one in code or code in one for one in self._secrets):
            return ""
        return f", {code}"


def _shown(url: str) -> str:
    try:
        return parse_url(url).shown
    except TransportError:  # told when it is to be sent
        return "(no valid URL)"


def _hint(status: int) -> str:
    return " (redirects are not followed with credentials)" if 300 <= status < 400 else ""


def _form_encoded(text: str) -> str:
    """As section 2.3.1 wants it before it goes into Basic credentials."""
    return quote_plus(text, safe="", errors="surrogateescape")


def _seconds(expires_in: Any) -> float:
    """``expires_in``, which some servers send as a text."""
    if isinstance(expires_in, str):
        try:
            expires_in = float(expires_in)
        except ValueError:
            return DEFAULT_EXPIRES_IN_S
    if isinstance(expires_in, bool) or not isinstance(expires_in, (int, float)) or not math.isfinite(expires_in):
        return DEFAULT_EXPIRES_IN_S
    return max(0.0, float(expires_in))


def _digest(*parts: Any) -> bytes:
    """One of everything a token depends on: who asks whom, for what, and over which connection."""
    data = orjson.dumps(parts, default=_plain, option=orjson.OPT_SORT_KEYS | orjson.OPT_PASSTHROUGH_DATACLASS)
    return hashlib.blake2b(data, key=_DIGEST_KEY, digest_size=32).digest()


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("ascii")
    return {name: getattr(value, name) for name in value.__dataclass_fields__}
