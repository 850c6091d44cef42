"""``kong.response``: what is set for the answer to the client, and answers of Kong's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from request_callout.engine import error_page
from request_callout.engine.answer import JSON_TYPE
from request_callout.gateway.exchange import Exchange, Exit
from request_callout.gateway.pdk.arguments import (
    Exited,
    PdkFailure,
    Surroundings,
    checked_headers,
    header_values,
    json_text,
    safe_name,
    string,
    wrong_phase,
)
from request_callout.values import Value, raw, text


def _set_response_header(x: Exchange, around: Surroundings, name: Value = None, value: Value = None) -> None:
    values = header_values(name, value)
    if str(name).lower().replace("_", "-") != "transfer-encoding":
        x.response_headers.set(safe_name(str(name).replace("_", "-")), values)


def _add_response_header(x: Exchange, around: Surroundings, name: Value = None, value: Value = None) -> None:
    for one in header_values(name, value):
        x.response_headers.add(safe_name(str(name)), one)


def _set_response_headers(x: Exchange, around: Surroundings, headers: Value = None) -> None:
    for name, values in checked_headers(headers).items():
        if name.lower().replace("_", "-") != "transfer-encoding":
            x.response_headers.set(safe_name(name.replace("_", "-")), values)


def _clear_response_header(x: Exchange, around: Surroundings, name: Value = None) -> None:
    x.response_headers.clear(string(name, "header name"))


def _exit_headers(headers: Value) -> dict[str, list[str]]:
    if headers is not None and not isinstance(headers, (dict, list)):
        raise PdkFailure("headers must be a nil or table")
    return {} if headers is None else checked_headers(headers)


def _set_status(x: Exchange, around: Surroundings, status: Value = None) -> None:
    # The upstream's status replaces it, and so does an exit: here it is only checked.
    _status(status, 100)


def _status(status: Value, lowest: int) -> int:
    if not isinstance(status, (int, float)) or isinstance(status, bool):
        raise PdkFailure("code must be a number")
    if not lowest <= status <= 599:
        raise PdkFailure(f"code must be a number between {lowest} and 599")
    return int(status)


def _exit(x: Exchange, around: Surroundings, status: Value = None, body: Value = None, headers: Value = None) -> None:
    code = _status(status, 100)
    if body is not None and not isinstance(body, (str, bytes, dict, list)):
        raise PdkFailure("body must be a nil, string or table")
    given = _exit_headers(headers)
    lines = [(safe_name(name.replace("_", "-")), tuple(values)) for name, values in given.items()]
    lines = [line for line in lines if line[0].lower() != "transfer-encoding"]
    content: bytes | None
    if isinstance(body, (dict, list)):
        content = json_text(body)
        if not any(name.lower() == "content-type" for name, _ in lines):
            lines.append(("Content-Type", (JSON_TYPE,)))
    else:
        content = raw(body) if isinstance(body, str) else body
    _answer(x, Exit(code, content, tuple(lines)))


def _error(
    x: Exchange, around: Surroundings, status: Value = None, message: Value = None, headers: Value = None
) -> None:
    code = _status(status, 400)
    if isinstance(message, (dict, list)):
        message = text(json_text(message))
    if message is not None and not isinstance(message, str):
        raise PdkFailure("message must be a nil, a string or a table")
    given = _exit_headers(headers)
    lines = [(safe_name(name), tuple(values)) for name, values in given.items()]
    error_exit(x, code, message, lines)
    raise Exited


def error_exit(
    x: Exchange, status: int, message: str | None = None, headers: Sequence[tuple[str, tuple[str, ...]]] = ()
) -> None:
    """Give the exchange an error answer of Kong's own form."""
    if x.exit is not None:
        return
    kind = next((values[0] for name, values in headers if name.lower() == "content-type" and values), None)
    lines = list(headers)
    if kind is None:
        kind = error_page.content_type(x.headers.all("accept"))
        lines.append(("Content-Type", (kind,)))
    x.exit = Exit(status, error_page.body(kind, status, message, x.request_id), tuple(lines))


def _answer(x: Exchange, exit_: Exit) -> None:
    if x.exit is None:
        x.exit = exit_
    raise Exited


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "kong.response.add_header": _add_response_header,
    "kong.response.clear_header": _clear_response_header,
    "kong.response.error": _error,
    "kong.response.exit": _exit,
    "kong.response.get_header": wrong_phase("response, header_filter, body_filter, log, error, admin_api"),
    "kong.response.get_headers": wrong_phase("response, header_filter, body_filter, log, error, admin_api"),
    "kong.response.get_source": wrong_phase("response, header_filter, body_filter, log, error, admin_api"),
    "kong.response.get_status": wrong_phase("response, header_filter, body_filter, log, error, admin_api"),
    "kong.response.set_header": _set_response_header,
    "kong.response.set_headers": _set_response_headers,
    "kong.response.set_status": _set_status,
}
