"""Kong's PDK on an exchange, for the ``access`` phase: what each function takes, gives and refuses in Kong 3.9.

Arguments and results are plain values; nil is None. A function that Kong lets raise an error raises ``PdkFailure``;
one that gives ``nil, err`` returns a ``Failure``. Which functions a protocol can reach is not decided here.
"""

from __future__ import annotations

import logging
import platform
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from request_callout.gateway import kong_errors, query_args
from request_callout.gateway.exchange import Body, Exchange, Exit
from request_callout.gateway.model import WORKSPACE_ID, Consumer, Credential
from request_callout.gateway.nginx_vars import variable
from request_callout.gateway.schema_rules import is_reference
from request_callout.gateway.uri import escaped, normalized, path_of
from request_callout.values import Value, raw, text

_LOG = logging.getLogger("request_callout.gateway.kong")

NEED_BODY = frozenset(
    {
        "kong.request.get_body",
        "kong.request.get_raw_body",
        "kong.service.request.set_body",
        "kong.service.request.set_raw_body",
    }
)
"""The functions for which the client's body has to be there (``Exchange.read_body``)."""

NODE_ID = str(uuid.uuid4())
"""The id of this node: one for each process."""

_METHODS = frozenset(
    [
        "GET",
        "HEAD",
        "PUT",
        "POST",
        "DELETE",
        "OPTIONS",
        "MKCOL",
        "COPY",
        "MOVE",
        "PROPFIND",
        "PROPPATCH",
        "LOCK",
        "UNLOCK",
        "PATCH",
        "TRACE",
    ]
)
_LEVELS = {
    "alert": logging.CRITICAL,
    "crit": logging.CRITICAL,
    "err": logging.ERROR,
    "warn": logging.WARNING,
    "notice": logging.INFO,
    "info": logging.INFO,
    "debug": logging.DEBUG,
}
# Control characters in a header's value, and all that no token may hold in its name, are percent-encoded by OpenResty.
_UNSAFE_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_UNSAFE_NAME = re.compile(r"[^!#$%&'*+\-.^_`|~0-9A-Za-z]")


class PdkFailure(Exception):
    """An error that the PDK raises: in Kong it ends the plugin, and the client gets 500."""


class Exited(Exception):
    """The exchange has its answer (``exchange.exit``): the plugin that called ends here."""


@dataclass(frozen=True, slots=True)
class Failure:
    """``nil, err``."""

    message: str


@dataclass(frozen=True, slots=True)
class RawBody:
    """What ``kong.request.get_raw_body`` finds: the body, or the file it was written to."""

    content: bytes | None
    path: str | None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What PDK functions need beside the exchange: consumers, upstreams and vaults of the configuration."""

    consumers: Sequence[Consumer]
    resolve: Callable[[str], str | None]


def call(exchange: Exchange, around: Surroundings, method: str, args: Sequence[Value]) -> Any:
    """Call a function of the PDK by its full name; raises KeyError if there is none of that name."""
    function = _FUNCTIONS[method]
    try:
        return function(exchange, around, *args)
    except TypeError as error:
        if error.__traceback__ is not None and error.__traceback__.tb_next is None:
            raise PdkFailure(f"{method}: wrong arguments") from None
        raise


def exists(method: str) -> bool:
    """Whether there is a function of that name."""
    return method in _FUNCTIONS


# Checks


def _string(value: Value, what: str) -> str:
    if not isinstance(value, str):
        raise PdkFailure(f"{what} must be a string")
    return value


def _kind(value: Value) -> str:
    """Lua's name for the type of a value."""
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "number"
    return "string" if isinstance(value, str) else "table"


def _header_values(name: Value, value: Value) -> list[str]:
    """A header's value as the lines to send; raises PdkFailure for what Kong refuses."""
    if not isinstance(name, str):
        raise PdkFailure(f'invalid header name "{name}": got {_kind(name)}, expected string')
    if isinstance(value, list):
        elements = [one for one in value if one is not None]
        wrong = next((one for one in elements if not isinstance(one, str)), None)
        if wrong is not None:
            raise PdkFailure(f'invalid header value in array "{name}": got {_kind(wrong)}, expected string')
        return [_safe(one) for one in elements]
    if isinstance(value, dict) and not value:
        return []
    if isinstance(value, bool):
        return ["true" if value else "false"]
    if isinstance(value, (int, float)):
        return [f"{value:.14g}"]
    if isinstance(value, str):
        return [_safe(value)]
    raise PdkFailure(
        f'invalid header value for "{name}": got {_kind(value)}, expected array of string, string, number or boolean'
    )


