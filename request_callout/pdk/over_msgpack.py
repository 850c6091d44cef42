"""The ``Kong`` of one event on MsgPack:1, over whatever makes one call of the PDK.

Every call is a round trip there. Writes are queued all the same, so that the engine works alike on both protocols, and
are sent one by one before the next read or at the end.

Kong lets a request through to the upstream when this protocol's server is gone. So an event that came to its end says
so in ``kong.ctx.shared``, with its very last call: a function in Kong can refuse all requests that lack this mark.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from gevent.lock import Semaphore

from request_callout.engine.answer import INTERNAL_ERROR
from request_callout.engine.kong import Call, ConnectionLost, ProtocolName
from request_callout.lua.host import PdkError
from request_callout.values import Value, raw, text

_log = logging.getLogger(__name__)

CallKong: TypeAlias = Callable[[str, tuple[Any, ...]], tuple[Any, str | None]]
"""Makes one call of the PDK: its full name and arguments; gives the result and Kong's error, one of them None."""
Execute: TypeAlias = Callable[[Callable[..., Any], tuple[Any, ...]], Any]

SEEN_MARK = "request_callout"
"""The key in ``kong.ctx.shared`` that is true once the plugin has done all it had to do for the request."""
MAX_BODY_BYTES = 64 * 1024 * 1024
"""The largest body of a client that Kong is asked to read from nginx's file."""

_REQUEST_ID: Call = ("kong.nginx.get_var", ("kong_request_id",))
_EXIT = "kong.response.exit"
_HEADERS = frozenset({"kong.request.get_headers", "kong.response.get_headers", "kong.service.response.get_headers"})
_MAX_ARGS = 1000


class MsgPackKong:
    """See ``request_callout.engine.kong.Kong``; ``call`` makes the calls (``calls_of`` for kong-pdk's own server)."""

    __slots__ = ("_call", "_exit", "_finished", "_lock", "_queue", "_request_id")

    def __init__(self, call: CallKong) -> None:
        self._call = call
        self._lock = Semaphore()
        self._queue: list[Call] = []
        self._exit: Call | None = None
        self._finished = False
        self._request_id: Any = None

    @property
    def protocol(self) -> ProtocolName:
        """Always ``MsgPack``."""
        return "MsgPack"

    def begin(self) -> None:
        """Make a first call: for kong-pdk's own server only.

        Until an event's first call that handles no other event, and an event whose first call is an exit stays in its
        memory. The request's id is of use later anyway.
        """
        self._request_id = self.read([_REQUEST_ID])[0]

    def read(self, calls: Sequence[Call]) -> list[Any]:
        """See ``Kong.read``. Raises PdkError where Kong answers with an error."""
        with self._lock:
            if self._exit is not None or self._finished:
                raise ConnectionLost("the request has been answered already")
            self._send_queue()
            return [self._read(method, args) for method, args in calls]

    def write(self, method: str, *args: Any) -> None:
        """See ``Kong.write``. Raises TypeError for a value that can't be sent."""
        call = (method, tuple(_outgoing(argument) for argument in _arguments(method, args)))
        if self._exit is not None or self._finished:
            return
        if method == _EXIT:
            self._exit = _without_gap(call)
        else:
            self._queue.append(call)

    def ask(self, call: Call, told: Callable[[Any], None]) -> None:
        """See ``Kong.ask``: here it is a round trip as any other."""
        told(self.read([call])[0])

    def exit(self, status: int, body: bytes | None, headers: Mapping[str, str | list[str]]) -> None:
        """See ``Kong.exit``. Only the first exit of an event counts."""
        self.write(_EXIT, status, body, dict(headers))

    def finish(self) -> bool:
        """Send everything left; gives whether the event ended without an exit, and Kong is to go on with the request.

        What Kong refuses of it ends the request with 500: the upstream must not get a request that is half prepared.
        Raises ConnectionLost.
        """
        with self._lock:
            self._finished = True
            if self._exit is None:
                self._queue.append(("kong.ctx.shared.set", (SEEN_MARK, True)))
            try:
                self._send_queue()
            except ConnectionLost:
                raise
            except Exception:
                _log.exception("the request ends with 500: a call at its end failed")
                self._exit = (_EXIT, (INTERNAL_ERROR.status, INTERNAL_ERROR.body, dict(INTERNAL_ERROR.headers)))
            if self._exit is None:
                return True
            self._call(*self._exit)
            return False

    def _read(self, method: str, args: Sequence[Any]) -> Any:
        if self._request_id is not None and (method, tuple(args)) == _REQUEST_ID:
            return self._request_id
        value, error = self._call(method, tuple(_outgoing(argument) for argument in _arguments(method, args)))
        if error is not None:
            raise PdkError(f"{method}: {error}")
        return _result(method, value)

    def _send_queue(self) -> None:
        while self._queue:
            method, args = self._queue.pop(0)
            _, error = self._call(method, args)
            if error is not None:
                raise PdkError(f"{method}: {error}")


