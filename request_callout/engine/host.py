"""What scripts of one proxied request reach of Kong: the PDK, with what a wire protocol lacks made from what it has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus

from request_callout.engine import json
from request_callout.engine.answer import JSON_TYPE, Answer, ScriptExit
from request_callout.engine.arguments import check_arguments
from request_callout.engine.bodies.response import MAX_FIELDS
from request_callout.engine.client import collect, parse_query
from request_callout.engine.error_page import error_answer
from request_callout.engine.kong import BodyFileError, UnsupportedMethod
from request_callout.engine.multipart import MAX_PARTS, MULTIPART_TYPE, decode_multipart, encode_multipart
from request_callout.lua.host import PdkError, Shortcut
from request_callout.values import Value, raw, text

if TYPE_CHECKING:
    from request_callout.engine.run import Run

_MOST_QUERY_ARGS = 100
"""What Kong looks at by default (lua_max_uri_args)."""
_FORM_TYPE = "application/x-www-form-urlencoded"

# Calls without a result that anybody waits for: they are queued, and go out with the next read or at the end.
_WRITES = frozenset(
    {
        "kong.ctx.shared.set",
        "kong.log.set_serialize_value",
        "kong.client.authenticate",
        "kong.service.set_target",
        *(f"kong.log.{level}" for level in ("alert", "crit", "err", "warn", "notice", "info", "debug")),
        *(
            f"kong.response.{name}"
            for name in ("set_status", "set_header", "add_header", "clear_header", "set_headers")
        ),
        *(
            f"kong.service.request.{name}"
            for name in (
                *("set_scheme", "set_path", "set_raw_query", "set_method", "set_query", "set_header"),
                *("add_header", "clear_header", "set_headers", "set_raw_body"),
            )
        ),
    }
)


_HEADER_WRITES = frozenset(
    f"kong.{owner}.{name}"
    for owner in ("service.request", "response")
    for name in ("set_header", "add_header", "set_headers")
)


class ScriptHost:
    """The ``Host`` of one proxied request."""

    __slots__ = ("_run",)

    def __init__(self, run: Run) -> None:
        self._run = run

    def shortcut(self, name: Shortcut) -> Value:
        """The tables of the client's request that expressions see."""
        client = self._run.client
        if name == "headers":
            return client.headers
        if name == "query_params":
            return client.query
        return client.part("captures") or {"unnamed": [], "named": {}}

    def call(self, method: str, args: Sequence[Value]) -> Value:
        """Make one PDK call; see ``request_callout.lua.host.Host``."""
        value = self._called(method, args)
        if value is not None:
            self._run.hear(method, args, value)
        return value

    def _called(self, method: str, args: Sequence[Value]) -> Value:
        check_arguments(method, args)
        made_here = MADE_HERE.get(method)
        if made_here is None and self._run.kong.protocol == "ProtoBuf":
            made_here = MADE_HERE_FOR_PROTOBUF.get(method)
        try:
            if made_here is not None:
                return made_here(self._run, args)
            if method in _WRITES:
                self._run.kong.write(method, *(map(_with_false, args) if method in _HEADER_WRITES else args))
                return None
            value = self._run.kong.read([(method, tuple(args))])[0]
        except UnsupportedMethod as unsupported:
            raise PdkError(str(unsupported)) from None
        except BodyFileError as unreadable:
            raise PdkError(str(unreadable)) from None
        except (TypeError, ValueError) as error:
            raise PdkError(f"bad arguments for {method}: {error}") from None
        return text(value) if isinstance(value, bytes) else value


def _argument(args: Sequence[Value], place: int) -> Value:
    return args[place] if place < len(args) else None


def _with_false(argument: Value) -> Value:
    """Headers that are false, as text: on ProtoBuf Kong would take them for missing, and fail the request."""
    if isinstance(argument, dict):
        return {name: _with_false(value) for name, value in argument.items()}
    return _written(argument) if argument is False else argument


def _exit(run: Run, args: Sequence[Value]) -> Value:
    status, body, headers = _argument(args, 0), _argument(args, 1), _argument(args, 2)
    if isinstance(status, bool) or not isinstance(status, (int, float)) or not 100 <= status <= 599:
        raise PdkError("kong.response.exit: code must be a number between 100 and 599")
    sent = _headers("kong.response.exit", headers)
    if isinstance(body, (dict, list)):
        if not any(name.lower() == "content-type" for name in sent):
            sent["Content-Type"] = JSON_TYPE
        body_bytes: bytes | None = json.encode(body)
    elif body is None or isinstance(body, str):
        body_bytes = None if body is None else raw(body)
    else:
        raise PdkError("kong.response.exit: body must be a nil, string or table")
    raise ScriptExit(Answer(int(status), body_bytes, sent))


def _headers(method: str, headers: Value) -> dict[str, str | list[str]]:
    """The headers that a script gave an answer."""
    if headers is None or headers == []:
        return {}
    if not isinstance(headers, dict):
        raise PdkError(f"{method}: headers must be a nil or table")
    return {str(name): _header_value(value) for name, value in headers.items()}


def _header_value(value: Value) -> str | list[str]:
    if isinstance(value, list):
        return [str(_header_value(one)) for one in value]
    return _written(value)


