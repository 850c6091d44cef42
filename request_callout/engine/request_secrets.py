"""The secrets of one request, to be hidden where it is told why something failed.

A script, or a message about what an expression gave, may quote what came from the client, from Kong and from callees.
Secret is what has a name of one, in whatever is given by names (headers, parameters, members of JSON and of forms), and
the values of the client's query.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import quote

from request_callout.engine import json
from request_callout.engine.client import parse_query
from request_callout.engine.redaction import Redaction
from request_callout.engine.secret_names import secret_members
from request_callout.values import Value, raw

if TYPE_CHECKING:
    from request_callout.engine.run import Run

Told: TypeAlias = "dict[tuple[str, str | None], list[Value]]"
"""What calls of the PDK gave to scripts, by the method and what it was asked for by name."""

_DEEPEST = 20
_LONGEST_BODY = 1024 * 1024
"""More than this, in all bodies together, is not looked through: it would hold the worker up for seconds."""
_NOT_TOLD = f"(why is not told: bodies of over {_LONGEST_BODY} bytes are not looked through for secrets)"
_PLACE = re.compile(r"(callouts?[ .][^:]{1,100}: )?(config[.\w\[\]-]+: |by_lua: )?(line [0-9]+: )?")
_QUERIES = frozenset({"kong.request.get_raw_query", "kong.request.get_query", "kong.request.get_query_arg"})
_PATHS = frozenset({"kong.request.get_path_with_query", "kong.request.get_raw_path_with_query"})


def without_secrets(text: str, run: Run) -> str:
    """A text about the request without its secrets; it takes a while, and is for what went wrong."""
    if _bytes(run) > _LONGEST_BODY:
        return text if _is_ours(text, run) else _place(text) + _NOT_TOLD
    secrets = {secret for found in (_of_client(run), _of_callouts(run), _of_calls(run.told)) for secret in found}
    return Redaction(form for secret in secrets for form in _forms(secret)).text(text)


def _is_ours(text: str, run: Run) -> bool:
    """Whether a text is that of a callout's error, which quotes nothing."""
    return any(call.failure and text.endswith(call.failure) for call in run.calls)


def _place(text: str) -> str:
    """Where in the configuration something failed, as messages begin."""
    found = _PLACE.match(text)
    return "" if found is None else found[0]


def _bytes(run: Run) -> int:
    """How much there is to look through."""
    client = len(run.client.body) if run.client.has("body") else 0
    asked = sum(len(value) for values in run.told.values() for value in values if isinstance(value, str))
    return client + asked + sum(record.body_bytes for record in run.context.records.values())


def _forms(secret: str) -> Iterator[str]:
    yield secret
    yield secret.lower()
    yield quote(secret, safe="", errors="surrogateescape")


def _of_client(run: Run) -> Iterator[str]:
    client = run.client
    if client.has("headers"):
        yield from _named(client.headers)
    if client.has("raw_query"):
        yield from _in_query(client.raw_query)
    if client.has("body"):
        yield from secrets_in_body(client.body)


def _of_callouts(run: Run) -> Iterator[str]:
    for record in run.context.records.values():
        yield from _named(record.table(secrets=False))


def _of_calls(told: Told) -> Iterator[str]:
    for (method, about), values in told.items():
        for value in values:
            yield from _of_call(method, about, value)


def _of_call(method: str, about: str | None, value: Value) -> Iterator[str]:
    if method in _QUERIES:
        yield from _in_query(value) if method == "kong.request.get_raw_query" else _texts(value)
    elif method in _PATHS and isinstance(value, str):
        yield from _in_query(value.partition("?")[2])
    elif isinstance(value, str):
        yield from secrets_in_body(raw(value)) if about is None else _named({about: value})
    else:
        yield from _named(value)


def _named(value: Value, depth: int = 0) -> Iterator[str]:
    """The secrets in what is given by names, however deep."""
    if isinstance(value, list) and depth < _DEEPEST:
        for one in value:
            yield from _named(one, depth + 1)
    elif isinstance(value, dict) and depth < _DEEPEST:
        secret = secret_members(value)
        for name, one in value.items():
            if name in secret:
                for text in _texts(one):
                    yield from secrets_in_header(text)
            else:
                yield from _named(one, depth + 1)
    elif isinstance(value, str) and depth:
        yield from secrets_in_body(raw(value))


def _texts(value: Value, depth: int = 0) -> Iterator[str]:
    """All texts in a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)) and depth < _DEEPEST:
        for one in value.values() if isinstance(value, dict) else value:
            yield from _texts(one, depth + 1)


def _in_query(raw_query: Value) -> Iterator[str]:
    if isinstance(raw_query, str):
        yield from (value for _, value in parse_query(raw_query) if isinstance(value, str))


def secrets_in_body(body: bytes) -> Iterator[str]:
    """The secrets in a body that is JSON or a form, by the names of what has a name."""
    if not body or len(body) > _LONGEST_BODY:
        return
    if body.lstrip()[:1] in (b"{", b"["):
        try:
            yield from _named(json.decode(body))
        except (json.NotJsonError, ValueError):
            return
    elif b"=" in body:
        yield from secrets_in_query(body.decode("utf-8", "surrogateescape"))


def secrets_in_query(raw_query: str) -> Iterator[str]:
    """The values in a query, or a form, whose names are those of secrets."""
    for name, value in parse_query(raw_query):
        if isinstance(value, str):
            yield from _named({name: value})


def secrets_in_header(value: str) -> Iterator[str]:
    """All of a value, and what of it may be quoted without the rest: after a scheme, in a cookie, in Base64."""
    yield value
    yield from (pair.partition("=")[2].strip().strip('"') for pair in value.split(";") if "=" in pair)
    scheme, blank, rest = value.partition(" ")
    if blank:
        yield rest.strip()
    if scheme.lower() == "basic":
        try:
            yield b64decode(rest.strip()).decode().partition(":")[2]
        except ValueError:
            return
