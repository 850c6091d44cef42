"""What of a message may be shown to people: its secrets replaced by ``***``, before anything is cut off.

A secret is what has a name of one (a header, a member of JSON, a field of a form, an element of XML), what the
configuration says is one, and what was learnt on the way: the values of such headers, tokens in use. Those are hidden
wherever they are repeated. Queries show their names only, as everywhere in logs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import quote, unquote_plus

from request_callout.engine import json
from request_callout.engine.request_secrets import secrets_in_body, secrets_in_header, secrets_in_query
from request_callout.engine.secret_names import WORDS, is_secret, secret_members
from request_callout.engine.sharing import shown_url
from request_callout.values import Value

HIDDEN = "***"
MAX_BODY_BYTES = 256 * 1024
"""Of a larger body nothing is shown: to look for secrets in it would take too long."""

_SHORTEST_LEARNT = 6
_MOST_LEARNT = 400
"""With more nothing is shown: to look for them takes the product of secrets and texts, both of which are anybody's."""
_DEEPEST = 100

# All repetitions are bounded or can't overlap: the texts are anybody's.
_ASSIGNED = re.compile(
    rf"((?:{WORDS})[\w.-]{{0,40}}[\"']?\s{{0,5}}[:=]\s{{0,5}})"
    r"(\"(?:[^\"\\]|\\.)*\"?|'(?:[^'\\]|\\.)*'?|[^\s&;,<>\"']+)",
    re.IGNORECASE | re.DOTALL,
)
_FIELD_LINE = re.compile(r"((?:authorization|cookie)[\"']?\s{0,5}[:=]\s{0,5})[^\r\n]+", re.IGNORECASE)
_SCHEME = re.compile(r"\b(bearer|basic|negotiate)\s{1,5}[\w.~+/=-]{6,}", re.IGNORECASE)
_ELEMENT = re.compile(
    rf"(<(?:[\w.-]{{1,40}}:)?[\w.-]{{0,60}}?(?:{WORDS})[\w.-]{{0,40}}(?:\s[^<>]{{0,1000}})?>)"
    r"((?:<!\[CDATA\[.*?(?:\]\]>|\Z)|[^<]+)+)",
    re.IGNORECASE | re.DOTALL,
)
_USER_INFO = re.compile(r"(://)[^/\s@\"'<>]{1,1000}@")
_QUERY = re.compile(r"\?[^\s\"'<>#]*")
_PART_NAME = re.compile(r"(?<![\w*-])name=\"?([^\";\r\n]{1,200})", re.IGNORECASE)
_BOUNDARY = re.compile(r"boundary=\"?([^\";\s]+)", re.IGNORECASE)
_WITH_URL = frozenset({"location", "content-location", "referer", "refresh", "link", "origin"})

Headers: TypeAlias = "Iterable[tuple[str, str | list[str]]]"


@dataclass(frozen=True, slots=True)
class Body:
    """A body for people: its length in bytes, and its text without secrets or why there is none."""

    size: int
    text: str | None
    note: str | None = None