def calls_of(kong: Any, execute: Execute = lambda function, args: function(*args)) -> CallKong:
    """The calls of kong-pdk's object ``kong``.

    It may be in either of its styles (``lua_style``: results as ``(data, error)``, or only data and exceptions).
    ``execute`` makes a call of it, where that has to happen elsewhere (``hub_thread``).
    """

    def call(method: str, args: tuple[Any, ...]) -> tuple[Any, str | None]:
        function = kong
        for name in method.split(".")[1:]:
            function = getattr(function, name)
        try:
            result = execute(function, args)
        except Exception as error:
            # kong-pdk's PDKException, which this module does not import: it is loaded without kong-pdk as well.
            if type(error).__name__ != "PDKException":
                raise
            return None, str(error)
        # In Lua style a result is a tuple; no value of MessagePack is one.
        if isinstance(result, tuple):
            return result[0], None if result[1] is None else str(result[1])
        return result, None

    return call


def _arguments(method: str, args: Sequence[Any]) -> Sequence[Any]:
    if method in ("kong.request.get_headers", "kong.request.get_query") and (not args or args[0] is None):
        return (_MAX_ARGS,)
    if method == "kong.request.get_raw_body" and not args:
        # Without a limit Kong gives no body that nginx has put into a file, and the request ends with its 500.
        return (MAX_BODY_BYTES,)
    if method.startswith("kong.log.") and not method.endswith("_serialize_value"):
        # kong-pdk would write Python's names of these.
        words = {None: "nil", True: "true", False: "false"}
        return [words[arg] if arg is None or isinstance(arg, bool) else arg for arg in args]
    return args


def _outgoing(value: Any) -> Any:
    """A value as MessagePack can hold it: text that is no UTF-8 goes as bytes, which Lua reads alike."""
    kind = type(value)
    if kind is str:
        return value if value.isascii() else _text_or_bytes(value)
    if value is None or kind in (bool, int, float, bytes):
        return value
    if isinstance(value, Mapping):
        return {_outgoing(name): _outgoing(member) for name, member in value.items() if member is not None}
    if isinstance(value, (list, tuple)):
        return [_outgoing(element) for element in value]
    raise TypeError(f"a {kind.__name__} can't be sent to Kong")


def _without_gap(call: Call) -> Call:
    """An exit whose headers reach Kong although it has no body: arguments behind a nil do not."""
    method, args = call
    return (method, (args[0], "", *args[2:])) if args[1:2] == (None,) and any(args[2:]) else call


def _text_or_bytes(value: str) -> str | bytes:
    try:
        value.encode()
    except UnicodeEncodeError:
        return raw(value)
    return value


def _result(method: str, value: Any) -> Any:
    if method == "kong.request.get_raw_body":
        return b"" if value is None else value if isinstance(value, bytes) else raw(value)
    if method == "kong.request.get_uri_captures":
        return _captures(value)
    if method in _HEADERS:
        return _multi(value, "")
    if method == "kong.request.get_query":
        return _multi(value, True)
    return _incoming(value)


def _multi(value: Any, empty: Any) -> dict[str, Any]:
    """Headers or query from ``name -> [values]``; an empty list is a name without a value."""
    result = {}
    for name, values in value.items() if isinstance(value, dict) else ():
        content = _incoming(values)
        if isinstance(content, list):
            content = empty if not content else content[0] if len(content) == 1 else content
        result[_incoming(name)] = content
    return result


def _captures(value: Any) -> dict[str, Any]:
    """Captures from ``{"unnamed": {0: whole, 1: ...}, "named": {...}}``, without the whole; empty tables are lists."""
    value = value if isinstance(value, dict) else {}
    unnamed = value.get("unnamed")
    named = value.get("named")
    if isinstance(unnamed, dict):
        groups = [unnamed.get(number, "") for number in range(1, max(unnamed, default=0) + 1)]
    else:
        groups = list(unnamed or ())
    return {"unnamed": _incoming(groups), "named": _incoming(named) if isinstance(named, dict) else {}}


def _incoming(value: Any) -> Value:
    """A value in the normal form: bytes as text, a table with holes (number keys) as a list with None."""
    if isinstance(value, bytes):
        return text(value)
    if isinstance(value, list):
        return [_incoming(element) for element in value]
    if not isinstance(value, dict):
        return value
    numbers = [key for key in value if isinstance(key, int) and not isinstance(key, bool)]
    if numbers and len(numbers) == len(value) and min(numbers) > 0 and max(numbers) <= 2 * len(numbers) + 8:
        return [_incoming(value.get(number)) for number in range(1, max(numbers) + 1)]
    return {name if isinstance(name, str) else _key(name): _incoming(member) for name, member in value.items()}


def _key(name: Any) -> str:
    return text(name) if isinstance(name, bytes) else str(name)
