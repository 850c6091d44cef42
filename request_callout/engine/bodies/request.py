"""A callout's body of fields that is no JSON: as a form (WHATWG URL Standard, section 5) or multipart (RFC 7578)."""

from __future__ import annotations

from collections.abc import Iterable

from request_callout.engine import json, query
from request_callout.engine.answer import Ended, message_answer
from request_callout.engine.bodies.response import MAX_FIELDS
from request_callout.engine.client import ClientRequest, collect, parse_query
from request_callout.engine.compiled import Customized
from request_callout.engine.expression import Scope, Text
from request_callout.engine.multipart import MULTIPART_TYPE, decode_multipart, encode_multipart
from request_callout.values import Value, raw, text

FORM_TYPE = "application/x-www-form-urlencoded"

Fields = list[tuple[str, str]]


def form_body(body: Customized, client: ClientRequest | None, scope: Scope, *, typed: bool) -> bytes:
    """The fields of ``body`` as a form; those of the client's form that are not set or removed stay byte for byte.

    ``client`` is given where its body is to be merged. Raises Ended with 400 for one without fields.
    """
    kept = ""
    if client is not None and client.body:
        if _media_type(client.content_type) == MULTIPART_TYPE:
            kept = _form(_client_fields(client, body.gone))
        else:
            _check_form(client)
            kept = query.without(text(client.body), body.gone)
    return raw(query.joined(kept, _form(_custom_fields(body, scope, typed=typed))))


def multipart_body(body: Customized, client: ClientRequest | None, scope: Scope, *, typed: bool) -> tuple[bytes, str]:
    """The fields of ``body`` as multipart, each a text, and the ``Content-Type`` that it needs."""
    fields = _custom_fields(body, scope, typed=typed)
    if client is not None and client.body:
        fields = _client_fields(client, body.gone) + fields
    return encode_multipart(fields)


def _custom_fields(body: Customized, scope: Scope, *, typed: bool) -> Fields:
    return [
        (name, one) for name, value in body.custom if value is not None for one in _texts(value, scope, typed=typed)
    ]


def _texts(value: Text, scope: Scope, *, typed: bool) -> Iterable[str]:
    """A field's values: several for a list, none for null, JSON for a table."""
    if not typed:
        return (value.render(scope),)
    found = value.value(scope)
    every = found if isinstance(found, list) else [found]
    return [_one_text(one) for one in every if one is not None]


def _one_text(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    said = json.lua_text(value)
    return text(json.encode(value)) if said is None else said


def _client_fields(client: ClientRequest, gone: frozenset[str]) -> Fields:
    """The fields of the client's form, urlencoded or multipart, that stay."""
    content_type = client.content_type
    found: dict[str, Value] | None
    if _media_type(content_type) == MULTIPART_TYPE:
        found = decode_multipart(client.body, content_type or "")
        if found is None:
            raise Ended(message_answer(400, f"the request body is not valid {MULTIPART_TYPE}"))
    else:
        _check_form(client)
        found = dict(collect(parse_query(text(client.body))))
    return [
        (name, one if isinstance(one, str) else "")
        for name, value in found.items()
        if name not in gone
        for one in (value if isinstance(value, list) else [value])
    ]


def _check_form(client: ClientRequest) -> None:
    content_type = client.content_type
    if content_type is not None and _media_type(content_type) != FORM_TYPE:
        raise Ended(message_answer(400, f"the request body must be a form ({FORM_TYPE} or {MULTIPART_TYPE})"))
    if client.body.count(b"&") >= MAX_FIELDS:
        raise Ended(message_answer(400, f"the request body is a form with more than {MAX_FIELDS} fields"))


def _media_type(content_type: str | None) -> str:
    return (content_type or "").partition(";")[0].strip().lower()


def _form(fields: Fields) -> str:
    return query.encode_pairs(fields)