def _written(value: Value) -> str:
    """A scalar as Lua's ``tostring`` writes it, empty for what is none."""
    return "false" if value is False else json.lua_text(value) or ""


def _error(run: Run, args: Sequence[Value]) -> Value:
    status, message, headers = _argument(args, 0), _argument(args, 1), _argument(args, 2)
    if isinstance(status, bool) or not isinstance(status, (int, float)) or not 400 <= status <= 599:
        raise PdkError("kong.response.error: code must be a number between 400 and 599")
    if message is not None and not isinstance(message, (str, dict, list)):
        raise PdkError("kong.response.error: message must be a nil, a string or a table")
    sent = _headers("kong.response.error", headers)
    accept = run.kong.read([("kong.request.get_header", ("accept",))])[0]
    said = text(json.encode(message)) if isinstance(message, (dict, list)) else message
    raise ScriptExit(error_answer(int(status), said, accept, run.log.request_id(), sent))


def _get_body(run: Run, args: Sequence[Value]) -> Value:
    media_type = _argument(args, 0)  # the prelude gives the request's own where a script names none
    body = run.kong.read([("kong.request.get_raw_body", ())])[0] or b""
    kind = str(media_type or "").partition(";")[0].strip().lower()
    if kind == "application/json" or kind.endswith("+json"):
        try:
            decoded = json.decode(body)
        except json.NotJsonError:
            return None
        return decoded if isinstance(decoded, (dict, list)) else None  # as Kong: of JSON, only tables
    if kind == _FORM_TYPE and body.count(b"&") < MAX_FIELDS:
        return collect(parse_query(text(body)))
    if kind == MULTIPART_TYPE:
        fields = decode_multipart(body, str(media_type))
        return {} if fields is None and body.count(b"\n--") <= MAX_PARTS else fields  # as Kong, of none
    return None


def _set_body(run: Run, args: Sequence[Value]) -> Value:
    body, media_type = _argument(args, 0), _argument(args, 1)  # the prelude names the request's own type
    if not isinstance(body, (dict, list)):
        raise PdkError("kong.service.request.set_body: args must be a table")
    kind = str(media_type or "").partition(";")[0].strip().lower()
    if kind == "application/json":
        encoded = json.encode(body)
    elif kind == _FORM_TYPE:
        encoded = raw(_form(body))
    elif kind == MULTIPART_TYPE:
        encoded, media_type = encode_multipart(_fields(body))
    else:
        raise PdkError(f"kong.service.request.set_body: unsupported content type {media_type!r}")
    run.kong.write("kong.service.request.set_raw_body", encoded)
    run.kong.write("kong.service.request.set_header", "Content-Type", str(media_type))
    return True


def _fields(body: dict[str, Value] | list[Value]) -> list[tuple[str, str]]:
    fields = []
    for name, value in _pairs(body):
        if not isinstance(value, (str, int, float)):
            raise PdkError(
                f"kong.service.request.set_body: invalid value {name!r}: expected a string, number or boolean"
            )
        fields.append((name, _written(value)))
    return fields


def _pairs(body: dict[str, Value] | list[Value]) -> list[tuple[str, Value]]:
    """The members of a table by name."""
    return sorted(body.items() if isinstance(body, dict) else ((str(n), v) for n, v in enumerate(body, 1)))


def _form(body: dict[str, Value] | list[Value]) -> str:
    pieces = []
    for name, value in _pairs(body):
        for one in value if isinstance(value, list) else (value,):
            if one is True:
                pieces.append(quote_plus(raw(name)))
            elif one is not None and one is not False:
                pieces.append(f"{quote_plus(raw(name))}={quote_plus(raw(json.lua_text(one) or ''))}")
    return "&".join(pieces)


def _query_arg(run: Run, args: Sequence[Value]) -> Value:
    # Asked for it, Kong has no message for one without a value, which is true, and fails the request.
    value = run.kong.read([("kong.request.get_query", (_MOST_QUERY_ARGS,))])[0].get(_argument(args, 0))
    return value[0] if isinstance(value, list) else value


def _raw_path(run: Run, args: Sequence[Value]) -> Value:
    path: str = run.kong.read([("kong.request.get_path_with_query", ())])[0]
    return path.partition("?")[0]


def _plugin_id(run: Run, args: Sequence[Value]) -> Value:
    return run.instance.config.plugin_id


def _set_raw_body(run: Run, args: Sequence[Value]) -> Value:
    body = _argument(args, 0)
    if not isinstance(body, str):
        raise PdkError("kong.service.request.set_raw_body: body must be a string")
    run.kong.write("kong.service.request.set_raw_body", raw(body))
    return None


MADE_HERE: dict[str, Any] = {
    "kong.response.exit": _exit,
    "kong.response.error": _error,
    "kong.request.get_body": _get_body,
    "kong.service.request.set_body": _set_body,
    "kong.service.request.set_raw_body": _set_raw_body,
    "kong.plugin.get_id": _plugin_id,
}
"""The functions that are alike on each protocol, since they are made from what every protocol has."""

MADE_HERE_FOR_PROTOBUF: dict[str, Any] = {
    "kong.request.get_query_arg": _query_arg,
    "kong.request.get_raw_path": _raw_path,
}
"""Those that MsgPack has, and this protocol not, or not for all that they may give."""
