"""What the bytes of a callee's response mean, by ``response.body.format``."""

from __future__ import annotations

from collections.abc import Mapping

from request_callout.config.model import ResponseFormat
from request_callout.engine import json
from request_callout.engine.bodies.charset import CharsetError, charset_of, decode_charset, is_known
from request_callout.engine.bodies.xml import NotXmlError, decode_xml
from request_callout.engine.client import collect, parse_query
from request_callout.values import Value, text

MAX_FIELDS = 100_000
"""Fields of a form: each costs many times its size in memory."""


class UndecodableBody(ValueError):
    """A body that is not of its format; the message is for people."""


def decode_body(body: bytes, body_format: ResponseFormat, headers: Mapping[str, str | list[str]]) -> Value:
    """The value of a body; raises UndecodableBody. ``headers`` have their names in lower case.

    An empty body is None; for ``text`` it is text as any other. Form and XML give tables (see ``xml``; in a form a
    repeated name is a list, and a name without ``=`` is True, as in a query), text is in UTF-8 if its charset is known,
    else the bytes as they came.
    """
    if body_format == "text":
        return _text(body, _charset(headers))
    if not body:
        return None
    try:
        if body_format == "json":
            return json.decode(body)
        if body_format == "xml":
            charset = _charset(headers)
            return decode_xml(body, charset if is_known(charset) else None)
    except json.NotJsonError as error:
        raise UndecodableBody(f"the response body is not JSON: {error}") from None
    except NotXmlError as refused:
        raise UndecodableBody(f"the response body is no XML that can be read: {refused}") from None
    if body.count(b"&") >= MAX_FIELDS:
        raise UndecodableBody(f"the response body is a form with more than {MAX_FIELDS} fields")
    return collect(parse_query(text(body)))


def _charset(headers: Mapping[str, str | list[str]]) -> str | None:
    content_type = headers.get("content-type")
    return charset_of(content_type[0] if isinstance(content_type, list) else content_type)


def _text(body: bytes, charset: str | None) -> str:
    if charset is None or not is_known(charset):
        return text(body)
    try:
        return decode_charset(body, charset)
    except CharsetError as error:
        raise UndecodableBody(f"the response body is not in its charset: {error}") from None