def _safe(value: str) -> str:
    return _UNSAFE_VALUE.sub(lambda found: f"%{ord(found[0]):02X}", value) or " "


def _safe_name(name: str) -> str:
    return _UNSAFE_NAME.sub(lambda found: "".join(f"%{byte:02X}" for byte in raw(found[0])), name)


def _maximum(value: Value, what: str) -> int:
    if value is None:
        return 100
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise PdkFailure(f"{what} must be a number")
    if value < 1:
        raise PdkFailure(f"{what} must be >= 1")
    if value > 1000:
        raise PdkFailure(f"{what} must be <= 1000")
    return int(value)


def _single(values: dict[str, list[str]]) -> dict[str, Value]:
    return {name: lines[0] if len(lines) == 1 else lines for name, lines in values.items()}


# kong.client


def _authenticate(x: Exchange, around: Surroundings, consumer: Value = None, credential: Value = None) -> None:
    if consumer is None and credential is None:
        raise PdkFailure("either credential or consumer must be provided")
    if consumer is not None:
        known = next((one for one in around.consumers if one.id == consumer.get("id")), None)
        x.consumer = known or Consumer(
            consumer.get("id", ""), consumer.get("username"), consumer.get("custom_id"), consumer
        )
    if credential is not None and x.consumer is not None:
        x.credential = Credential(credential.get("id", ""), credential.get("key", ""), x.consumer, credential)


def _load_consumer(x: Exchange, around: Surroundings, identity: Value = None, by_name: Value = None) -> Value:
    wanted = _string(identity, "consumer_id")
    if not by_name and not _is_uuid(wanted):
        raise PdkFailure("cannot load a consumer with an id that is not a uuid")
    for consumer in around.consumers:
        if consumer.id == wanted or (by_name and consumer.username == wanted):
            return _shown(consumer.entity)
    return None


def _is_uuid(value: str) -> bool:
    try:
        uuid.UUID(value)
    except ValueError:
        return False
    return True


def _shown(entity: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in entity.items() if value is not None}


def _protocol(x: Exchange, around: Surroundings, allow_terminated: Value = None) -> Value:
    if x.match is None:
        return Failure("No active route found")
    protocols = x.match.route.protocols
    return protocols[0] if len(protocols) == 1 else x.client.scheme


# kong.request


def _get_header(x: Exchange, around: Surroundings, name: Value = None) -> Value:
    return x.headers.first(_string(name, "header name").replace("_", "-")) or x.headers.first(name)


def _get_query(x: Exchange, around: Surroundings, limit: Value = None) -> Value:
    return query_args.decode(x.args or "", _maximum(limit, "max_args"))


def _get_query_arg(x: Exchange, around: Surroundings, name: Value = None) -> Value:
    value = query_args.decode(x.args or "").get(_string(name, "query argument name"))
    return value[0] if isinstance(value, list) else value


def _get_raw_body(x: Exchange, around: Surroundings, limit: Value = None) -> RawBody | Failure:
    if x.body.path is None:
        return RawBody(x.body.content, None)
    if isinstance(limit, (int, float)) and limit >= 0:
        if limit > 0 and x.body.size > limit:
            return Failure(f"request body file too big: {x.body.size} > {int(limit)}")
        with open(x.body.path, "rb") as file:
            return RawBody(file.read(), None)
    return RawBody(None, x.body.path)


def _get_body(x: Exchange, around: Surroundings, mime: Value = None, *_: Value) -> Value:
    kind = mime or x.headers.first("content-type")
    if not kind:
        return Failure("missing content type")
    media = str(kind).split(";")[0].strip().lower()
    if media.startswith("application/x-www-form-urlencoded"):
        if x.body.path is not None:
            return Failure("requesty body in temp file not supported")
        return query_args.decode(text(x.body.content))
    if media.startswith("application/json"):
        if x.body.path is not None:
            return Failure(
                "request body did not fit into client body buffer, consider raising 'client_body_buffer_size'"
            )
        try:
            decoded = orjson.loads(x.body.content)
        except ValueError:
            decoded = None
        return decoded if isinstance(decoded, (dict, list)) else Failure("invalid json body")
    return Failure(f"unsupported content type '{kind}'")