class Mask:
    """Takes the secrets of one proxied request out of texts; ``of_configuration`` does so with the configured ones."""

    def __init__(self, of_configuration: Callable[[str], str]) -> None:
        self._of_configuration = of_configuration
        self._learnt: set[str] = set()
        self._ordered: list[str] = []

    def learn(self, value: str) -> None:
        """Hide this value from now on, wherever it stands."""
        for form in (value, quote(value, safe="")):
            if len(form) >= _SHORTEST_LEARNT and form not in self._learnt:
                self._learnt.add(form)
                self._ordered.clear()

    @property
    def _crowded(self) -> bool:
        return len(self._learnt) > _MOST_LEARNT

    def learn_headers(self, headers: Headers) -> None:
        """Learn the values of those headers that are secrets, with what is in them."""
        for name, value in _lines(headers):
            if is_secret(name):
                for secret in secrets_in_header(value):
                    self.learn(secret)

    def learn_message(self, query: str, headers: Headers, body: bytes | None) -> None:
        """Learn what is secret in a request or a response: in its query, its headers, and its body if that is short."""
        self.learn_headers(headers)
        for secret in (*secrets_in_query(query), *secrets_in_body(body or b"")):
            self.learn(secret)

    def text(self, value: str) -> str:
        """A text of any kind."""
        if ":" in value or "=" in value:
            value = _USER_INFO.sub(rf"\1{HIDDEN}@", value)
            value = _FIELD_LINE.sub(rf"\1{HIDDEN}", value)
            value = _ASSIGNED.sub(rf"\1{HIDDEN}", value)
        if "<" in value:
            value = _ELEMENT.sub(rf"\1{HIDDEN}", value)
        return self.known(_SCHEME.sub(rf"\1 {HIDDEN}", value))

    def known(self, value: str) -> str:
        """A text, without the secrets that are known by their value."""
        if self._crowded:
            return HIDDEN
        value = self._of_configuration(value)
        if self._learnt and not self._ordered:
            self._ordered = sorted(self._learnt, key=len, reverse=True)
        for secret in self._ordered:
            value = value.replace(secret, HIDDEN)
        return value.encode("utf-8", "backslashreplace").decode()

    def url(self, url: str) -> str:
        """A URL without user info and without the values of its query."""
        return self.text(shown_url(url))

    def query(self, raw_query: str) -> str:
        """The names in a query."""
        return self.text("&".join(_named(piece) for piece in raw_query.split("&") if piece))

    def headers(self, headers: Headers) -> list[list[str]]:
        """Names and values, a pair for each line."""
        return [[self.known(name), self.header(name, value)] for name, value in _lines(headers)]

    def header(self, name: str, value: str) -> str:
        """The value of a header of this name."""
        if is_secret(name):
            return HIDDEN
        if "://" in value or name.lower() in _WITH_URL:
            value = _QUERY.sub(lambda match: "?" + self.query(match.group()[1:]), value)
        return self.text(value)

    def body(self, data: bytes | None, content_type: str | None = None) -> Body | None:
        """A body: by its structure where it has one."""
        if not data:
            return None
        if len(data) > MAX_BODY_BYTES:
            return Body(len(data), None, "larger than 256 KiB, not shown")
        if self._crowded:
            return Body(len(data), None, "too many secrets in this request, not shown")
        try:
            content = data.decode()
        except UnicodeDecodeError:
            return Body(len(data), None, "binary, not shown")
        kind = (content_type or "").lower()
        if "x-www-form-urlencoded" in kind:
            return Body(len(data), "&".join(map(self._field, content.split("&"))))
        if "multipart/" in kind:
            return Body(len(data), self._multipart(content, content_type or ""))
        return Body(len(data), self._json(content) or self.text(content))

    def value(self, value: Value, depth: int = 0) -> Value:
        """A value of JSON."""
        if isinstance(value, str):
            return self.text(value)
        if depth > _DEEPEST and isinstance(value, (dict, list)):
            return HIDDEN
        if isinstance(value, list):
            return [self.value(one, depth + 1) for one in value]
        if not isinstance(value, dict):
            return value
        gone = secret_members(value)
        return {
            self.known(str(name)): HIDDEN
            if name in gone and not (one is None or isinstance(one, bool))
            else self.value(one, depth + 1)
            for name, one in value.items()
        }

    def _json(self, content: str) -> str | None:
        if content.lstrip()[:1] not in ("{", "[", '"'):
            return None
        try:
            return json.encode(self.value(json.decode(content.encode()))).decode()
        except (json.NotJsonError, TypeError, ValueError):
            return None

    def _field(self, piece: str) -> str:
        name, equals, value = piece.partition("=")
        if equals and is_secret(unquote_plus(name)):
            return f"{name}={HIDDEN}"
        return self.text(f"{name}{equals}{value}")

    def _multipart(self, content: str, content_type: str) -> str:
        boundary = _BOUNDARY.search(content_type)
        if boundary is None:
            return self.text(content)
        mark = f"--{boundary[1]}"
        return mark.join(map(self._part, content.split(mark)))

    def _part(self, part: str) -> str:
        head, gap, _ = part.partition("\r\n\r\n")
        name = _PART_NAME.search(head)
        if gap and name is not None and is_secret(name.group(1)):
            return f"{head}{gap}{HIDDEN}\r\n"
        return self.text(part)


def _lines(headers: Headers) -> Iterator[tuple[str, str]]:
    for name, value in headers:
        for one in value if isinstance(value, list) else (value,):
            yield name, str(one)


def _named(piece: str) -> str:
    name, equals, _ = piece.partition("=")
    return f"{name}={HIDDEN}" if equals else name
