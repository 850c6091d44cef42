"""Secrets replaced by placeholders, ``redacted-1`` and so on: one for each value, so that a change stays visible.

A secret is what has a name of one (a header, a member of JSON, a field of a form or a query) or what the configuration
says is one; once known, it is replaced wherever it stands. The same placeholders are in recordings, and stand there for
anything (``transport.recorded``).
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterable
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus, unquote_plus

import orjson

from request_callout.engine.secret_names import is_secret, secret_members
from request_callout.transport.exchanges import Exchange
from request_callout.transport.recorded import PLACEHOLDER
from request_callout.values import raw, text

_WHOLE = re.compile(r"secret|passw|credential|cookies", re.IGNORECASE)
_HOST = re.compile(r"(\[[^\]]*\]|[^:]*)(.*)", re.DOTALL)
_MEMBER = re.compile(r'"([^"\\]{1,100})"(\s{0,9}:\s{0,9})"((?:[^"\\]|\\.)*)"', re.DOTALL)
"""A member in what is no JSON: cut off, or nested deeper than is read."""
_SHORTEST = 6
_DEEPEST = 100
_TOO_DEEP = "(nested too deep)"


class Redactor:
    """Knows the secrets of one request. What is shown first has to be looked through first, too.

    Placeholders that are there already stay; ``taken`` is the highest number among them.
    """

    def __init__(self, configured: Iterable[str] = (), taken: int = 0) -> None:
        self._taken = taken
        self._numbers: dict[str, str] = {}
        self._forms: dict[str, str] = {}
        for secret in configured:
            if secret.startswith(("http://", "https://")):
                self._learn_url(secret)
            self.secret(secret)

    def secret(self, value: str) -> str:
        """The placeholder of a secret."""
        if PLACEHOLDER.fullmatch(value) or value in self._numbers:
            return self._placeholder(value)
        placeholder = self._placeholder(value)
        for form in (value, quote(value, safe=""), quote_plus(value), quote(value), _in_json(value)):
            self._hide(form, placeholder)
        return placeholder

    def _placeholder(self, value: str) -> str:
        if PLACEHOLDER.fullmatch(value):
            return value
        return self._numbers.setdefault(value, f"redacted-{self._taken + len(self._numbers) + 1}")

    def _hide(self, form: str, shown: str) -> None:
        if len(form) >= _SHORTEST:
            self._forms.setdefault(form, shown)
            self._forms = dict(sorted(self._forms.items(), key=lambda one: len(one[0]), reverse=True))

    def _learn_url(self, url: str) -> None:
        """Hide the parts of a URL one by one: it stays a URL, which a recording can be searched for."""
        base, _, query = url.partition("#")[0].partition("?")
        scheme, _, rest = base.partition("://")
        authority, slash, path = rest.partition("/")
        host, port = _HOST.findall(authority.rpartition("@")[2])[0]
        shown_host = self._placeholder(host)
        shown_path = slash + "/".join(self._placeholder(piece) if piece else "" for piece in path.split("/"))
        self._hide(f"{scheme}://{host}{port}{slash}{path}", f"{scheme}://{shown_host}{port}{shown_path}")
        self._hide(f"{scheme}://{host}", f"{scheme}://{shown_host}")
        self._hide(slash + path, shown_path)
        if "." in host or ":" in host:  # else it may be any word
            self._hide(host, shown_host)
        for _, value in parse_qsl(query):
            self.secret(value)

    def text(self, value: str) -> str:
        """A text without the secrets that are known."""
        for form, placeholder in self._forms.items():
            if form in value:
                value = value.replace(form, placeholder)
        return value

    def exchange(self, one: Exchange) -> Exchange:
        """An exchange without secrets; coded bodies have to be decoded before."""
        return replace(
            one,
            url=self.url(one.url),
            request_headers=self.headers(one.request_headers),
            request_body=self.body(one.request_body),
            response_headers=self.headers(one.response_headers),
            response_body=self.body(one.response_body),
            failure=one.failure and replace(one.failure, message=self.text(one.failure.message)),
        )

    def url(self, url: str) -> str:
        """A URL without user info, and without the values that have a secret's name in its query."""
        base, mark, query = url.partition("?")
        scheme, slashes, rest = base.partition("://")
        if slashes:
            authority, slash, path = rest.partition("/")
            user, at, host = authority.rpartition("@")
            if at:
                self.secret(user.partition(":")[2] or user)
            base = f"{scheme}{slashes}{host}{slash}{path}"
        return self.text(base + mark) + self.query(query)

    def query(self, query: str) -> str:
        """A query, or a form, without the values that have a secret's name."""
        return "&".join(self._field(piece) for piece in query.split("&"))

    def _field(self, piece: str) -> str:
        name, equals, value = piece.partition("=")
        if value and is_secret(unquote_plus(name)):
            return f"{name}={self.secret(unquote_plus(value))}"
        return self.text(f"{name}{equals}{value}")

    def headers(self, headers: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
        """Header lines without secrets."""
        return tuple((name, self.header(name, value)) for name, value in headers)

    def header(self, name: str, value: str) -> str:
        """The value of a header."""
        if not value or not is_secret(name):
            return self.query_in(value) if "?" in value else self.text(value)
        lower = name.lower()
        if lower == "set-cookie":
            pair, semicolon, attributes = value.partition(";")
            cookie, _, content = pair.partition("=")
            return f"{cookie}={self.secret(content.strip())}{semicolon}{attributes}"
        if lower == "cookie":
            pairs = [pair.strip().partition("=") for pair in value.split(";")]
            return "; ".join(f"{cookie}={self.secret(content)}" if content else cookie for cookie, _, content in pairs)
        scheme, blank, rest = value.partition(" ")
        if blank and scheme.lower() in ("bearer", "basic", "digest", "negotiate", "token", "apikey"):
            if scheme.lower() == "basic":
                self._learn_basic(rest)
            return f"{scheme} {self.secret(rest)}"
        return self.secret(value)

    def query_in(self, value: str) -> str:
        """A text that may be a URL with a query."""
        return self.url(value) if re.match(r"(https?://|/)[^\s?]*\?[^\s]*$", value) else self.text(value)

    def _member(self, name: str, value: str) -> str:
        """A member that is a secret; such as headers have it, its scheme stays."""
        return self.header(name, value) if is_secret(name) or not value else self.secret(value)

    def _learn_basic(self, credentials: str) -> None:
        try:
            password = b64decode(credentials).decode().partition(":")[2]
        except ValueError:
            return
        if password:
            self.secret(password)

    def body(self, data: bytes) -> bytes:
        """A body: by its structure if it is JSON or a form."""
        if not data:
            return data
        try:
            content = data.decode()
        except UnicodeDecodeError:
            return raw(self.text(text(data)))
        decoded = _json(content)
        if isinstance(decoded, (dict, list)):
            hidden = self.value(decoded)
            return data if hidden == decoded else orjson.dumps(hidden)
        if re.fullmatch(r"[\w.%+*\[\]-]+=[^\s&]*(&[\w.%+*\[\]-]*=?[^\s&]*)*", content):
            return self.query(content).encode()
        return self.text(_MEMBER.sub(self._written_member, content)).encode()

    def _written_member(self, found: re.Match[str]) -> str:
        name, between, value = found.groups()
        return f'"{name}"{between}"{self.secret(value)}"' if value and is_secret(name) else found[0]

    def context(self, callouts: dict[str, Any]) -> dict[str, Any]:
        """The context of callouts: their names say nothing of what is in it."""
        return {name: self.value(one) for name, one in callouts.items()}

    def value(self, value: Any, *, hide: bool = False, depth: int = 0) -> Any:
        """A value of JSON; what is nested so deep that nobody reads it is left out."""
        if depth > _DEEPEST:
            return _TOO_DEEP
        if isinstance(value, str):
            if hide and value:
                return self.secret(value)
            return self.query_in(value) if "?" in value else self.text(value)
        if isinstance(value, list):
            return [self.value(one, hide=hide, depth=depth + 1) for one in value]
        if isinstance(value, dict):
            secret = secret_members(value)
            return {
                name: self._member(str(name), one)
                if isinstance(one, str) and name in secret
                else self.value(one, hide=hide or (name in secret and _hides(str(name), one)), depth=depth + 1)
                for name, one in value.items()
            }
        return 0 if hide and isinstance(value, (int, float)) and not isinstance(value, bool) else value


def _hides(name: str, value: Any) -> bool:
    """Whether all in a member that has a secret's name is secret: in an object only where the name leaves no doubt."""
    return not isinstance(value, dict) or _WHOLE.search(name) is not None


def _in_json(value: str) -> str:
    return orjson.dumps(value.encode("utf-8", "replace").decode()).decode()[1:-1]


def _json(content: str) -> Any:
    if content.lstrip()[:1] not in ("{", "["):
        return None
    try:
        return orjson.loads(content)
    except ValueError:
        return None