def captures_of(x: Exchange) -> dict[str, dict[int | str, str]]:
    """The captures of the route's path: ``unnamed`` by number (0 is the whole), ``named`` by name."""
    found = (x.match.captures if x.match is not None else None) or {}
    return {
        "unnamed": {key: value for key, value in found.items() if isinstance(key, int)},
        "named": {key: value for key, value in found.items() if isinstance(key, str)},
    }


# kong.response


def _set_response_header(x: Exchange, around: Surroundings, name: Value = None, value: Value = None) -> None:
    values = _header_values(name, value)
    if str(name).lower().replace("_", "-") != "transfer-encoding":
        x.response_headers.set(_safe_name(str(name).replace("_", "-")), values)


def _add_response_header(x: Exchange, around: Surroundings, name: Value = None, value: Value = None) -> None:
    for one in _header_values(name, value):
        x.response_headers.add(_safe_name(str(name)), one)


def _set_response_headers(x: Exchange, around: Surroundings, headers: Value = None) -> None:
    for name, values in _checked_headers(headers).items():
        if name.lower().replace("_", "-") != "transfer-encoding":
            x.response_headers.set(_safe_name(name.replace("_", "-")), values)


def _checked_headers(headers: Value) -> dict[str, list[str]]:
    if headers == []:
        return {}
    if not isinstance(headers, dict):
        raise PdkFailure("headers must be a table")
    return {name: _header_values(name, value) for name, value in headers.items()}


def _exit_headers(headers: Value) -> dict[str, list[str]]:
    if headers is not None and not isinstance(headers, (dict, list)):
        raise PdkFailure("headers must be a nil or table")
    return {} if headers is None else _checked_headers(headers)


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
    lines = [(_safe_name(name.replace("_", "-")), tuple(values)) for name, values in given.items()]
    lines = [line for line in lines if line[0].lower() != "transfer-encoding"]
    content: bytes | None
    if isinstance(body, (dict, list)):
        content = _json(body)
        if not any(name.lower() == "content-type" for name, _ in lines):
            lines.append(("Content-Type", (kong_errors.JSON,)))
    else:
        content = raw(body) if isinstance(body, str) else body
    _answer(x, Exit(code, content, tuple(lines)))


def _json(value: Value) -> bytes:
    # cjson writes an empty table as an object, and escapes slashes.
    try:
        encoded = b"{}" if value == [] else orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)
        return encoded.replace(b"/", b"\\/")
    except TypeError as error:
        raise PdkFailure(f"body encoding failed while flushing response: {error}") from None


def _error(
    x: Exchange, around: Surroundings, status: Value = None, message: Value = None, headers: Value = None
) -> None:
    code = _status(status, 400)
    if isinstance(message, (dict, list)):
        message = text(_json(message))
    if message is not None and not isinstance(message, str):
        raise PdkFailure("message must be a nil, a string or a table")
    given = _exit_headers(headers)
    lines = [(_safe_name(name), tuple(values)) for name, values in given.items()]
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
        kind = kong_errors.content_type(x.headers.all("accept"))
        lines.append(("Content-Type", (kind,)))
    x.exit = Exit(status, kong_errors.body(kind, status, message, x.request_id), tuple(lines))


def _answer(x: Exchange, exit_: Exit) -> None:
    if x.exit is None:
        x.exit = exit_
    raise Exited


def _wrong_phase(only_in: str) -> Callable[..., Any]:
    def refuse(x: Exchange, around: Surroundings, *_: Value) -> None:
        raise PdkFailure(f"function cannot be called in access phase (only in: {only_in})")

    return refuse


# kong.service


def _set_target(x: Exchange, around: Surroundings, host: Value = None, port: Value = None) -> None:
    name = _string(host, "host")
    if not isinstance(port, (int, float)) or isinstance(port, bool) or port != int(port):
        raise PdkFailure("port must be an integer")
    if not 0 <= port <= 65535:
        raise PdkFailure(f"port must be an integer between 0 and 65535: given {int(port)}")
    x.upstream_host = name
    x.target_host, x.target_port = name, int(port)


