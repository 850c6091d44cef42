"""As whom a callout is sent: what the credentials of its configuration come to for one request.

The value of ``Authorization`` is never part of the context that scripts and other plugins see, nor of the cache's key:
what the key has of it is the ``principal``, so that a token that changes does not empty the cache.
"""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64encode
from dataclasses import dataclass, field

from request_callout.config import model
from request_callout.engine.answer import INTERNAL_ERROR, Ended
from request_callout.engine.expression import Scope, Text
from request_callout.lua import Lua
from request_callout.values import raw

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_B64TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*")  # RFC 6750, section 2.1


@dataclass(frozen=True, slots=True)
class Identity:
    """``principal`` tells callers apart who may get different answers; it is a digest, no credentials.

    ``authorization`` is None where a token has to be fetched first.
    """

    principal: str
    authorization: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class CompiledAuth:
    """``request.auth`` with its templates compiled; those that its type does not use are None."""

    config: model.Auth = field(repr=False)
    where: str
    username: Text | None
    password: Text | None
    token: Text | None

    @property
    def texts(self) -> list[Text]:
        return [text for text in (self.username, self.password, self.token) if text is not None]

    @property
    def constant(self) -> bool:
        """Whether every request is sent as the same."""
        return all(text.constant is not None for text in self.texts)

    def identity(self, scope: Scope) -> Identity:
        """As whom to send one request.

        Raises ScriptError, and Ended (500, and a line for the log) where the templates give what can't be sent.
        """
        try:
            return self._identity(scope)
        except ValueError as refused:
            # Of a UnicodeError, which is one too, the text shows the credentials.
            why = "the result is no valid Unicode" if isinstance(refused, UnicodeError) else str(refused)
            raise Ended(INTERNAL_ERROR, f"{self.where}: {why}") from None

    def _identity(self, scope: Scope) -> Identity:
        config = self.config
        if config.type == "basic":
            username = "" if self.username is None else self.username.render(scope)
            password = "" if self.password is None else self.password.render(scope)
            # A password that may be the client's decides who gets the answer; a configured one may change.
            own = self.password is None or self.password.constant is not None
            return Identity(principal("basic", username, *(() if own else (password,))), basic(username, password))
        if config.type == "bearer":
            token = "" if self.token is None else self.token.render(scope)
            return Identity(principal("bearer", token), bearer(token))
        extra = json.dumps(sorted(config.extra_parameters.items()))
        parts = (config.token_url or "", config.client_id or "", " ".join(config.scopes), config.audience or "", extra)
        return Identity(principal(config.type, *parts), None)


def compile_auth(auth: model.Auth, where: str, lua: Lua) -> CompiledAuth:
    """Compile the templates; ``where`` is the path of ``auth``."""

    def text(name: str, source: str | None) -> Text | None:
        return None if source is None else Text(source, f"{where}.{name}", lua)

    is_basic = auth.type == "basic"
    return CompiledAuth(
        config=auth,
        where=where,
        username=text("username", auth.username) if is_basic else None,
        password=text("password", auth.password) if is_basic else None,
        token=text("token", auth.token) if auth.type == "bearer" else None,
    )


def basic(username: str, password: str) -> str:
    """The Basic scheme in UTF-8 (RFC 7617); raises ValueError for what section 2 does not allow."""
    if ":" in username:
        raise ValueError("the user name holds a colon, which Basic credentials can't have (RFC 7617)")
    if _CONTROL.search(username) or _CONTROL.search(password):
        raise ValueError("the user name or the password holds a control character")
    return "Basic " + b64encode(raw(f"{username}:{password}")).decode("ascii")


def bearer(token: str) -> str:
    """The Bearer scheme (RFC 6750, section 2.1); raises ValueError for what is no token."""
    if not is_token(token):
        raise ValueError("the token is empty or holds characters that no bearer token has (RFC 6750, section 2.1)")
    return f"Bearer {token}"


def is_token(text: str) -> bool:
    """Whether this has the syntax of a bearer token."""
    return _B64TOKEN.fullmatch(text) is not None


def principal(*parts: str) -> str:
    """A digest (hex) of what an identity is made of."""
    digest = hashlib.sha256()
    for part in parts:
        data = raw(part)
        digest.update(b"%d:" % len(data))
        digest.update(data)
    return digest.hexdigest()
