"""Building a callout's request from its configuration and the client's request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from request_callout.engine import json, query
from request_callout.engine.answer import INTERNAL_ERROR, TEXT_TYPE, Ended, message_answer
from request_callout.engine.bodies.request import FORM_TYPE, form_body, multipart_body
from request_callout.engine.client import DEBUG_HEADER, ClientRequest
from request_callout.engine.compiled import CompiledCallout, Customized
from request_callout.engine.expression import Scope
from request_callout.engine.params import HeaderFields, Params, ensure_json_content_type
from request_callout.transport import TransportError
from request_callout.transport.decoding import decodable
from request_callout.transport.url import parse_url
from request_callout.values import Value, raw

if TYPE_CHECKING:
    from request_callout.engine.run import Run

# Connection-level fields (RFC 9110, section 7.6.1) and those that belong to the client's message alone.
_NOT_FORWARDED = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "keep-alive", "te", "trailer", "upgrade", "expect"}
    | {"accept-encoding", DEBUG_HEADER}
)


def build(callout: CompiledCallout, run: Run) -> Params:
    """The request of one callout; raises Ended where the client's request or an expression does not allow one."""
    config = callout.config.request
    scope = run.context
    url = callout.url.render(scope)
    if callout.url.constant is None:
        check_url(url, callout.url.where)
    encoded_query = ""
    if callout.query.changes or callout.query.forward:
        url, encoded_query = _query(callout.query, url, run.client, scope)
    headers = _headers(callout.headers, run.client, scope)
    body: bytes | dict[str, Value] | None = None
    client_body = b""
    if callout.content is not None:
        body = raw(callout.content.render(scope))
        _declare(callout.headers, headers, TEXT_TYPE)
    elif callout.body.merges(decode=config.body.decode) or (callout.body.forward and not callout.body.custom):
        client_body = run.client.body
    if callout.body.custom or (callout.body.remove and client_body):
        body = _changed_body(callout, run, headers, client_body)
    elif client_body:
        body = client_body
        content_type = None if callout.headers.removes("content-type") else run.client.content_type
        if content_type is not None and "content-type" not in headers:
            headers.set("Content-Type", content_type)
    return Params(
        url=url,
        method=config.method,
        query=encoded_query,
        headers=headers,
        body=body,
        decode=config.body.decode,
        ssl_verify=config.http_opts.ssl_verify,
        ssl_server_name=config.http_opts.ssl_server_name,
        proxy=config.http_opts.proxy,
        timeouts=config.http_opts.timeouts,
    )


def _changed_body(
    callout: CompiledCallout, run: Run, headers: HeaderFields, client_body: bytes
) -> bytes | dict[str, Value]:
    """The body that ``custom`` and ``remove`` make, in the configured format; says in ``headers`` what it is."""
    config = callout.config.request.body
    if config.format == "json":
        if not any(name.lower() == "content-type" for name, _ in callout.headers.custom):
            ensure_json_content_type(headers)
        return merged_body(callout.body, client_body, run.context, typed=config.typed)
    client = run.client if client_body else None
    if config.format == "multipart":  # nobody else can know the boundary
        encoded, content_type = multipart_body(callout.body, client, run.context, typed=config.typed)
        headers.set("Content-Type", content_type)
        return encoded
    _declare(callout.headers, headers, FORM_TYPE)
    return form_body(callout.body, client, run.context, typed=config.typed)


def _declare(configured: Customized, headers: HeaderFields, content_type: str) -> None:
    """Say what the body is, in place of what the client said of its own, unless the configuration does."""
    if not any(name.lower() == "content-type" for name, _ in configured.custom):
        headers.set("Content-Type", content_type)


def check_url(url: str, where: str) -> None:
    """Raise Ended (500, and a line for the log) unless this is an http(s) URL with a host."""
    try:
        parse_url(url)
    except TransportError as error:
        reason = f"{where}: the result is no valid http or https URL: {error}"
        raise Ended(INTERNAL_ERROR, reason) from None


def merged_body(body: Customized, client_body: bytes, scope: Scope, *, typed: bool) -> dict[str, Value]:
    """The JSON object that a body's ``remove`` and ``custom`` make of the client's body.

    An empty body counts as ``{}``; raises Ended with 400 for one that is no JSON object.
    """
    result: dict[str, Value] = _json_object(client_body) if client_body else {}
    for name in body.remove:
        result.pop(name, None)
    for name, value in body.custom:
        if value is None:
            result.pop(name, None)
        else:
            result[name] = value.value(scope) if typed else value.render(scope)
    return result


def _json_object(client_body: bytes) -> dict[str, Value]:
    try:
        value = json.decode(client_body)
    except json.NotJsonError:
        raise Ended(message_answer(400, "the request body is not valid JSON")) from None
    if not isinstance(value, dict):
        raise Ended(message_answer(400, "the request body must be a JSON object"))
    return value


def rendered_headers(headers: Customized, scope: Scope) -> list[tuple[str, str | None]]:
    """The values of ``headers.custom``, None for those to be removed; raises Ended for one that is no header value."""
    result: list[tuple[str, str | None]] = []
    for name, text in headers.custom:
        value = None if text is None else text.render(scope)
        if text is not None and value is not None and not _valid_header_value(value):
            raise Ended(INTERNAL_ERROR, f"{text.where}: the result holds a line break or a NUL, which no header may")
        result.append((name, value))
    return result


def _valid_header_value(value: str) -> bool:
    return "\n" not in value and "\r" not in value and "\0" not in value


def _query(part: Customized, url: str, client: ClientRequest, scope: Scope) -> tuple[str, str]:
    base, own = query.split_url(url)
    gone = part.gone
    forwarded = query.without(client.raw_query, gone) if part.forward else ""
    custom = query.encode_pairs((name, text.render(scope)) for name, text in part.custom if text is not None)
    return query.with_query(base, query.without(own, gone)), query.joined(forwarded, custom)


def _headers(part: Customized, client: ClientRequest, scope: Scope) -> HeaderFields:
    fields = HeaderFields()
    if part.forward:
        _forward(client.headers, fields)
    for name in part.remove:
        fields.remove(name)
    for name, value in rendered_headers(part, scope):
        if value is None:
            fields.remove(name)
        else:
            fields.set(name, value)
    return fields


def _forward(headers: Mapping[str, str | list[str]], fields: HeaderFields) -> None:
    connection = headers.get("connection", "")
    listed = ",".join(connection) if isinstance(connection, list) else connection
    dropped = _NOT_FORWARDED | {name.strip().lower() for name in listed.split(",")}
    for name, value in headers.items():
        if name not in dropped and not name.startswith("proxy-"):
            fields.set(name, value)
    accepted = headers.get("accept-encoding")
    if accepted is not None:
        # Of what the client accepts only that is asked for which can be decoded here.
        coding = decodable(accepted if isinstance(accepted, str) else ",".join(accepted))
        if coding is not None:
            fields.set("Accept-Encoding", coding)