def _set_scheme(x: Exchange, around: Surroundings, scheme: Value = None) -> None:
    if _string(scheme, "scheme") not in ("http", "https"):
        raise PdkFailure(f"invalid scheme: {scheme}")
    x.upstream_scheme = scheme


def _set_path(x: Exchange, around: Surroundings, path: Value = None) -> None:
    if not _string(path, "path").startswith("/"):
        raise PdkFailure("path must start with /")
    x.upstream_path = escaped(path)


def _set_raw_query(x: Exchange, around: Surroundings, query: Value = None) -> None:
    x.args = _string(query, "query")


def _set_query(x: Exchange, around: Surroundings, args: Value = None) -> None:
    if not isinstance(args, (dict, list)):
        raise PdkFailure("args must be a table")
    try:
        x.args = query_args.encode(args if isinstance(args, dict) else {})
    except TypeError as error:
        raise PdkFailure(str(error)) from None


def _clear_query_arg(x: Exchange, around: Surroundings, name: Value = None) -> None:
    if x.args:
        x.args = query_args.without(x.args, _string(name, "query argument name"))


def _set_method(x: Exchange, around: Surroundings, method: Value = None) -> None:
    if _string(method, "method") not in _METHODS:
        raise PdkFailure(f"invalid method: {method}")
    x.method = method


def _set_request_header(x: Exchange, around: Surroundings, name: Value = None, value: Value = None) -> None:
    _set_one(x, str(name), _header_values(name, value))


def _set_one(x: Exchange, name: str, values: list[str]) -> None:
    if name.lower() == "host" and values:
        x.upstream_host = values[0]
    x.headers.set(_safe_name(name), values)


def _add_request_header(x: Exchange, around: Surroundings, name: Value = None, value: Value = None) -> None:
    values = _header_values(name, value)
    if isinstance(value, list) and value:
        raise PdkFailure("a table cannot be added as one value of a header")
    _set_one(x, str(name), x.headers.all(str(name)) + values)
    if str(name).lower() == "host":
        x.upstream_host = values[0]


def _clear_request_header(x: Exchange, around: Surroundings, name: Value = None) -> None:
    x.headers.clear(_string(name, "header"))


def _set_request_headers(x: Exchange, around: Surroundings, headers: Value = None) -> None:
    for name, values in _checked_headers(headers).items():
        _set_one(x, name, values)


def _set_raw_body(x: Exchange, around: Surroundings, body: Value = None) -> None:
    content = raw(body) if isinstance(body, str) else body
    if not isinstance(content, bytes):
        raise PdkFailure("body must be a string")
    x.body = Body(content, None, len(content), changed=True)
    x.headers.clear("transfer-encoding")
    x.headers.set("Content-Length", [str(len(content))])


def _set_body(x: Exchange, around: Surroundings, args: Value = None, mime: Value = None) -> Value:
    if not isinstance(args, (dict, list)):
        raise PdkFailure("args must be a table")
    kind = mime or x.headers.first("content-type")
    if not kind:
        return Failure("content type was neither explicitly given as an argument or received as a header")
    media = str(kind).split(";")[0]
    if media == "application/json":
        content = _json(args)
    elif media == "application/x-www-form-urlencoded":
        content = query_args.encode(args if isinstance(args, dict) else {}).encode()
    else:
        raise PdkFailure(f"unsupported content type {kind}")
    _set_raw_body(x, around, content)
    x.headers.set("Content-Type", [str(kind)])
    return True


# kong.log, kong.ctx, kong.node


def _log(level: str) -> Callable[..., None]:
    number = _LEVELS[level]

    def write(x: Exchange, around: Surroundings, *parts: Value) -> None:
        if _LOG.isEnabledFor(number):
            name = x.plugin.name if x.plugin is not None else "kong"
            _LOG.log(number, "[%s] %s", name, "".join(map(_printed, parts)), extra={"request_id": x.request_id})

    return write


