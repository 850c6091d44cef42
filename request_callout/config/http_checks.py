"""What HTTP asks of methods, headers and URLs that stand in a configuration."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from request_callout.config import destinations
from request_callout.config.problems import Problem
from request_callout.config.sources import Sources
from request_callout.config.template import TemplateError, parse

# RFC 9110, section 5.6.2
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_LINE_BREAK = re.compile(r"[\r\n\0]")
_PORT = re.compile(r"(?:[^/?#@]*@)?(?:\[[^\]]*\]|[^\[\]/?#:]+):[^/?#]+")
_SPACE = re.compile(r"[\x00-\x20\x7f]")


def method(name: Any, path: str) -> Iterator[Problem]:
    """The name of a method."""
    if isinstance(name, str) and name and not _TOKEN.fullmatch(name):
        yield Problem(path, f"{name!r} is no HTTP method; use one like GET or POST")


def headers(values: Mapping[str, Any], path: str, sources: Sources) -> Iterator[Problem]:
    """Headers to set: their names, and values that may hold expressions."""
    for name, value in values.items():
        yield from sources.text(value, f"{path}.{name}")
        yield from header_name(name, f"{path}.{name}")
        yield from header_value(value, f"{path}.{name}")


def header_name(name: Any, path: str) -> Iterator[Problem]:
    """The name of a header."""
    if isinstance(name, str) and not _TOKEN.fullmatch(name):
        yield Problem(path, f"{name!r} is no header name; use letters, digits and hyphens")


def header_value(value: Any, path: str) -> Iterator[Problem]:
    """The value of a header, but for what its expressions give."""
    if not isinstance(value, str):
        return
    try:
        parts = parse(value).parts
    except TemplateError:
        return
    if any(isinstance(part, str) and _LINE_BREAK.search(part) for part in parts):
        hint = "; in YAML use |- in place of | to have none at the end" if value.endswith("\n") else ""
        yield Problem(path, f"a header value must not hold line breaks; remove them{hint}")


def url(text: str, path: str, schemes: tuple[str, ...] = ("http", "https")) -> Iterator[Problem]:
    """A URL without expressions."""
    try:
        parts = urlsplit(text)
        valid = parts.scheme in schemes and _is_host(parts.netloc, parts.hostname or "") and not _SPACE.search(text)
        valid = valid and (parts.port is None or parts.port > 0)
    except (ValueError, OSError):
        valid = False
    if not valid:
        example = " or ".join(f"{scheme}://host/path" for scheme in schemes)
        yield Problem(path, f"is no valid URL{_reason(text, schemes)}; write {example}")


def _reason(text: str, schemes: tuple[str, ...]) -> str:
    """Why a text is no URL; empty if that can't be said better than by an example."""
    scheme, mark, rest = text.partition("://")
    if "{{" in text:
        return ": a template stands in it that nothing replaces; validate what Helm or the like makes of this file"
    if "${" in text:
        return ": ${...} is not replaced; take the value from a vault, as {vault://env/NAME}, or let decK put it in"
    if text != text.strip():
        return ": it has blanks or line breaks at an end (in YAML | keeps one, |- does not)"
    if " " in text:
        return ": it has a blank in it, which is %20 in a URL"
    if _SPACE.search(text):
        return ": it has a control character in it"
    if not mark:
        return f": it has no {schemes[0]}:// at its beginning"
    if scheme.lower() not in schemes:
        return f": {scheme}:// can't be called"
    if _PORT.match(rest):
        return ": the port has to be a number from 1 to 65535"
    return ": no host can have such a name" if re.match(r"[^/?#\[\]\\]", rest) else ""


def _is_host(netloc: str, hostname: str) -> bool:
    """Whether this may be a host that the HTTP client takes; raises ValueError or OSError if not.

    A backslash is none's: some readers take it for a slash.
    """
    if netloc.rpartition("@")[2].startswith("["):
        socket.inet_pton(socket.AF_INET6, hostname)
    else:
        destinations.ascii_host(hostname)
    return "\\" not in netloc
