"""The ``Kong`` of one event on ProtoBuf:1."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from gevent.lock import Semaphore

from request_callout.engine.kong import BodyFileError, Call, ConnectionLost, ProtocolName
from request_callout.lua.host import PdkError
from request_callout.pdk.availability import unsupported_on_protobuf
from request_callout.pdk.protobuf import END_OF_CALLS, METHODS, Done, FrameError, Method, RawBody, encode_return, frame

_EXIT = METHODS["kong.response.exit"]


class Exchanges(Protocol):
    """What an event needs of its connection; see ``request_callout.pdk.connection.Connection``."""

    @property
    def owed(self) -> int:
        """How many replies Kong still owes."""

    def exchange(self, data: bytes, replies: int) -> list[bytes]:
        """Send ``data`` and give the replies to the calls in it. Raises ConnectionLost, FrameError."""

    def wait_for_end(self) -> None:
        """Wait until Kong closes the connection."""


class ProtobufKong:
    """See ``request_callout.engine.kong.Kong``.

    All calls form one queue, first in first out. A greenlet that reads takes everything queued so far along, in one
    write, and holds the connection until its replies are there.
    """

    __slots__ = ("_asked", "_connection", "_exit", "_finished", "_lock", "_queue", "_queued", "_sequence")

    def __init__(self, connection: Exchanges, sequence: int) -> None:
        self._connection = connection
        self._sequence = sequence
        self._lock = Semaphore()
        self._queue: list[bytes] = []
        self._queued: list[str] = []
        # Places in the queue of calls whose results are wanted.
        self._asked: list[tuple[int, Method, Callable[[Any], None]]] = []
        self._exit: bytes | None = None
        self._finished = False

    @property
    def protocol(self) -> ProtocolName:
        """Always ``ProtoBuf``."""
        return "ProtoBuf"

    def read(self, calls: Sequence[Call]) -> list[Any]:
        """See ``Kong.read``. Raises TypeError or ValueError for wrong arguments, before anything is sent.

        Raises PdkError if Kong could not give the body, and ConnectionLost once the event has its answer.
        """
        methods = []
        encoded = []
        for name, args in calls:
            method = _method(name)
            if method is _EXIT:
                raise ValueError("kong.response.exit has no result to wait for")
            methods.append(method)
            encoded.append(method.encode_call(args))
        with self._lock:
            if self._exit is not None or self._finished:
                raise ConnectionLost("the request has been answered already")
            replies = self._send(encoded, [method.name for method in methods])
        return [_result(method, reply) for method, reply in zip(methods, replies, strict=True)]

    def write(self, method: str, *args: Any) -> None:
        """See ``Kong.write``. Raises UnsupportedMethod, TypeError or ValueError; nothing is queued then."""
        known = _method(method)
        encoded = known.encode_call(args)
        if self._exit is not None or self._finished:
            return
        if known is _EXIT:
            self._exit = encoded
            return
        self._queue.append(encoded)
        self._queued.append(method)

    def ask(self, call: Call, told: Callable[[Any], None]) -> None:
        """See ``Kong.ask``. Raises as ``write``."""
        name, args = call
        place = len(self._queue)
        self.write(name, *args)
        if len(self._queue) > place:
            self._asked.append((place, _method(name), told))
        else:
            told(None)

    def exit(self, status: int, body: bytes | None, headers: Mapping[str, str | list[str]]) -> None:
        """See ``Kong.exit``. Only the first exit of an event counts."""
        self.write(_EXIT.name, status, body, headers)

    def finish(self) -> bool:
        """Send everything left and the end of the event in one write, and take the replies that are owed.

        Gives whether the connection can be used for the next command: Kong drops it after an exit. Raises
        ConnectionLost if Kong ended the request otherwise, FrameError.
        """
        with self._lock:
            self._finished = True
            if self._exit is None:
                self._send([END_OF_CALLS, frame(encode_return(Done(self._sequence)))], [])
                return True
            try:
                self._send([self._exit], [])
            except ConnectionLost:
                return False  # Kong reads the exit, answers the client and closes, in whatever order we notice
            self._connection.wait_for_end()
            return False

    def _send(self, more: list[bytes], called: list[str]) -> list[bytes]:
        """Send the queued writes and ``more``; the replies to ``called`` only."""
        unanswered = self._queued + called
        queued = len(self._queued)
        data = b"".join(self._queue + more)
        self._queue = []
        self._queued = []
        asked, self._asked = self._asked, []
        try:
            replies = self._connection.exchange(data, len(unanswered))
        except FrameError:
            _tell_nothing(asked)
            raise
        except ConnectionLost as error:
            _tell_nothing(asked)
            owed = self._connection.owed
            if 0 < owed <= len(unanswered):
                first = unanswered[len(unanswered) - owed]
                raise ConnectionLost(f"{error}; {first} was not answered") from None
            raise
        for at, (place, method, told) in enumerate(asked):
            try:
                result = _result(method, replies[place])
            except Exception:  # nothing of use came
                _tell_nothing(asked[at:])
                raise
            told(result)
        return replies[queued:]


def _tell_nothing(asked: Sequence[tuple[int, Method, Callable[[Any], None]]]) -> None:
    """There will be no results."""
    for _, _, told in asked:
        told(None)


def _method(name: str) -> Method:
    method = METHODS.get(name)
    if method is None:
        raise unsupported_on_protobuf(name)
    return method


def _result(method: Method, reply: bytes) -> Any:
    value = method.decode_result(reply)
    return _body(value) if isinstance(value, RawBody) else value


def _body(body: RawBody) -> bytes:
    """The client's body, from the file that nginx wrote it to if it did."""
    if body.error is not None:
        raise PdkError(f"kong.request.get_raw_body: {body.error}")
    if body.path is None:
        return body.content
    try:
        with open(body.path, "rb") as file:
            return file.read()
    except OSError:
        raise BodyFileError(body.path) from None