def _printed(value: Value) -> str:
    if value is None or isinstance(value, bool):
        return {None: "nil", True: "true", False: "false"}[value]
    if isinstance(value, float):
        return f"{value:.14g}"
    return value if isinstance(value, str) else str(value)


def _set_serialize_value(
    x: Exchange, around: Surroundings, key: Value = None, value: Value = None, options: Value = None
) -> None:
    name = _string(key, "key")
    mode = (options or {}).get("mode") or "set"
    if mode not in ("set", "add", "replace"):
        raise PdkFailure("mode must be 'set', 'add' or 'replace'")
    if mode == "set" or (mode == "add") != (name in x.log_values):
        x.log_values[name] = value


def _shared_set(x: Exchange, around: Surroundings, key: Value = None, value: Value = None) -> None:
    if key is None:
        raise PdkFailure("table index is nil")
    if value is None:
        x.shared.pop(key, None)
    else:
        x.shared[key] = value


def _context_set(x: Exchange, around: Surroundings, key: Value = None, value: Value = None) -> None:
    x.context[key] = value


def _memory_stats(x: Exchange, around: Surroundings, *_: Value) -> Value:
    return {"lua_shared_dicts": {}, "workers_lua_vms": []}


def _route(x: Exchange, around: Surroundings) -> Value:
    return None if x.match is None else {**_shown(x.match.route.entity), "ws_id": WORKSPACE_ID}


def _service(x: Exchange, around: Surroundings) -> Value:
    service = x.match.route.service if x.match is not None else None
    return None if service is None else {**_shown(service.entity), "ws_id": WORKSPACE_ID}


def _variable(x: Exchange, around: Surroundings, name: Value = None) -> Value:
    return variable(x, _string(name, "variable name"))


def _shared_get(x: Exchange, around: Surroundings, key: Value = None) -> Value:
    return x.shared.get(key)


def _context_get(x: Exchange, around: Surroundings, key: Value = None) -> Value:
    return x.context.get(key)


def _get_headers(x: Exchange, around: Surroundings, limit: Value = None) -> Value:
    return _single(x.headers.by_name(_maximum(limit, "max_headers")))


def _clear_response_header(x: Exchange, around: Surroundings, name: Value = None) -> None:
    x.response_headers.clear(_string(name, "header name"))


def _set_upstream(x: Exchange, around: Surroundings, host: Value = None) -> Failure:
    return Failure(f"could not find an Upstream named '{_string(host, 'host')}'")


def _vault_get(x: Exchange, around: Surroundings, reference: Value = None) -> Value:
    return around.resolve(_string(reference, "reference"))


