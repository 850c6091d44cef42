"""What Kong's PDK refuses of arguments, or at all while the plugin runs, checked before a call is queued.

A call that raises an error inside Kong ends the request there, out of reach of the script's ``pcall`` and of our log;
so the checks of Kong's own functions are made here, with their words (kong/pdk: service, service/request, response).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence

from request_callout.engine import json
from request_callout.lua.host import PdkError
from request_callout.values import Value

_METHODS = frozenset(
    {"GET", "HEAD", "POST", "PUT", "DELETE", "MKCOL", "COPY", "MOVE", "OPTIONS", "PROPFIND", "PROPPATCH"}
    | {"LOCK", "UNLOCK", "PATCH", "TRACE"}
)

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)

Check = Callable[[Sequence[Value]], str | None]
"""Says what is wrong with arguments, None if nothing is."""


def check_arguments(method: str, args: Sequence[Value]) -> None:
    """Raise PdkError where Kong would refuse these arguments."""
    check = _CHECKS.get(method)
    wrong = None if check is None else check(args)
    if wrong is not None:
        raise PdkError(f"{method}: {wrong}")


def _first(args: Sequence[Value], place: int = 0) -> Value:
    return args[place] if place < len(args) else None


def _is_number(value: Value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _scheme(args: Sequence[Value]) -> str | None:
    scheme = _first(args)
    if not isinstance(scheme, str):
        return "scheme must be a string"
    return None if scheme in ("http", "https") else f"invalid scheme: {scheme}"


def _path(args: Sequence[Value]) -> str | None:
    path = _first(args)
    if not isinstance(path, str):
        return "path must be a string"
    return None if path.startswith("/") else "path must start with /"


def _target(args: Sequence[Value]) -> str | None:
    host, port = _first(args), _first(args, 1)
    if not isinstance(host, str):
        return "host must be a string"
    if not _is_number(port) or not math.isfinite(port) or port != int(port):
        return "port must be an integer"
    return None if 0 <= port <= 65535 else f"port must be an integer between 0 and 65535: given {int(port)}"


def _method(args: Sequence[Value]) -> str | None:
    method = _first(args)
    if not isinstance(method, str):
        return "method must be a string"
    return None if method in _METHODS else f"invalid method: {method}"


def _string(name: str) -> Check:
    return lambda args: None if isinstance(_first(args), str) else f"{name} must be a string"


def _table(name: str) -> Check:
    return lambda args: None if isinstance(_first(args), (dict, list)) else f"{name} must be a table"


def _header(args: Sequence[Value]) -> str | None:
    name, value = _first(args), _first(args, 1)
    if not isinstance(name, str):
        return "header must be a string"
    if name.lower() == "content-length" and not _is_length(value):
        return f"bad Content-Length {value!r}: expected a whole number"
    if isinstance(value, (str, bool)) or _is_number(value) or (value and _is_list_of_strings(value)):
        return None
    return f"invalid value for {name!r}: expected a string, number or boolean, or a list of strings"


def _is_length(value: Value) -> bool:
    written = json.lua_text(value) or ""
    return written.isascii() and written.isdigit()


def _is_list_of_strings(value: Value) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _headers(args: Sequence[Value]) -> str | None:
    headers = _first(args)
    for name, value in headers.items() if isinstance(headers, dict) else ():
        if isinstance(value, list) and not _is_list_of_strings(value):
            return f"invalid value for {name!r}: expected a list of strings"
    return _table("headers")(args)


def _query(args: Sequence[Value]) -> str | None:
    query = _first(args)
    if query and isinstance(query, list):
        return "arg keys must be strings"
    for name, value in query.items() if isinstance(query, dict) else ():
        if isinstance(value, list) and any(isinstance(one, (dict, list)) for one in value):
            return f"invalid value for {name!r}: expected a list of strings, numbers and booleans"
    return _table("args")(args)


def _status(args: Sequence[Value]) -> str | None:
    status = _first(args)
    if not _is_number(status):
        return "code must be a number"
    return None if 100 <= status <= 599 else "code must be a number between 100 and 599"


def _maximum(args: Sequence[Value]) -> str | None:
    maximum = _first(args)
    if maximum is None:
        return None
    if not _is_number(maximum):
        return "max_args must be a number"
    return None if 1 <= maximum <= 1000 else "max_args must be between 1 and 1000"


def _consumer(args: Sequence[Value]) -> str | None:
    id_or_name, by_username = _first(args), _first(args, 1)
    if not isinstance(id_or_name, str):
        return "consumer_id must be a string"
    if by_username or _UUID.fullmatch(id_or_name):
        return None
    return "cannot load a consumer with an id that is not a uuid"


def _credential_and_consumer(args: Sequence[Value]) -> str | None:
    consumer, credential = _first(args), _first(args, 1)
    if not all(one is None or isinstance(one, (dict, list)) for one in (consumer, credential)):
        return "consumer and credential must be tables or nil"
    return "either credential or consumer must be provided" if consumer is credential is None else None


def _never(args: Sequence[Value]) -> str | None:
    return "cannot be called in access phase, where this plugin runs: there is no response yet"


_CHECKS: dict[str, Check] = {
    "kong.client.authenticate": _credential_and_consumer,
    "kong.client.load_consumer": _consumer,
    "kong.log.serialize": _never,
    "kong.response.get_header": _never,
    "kong.response.get_headers": _never,
    "kong.response.get_source": _never,
    "kong.response.get_status": _never,
    "kong.service.response.get_header": _never,
    "kong.service.response.get_headers": _never,
    "kong.service.response.get_raw_body": _never,
    "kong.service.response.get_status": _never,
    "kong.service.set_target": _target,
    "kong.service.request.set_scheme": _scheme,
    "kong.service.request.set_path": _path,
    "kong.service.request.set_method": _method,
    "kong.service.request.set_raw_query": _string("query"),
    "kong.service.request.set_query": _query,
    "kong.service.request.set_header": _header,
    "kong.service.request.add_header": _header,
    "kong.service.request.clear_header": _string("header"),
    "kong.service.request.set_headers": _headers,
    "kong.response.set_status": _status,
    "kong.response.set_header": _header,
    "kong.response.add_header": _header,
    "kong.response.clear_header": _string("header"),
    "kong.response.set_headers": _headers,
    "kong.request.get_headers": _maximum,
    "kong.request.get_query": _maximum,
    "kong.request.get_header": _string("header name"),
    "kong.request.get_query_arg": _string("query argument name"),
}
