"""What the schema can't say of ``callouts[].request.auth``; what each type needs is in the schema.

No message holds any part of a value: it may come from a vault.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from request_callout.config import http_checks
from request_callout.config.normal import is_reference
from request_callout.config.parts import items, record
from request_callout.config.problems import Problem
from request_callout.config.sources import Sources
from request_callout.config.template import TemplateError, parse

_B64TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*")  # RFC 6750, section 2.1
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SCOPE_TOKEN = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")  # RFC 6749, section 3.3
_OWN_PARAMETERS = {
    "grant_type": "it is always client_credentials",
    "client_id": "use auth.client_id",
    "client_secret": "use auth.client_secret",
    "scope": "use auth.scopes",
    "audience": "use auth.audience",
}


def authorization(request: Mapping[str, Any], path: str, sources: Sources) -> Iterator[Problem]:
    """``auth`` of the ``callouts[].request`` at ``path``."""
    auth = record(request, "auth")
    if not auth:
        return
    for name, value in record(record(request, "headers"), "custom").items():
        if name.lower() == "authorization" and value is not None:
            yield Problem(
                f"{path}.headers.custom.{name}", "auth sets this header; remove one of the two, or set it in by_lua"
            )
    for name in ("username", "password", "token"):
        yield from sources.text(auth.get(name), f"{path}.auth.{name}")
    for name in ("username", "password"):
        if any(_CONTROL.search(part) for part in _literals(auth.get(name))):
            message = "must not hold line breaks or control characters (RFC 7617); remove them"
            yield Problem(f"{path}.auth.{name}", message)
    if any(":" in part for part in _literals(auth.get("username"))):
        message = "a user name must not hold a colon (RFC 7617); put what follows it into password"
        yield Problem(f"{path}.auth.username", message)
    yield from _constants(auth, f"{path}.auth")
    yield from _token(auth.get("token"), f"{path}.auth.token")
    yield from _token_url(auth.get("token_url"), f"{path}.auth.token_url")
    for place, scope in enumerate(items(auth, "scopes"), 1):
        if isinstance(scope, str) and scope and "$(" not in scope and not _SCOPE_TOKEN.fullmatch(scope):
            yield Problem(f"{path}.auth.scopes[{place}]", "is no scope (RFC 6749, section 3.3); list each by itself")
    for name in record(auth, "extra_parameters"):
        if name in _OWN_PARAMETERS:
            yield Problem(f"{path}.auth.extra_parameters.{name}", f"must not be given here: {_OWN_PARAMETERS[name]}")


def _constants(auth: Mapping[str, Any], path: str) -> Iterator[Problem]:
    """The fields that hold for many requests."""
    constants = [(f"{path}.{name}", auth.get(name)) for name in ("token_url", "client_id", "audience")]
    constants += [(f"{path}.scopes[{place}]", scope) for place, scope in enumerate(items(auth, "scopes"), 1)]
    parameters = record(auth, "extra_parameters")
    constants += [(f"{path}.extra_parameters.{name}", value) for name, value in parameters.items()]
    for where, value in constants:
        if isinstance(value, str) and _has_expression(value):
            yield Problem(where, "takes no expressions: a token is for many requests; write the value")


def _has_expression(text: str) -> bool:
    try:
        return not parse(text).is_constant
    except TemplateError:
        return False


def _token(token: Any, path: str) -> Iterator[Problem]:
    """A token without an expression has to be one; what an expression gives is seen when it is evaluated."""
    literals = _literals(token)
    if literals != [token]:
        yield from http_checks.header_value(token, path)
    if literals and literals[0].lower().startswith("bearer "):
        yield Problem(path, "must be the token alone; remove the word Bearer, which is put before it")
    elif literals == [token] and not _B64TOKEN.fullmatch(token):
        yield Problem(path, "holds characters that no bearer token has (RFC 6750); set such a header in headers.custom")


def _literals(text: Any) -> list[str]:
    """The parts of a template that are no expressions."""
    if not isinstance(text, str) or text.startswith("#") or is_reference(text):
        return []
    try:
        return [part for part in parse(text).parts if isinstance(part, str)]
    except TemplateError:
        return []


def _token_url(url: Any, path: str) -> Iterator[Problem]:
    if not isinstance(url, str) or not url or is_reference(url) or _has_expression(url):
        return
    problems = list(http_checks.url(url, path))
    if problems:
        yield from problems
        return
    if "@" in urlsplit(url).netloc:
        yield Problem(path, "must not hold a user or password; use client_id and client_secret")
    elif "#" in url:
        yield Problem(path, "must not have a fragment (RFC 6749, section 3.2); remove what follows the #")
