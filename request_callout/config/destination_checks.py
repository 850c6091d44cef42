"""What the schema can't say of where requests lead: ``callouts[].request.destination`` and ``upstream.target``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from request_callout.config.destinations import host_pattern, network, plain_host
from request_callout.config.parts import items
from request_callout.config.problems import Problem
from request_callout.config.sources import Sources
from request_callout.config.template import TemplateError, parse

_NOT_IN_PATH = re.compile(r"[?#\x00-\x1f\x7f]")


def destination(rules: Mapping[str, Any], path: str) -> Iterator[Problem]:
    """``callouts[].request.destination`` at ``path``."""
    for name, read in (("allow_hosts", host_pattern), ("deny_networks", network)):
        for place, text in enumerate(items(rules, name), 1):
            if not isinstance(text, str) or not text:
                continue
            try:
                read(text)
            except ValueError as error:
                yield Problem(f"{path}.{name}[{place}]", f"{error}; {text!r} is none")


def target(parts: Mapping[str, Any], path: str, sources: Sources) -> Iterator[Problem]:
    """``upstream.target`` at ``path``."""
    for name in ("scheme", "host", "port", "path"):
        text = parts.get(name)
        yield from sources.text(text, f"{path}.{name}")
        if isinstance(text, str) and text and _is_constant(text):
            yield from _constant(name, text, f"{path}.{name}")


def _is_constant(text: str) -> bool:
    try:
        return not text.startswith("#") and parse(text).is_constant
    except TemplateError:
        return False


def _constant(name: str, text: str, path: str) -> Iterator[Problem]:
    if name == "scheme" and text.lower() not in ("http", "https"):
        yield Problem(path, f"expected http or https, not {text!r}")
    elif name == "port" and not (text.isascii() and text.isdecimal() and 1 <= int(text[:6]) <= 65535):
        yield Problem(path, f'expected a port from 1 to 65535 in quotes, such as "8443", not {text!r}')
    elif name == "path" and (not text.startswith("/") or _NOT_IN_PATH.search(text)):
        yield Problem(path, "must begin with a slash and have no ?, # or control characters; set parameters in query")
    elif name == "host":
        try:
            plain_host(text.encode("ascii").decode())
        except ValueError:  # Kong's services have no international names either
            yield Problem(path, "is no host name or address; write it without scheme, port and path")