def _vault_is_reference(x: Exchange, around: Surroundings, value: Value = None) -> bool:
    return is_reference(value)


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "kong.client.authenticate": _authenticate,
    "kong.client.get_consumer": lambda x, _around, *_args: None if x.consumer is None else _shown(x.consumer.entity),
    "kong.client.get_consumer_groups": lambda x, _around, *_args: None,
    "kong.client.get_credential": lambda x, _around, *_args: (
        None if x.credential is None else _shown(x.credential.entity)
    ),
    "kong.client.get_forwarded_ip": lambda x, _around, *_args: x.client.remote_addr,
    "kong.client.get_forwarded_port": lambda x, _around, *_args: x.client.remote_port,
    "kong.client.get_ip": lambda x, _around, *_args: x.client.remote_addr,
    "kong.client.get_port": lambda x, _around, *_args: x.client.remote_port,
    "kong.client.get_protocol": _protocol,
    "kong.client.load_consumer": _load_consumer,
    "kong.ctx.shared.get": _shared_get,
    "kong.ctx.shared.set": _shared_set,
    "kong.ip.is_trusted": lambda x, _around, *_args: False,
    "kong.log": _log("notice"),
    "kong.log.set_serialize_value": _set_serialize_value,
    "kong.log.serialize": _wrong_phase("log"),
    "kong.nginx.get_ctx": _context_get,
    "kong.nginx.get_subsystem": lambda x, _around, *_args: "http",
    "kong.nginx.get_tls1_version_str": lambda x, _around, *_args: None,
    "kong.nginx.get_var": _variable,
    "kong.nginx.req_start_time": lambda x, _around, *_args: x.started_at,
    "kong.nginx.set_ctx": _context_set,
    "kong.node.get_hostname": lambda x, _around, *_args: platform.node(),
    "kong.node.get_id": lambda x, _around, *_args: NODE_ID,
    "kong.node.get_memory_stats": _memory_stats,
    "kong.plugin.get_id": lambda x, _around, *_args: None if x.plugin is None else x.plugin.id,
    "kong.request.get_body": _get_body,
    "kong.request.get_forwarded_host": lambda x, _around, *_args: x.host,
    "kong.request.get_forwarded_path": lambda x, _around, *_args: normalized(path_of(x.client.target)),
    "kong.request.get_forwarded_port": lambda x, _around, *_args: x.client.server_port,
    "kong.request.get_forwarded_prefix": lambda x, _around, *_args: x.forwarded.get("prefix"),
    "kong.request.get_forwarded_scheme": lambda x, _around, *_args: x.client.scheme,
    "kong.request.get_header": _get_header,
    "kong.request.get_headers": _get_headers,
    "kong.request.get_host": lambda x, _around, *_args: x.host,
    "kong.request.get_http_version": lambda x, _around, *_args: x.client.version,
    "kong.request.get_method": lambda x, _around, *_args: x.method,
    "kong.request.get_path": lambda x, _around, *_args: normalized(path_of(x.client.target)),
    "kong.request.get_path_with_query": lambda x, _around, *_args: x.client.target,
    "kong.request.get_port": lambda x, _around, *_args: x.client.server_port,
    "kong.request.get_query": _get_query,
    "kong.request.get_query_arg": _get_query_arg,
    "kong.request.get_raw_body": _get_raw_body,
    "kong.request.get_raw_path": lambda x, _around, *_args: path_of(x.client.target),
    "kong.request.get_raw_query": lambda x, _around, *_args: x.args or "",
    "kong.request.get_scheme": lambda x, _around, *_args: x.client.scheme,
    "kong.request.get_start_time": lambda x, _around, *_args: int(x.started_at * 1000),
    "kong.request.get_uri_captures": lambda x, _around, *_args: captures_of(x),
    "kong.response.add_header": _add_response_header,
    "kong.response.clear_header": _clear_response_header,
    "kong.response.error": _error,
    "kong.response.exit": _exit,
    "kong.response.get_header": _wrong_phase("response, header_filter, body_filter, log, error, admin_api"),
    "kong.response.get_headers": _wrong_phase("response, header_filter, body_filter, log, error, admin_api"),
    "kong.response.get_source": _wrong_phase("response, header_filter, body_filter, log, error, admin_api"),
    "kong.response.get_status": _wrong_phase("response, header_filter, body_filter, log, error, admin_api"),
    "kong.response.set_header": _set_response_header,
    "kong.response.set_headers": _set_response_headers,
    "kong.response.set_status": _set_status,
    "kong.router.get_route": _route,
    "kong.router.get_service": _service,
    "kong.service.set_target": _set_target,
    "kong.service.set_upstream": _set_upstream,
    "kong.service.request.add_header": _add_request_header,
    "kong.service.request.clear_header": _clear_request_header,
    "kong.service.request.clear_query_arg": _clear_query_arg,
    "kong.service.request.set_body": _set_body,
    "kong.service.request.set_header": _set_request_header,
    "kong.service.request.set_headers": _set_request_headers,
    "kong.service.request.set_method": _set_method,
    "kong.service.request.set_path": _set_path,
    "kong.service.request.set_query": _set_query,
    "kong.service.request.set_raw_body": _set_raw_body,
    "kong.service.request.set_raw_query": _set_raw_query,
    "kong.service.request.set_scheme": _set_scheme,
    "kong.service.response.get_header": _wrong_phase("response, header_filter, body_filter, log"),
    "kong.service.response.get_headers": _wrong_phase("response, header_filter, body_filter, log"),
    "kong.service.response.get_raw_body": _wrong_phase("header_filter, body_filter, log"),
    "kong.service.response.get_status": _wrong_phase("response, header_filter, body_filter, log"),
    "kong.vault.get": _vault_get,
    "kong.vault.is_reference": _vault_is_reference,
} | {f"kong.log.{level}": _log(level) for level in _LEVELS}
