"""One connection: reading and writing within their times, on gevent's hub.

The socket never blocks: when it is not ready, the greenlet waits for it under the operation's own time and the
deadline. So the times also hold for TLS, where one read may need many packets.
"""

from __future__ import annotations

import select
import ssl
import time
from types import TracebackType
from typing import Any

import gevent
from gevent import monkey
from gevent.socket import socket as GeventSocket  # noqa: N812 (a class)

from request_callout.transport.message import TransportError
from request_callout.transport.tls import is_cut, tls_failure

_READ, _WRITE = 1, 2
_poll = monkey.get_original("select", "poll")
"""The system's ``poll``, also when ``select`` is patched; unlike ``select`` it takes descriptors over 1023."""


class ConnectionLost(Exception):
    """The peer closed or reset the connection; the message says how."""


class Connection:
    """A connected socket, with or without TLS.

    ``idle_since`` is a ``time.monotonic()`` moment; ``received`` tells whether anything came since ``begin``.
    """

    __slots__ = (
        "_deadline",
        "_hub",
        "_poller",
        "_read_s",
        "_readable",
        "_sock",
        "_tls",
        "_wait_first",
        "_writable",
        "_write_s",
        "idle_since",
        "received",
    )

    def __init__(self, sock: GeventSocket, tls: bool) -> None:
        sock.settimeout(0.0)
        self._sock: Any = sock  # or gevent's SSLSocket
        self._tls = tls
        self._hub = gevent.get_hub()
        self._readable: Any = self._hub.loop.io(sock.fileno(), _READ)
        self._writable: Any = None
        self._poller: Any = _poll()
        self._poller.register(sock.fileno(), select.POLLIN)
        self._read_s = self._write_s = 0.0
        self._deadline: float | None = None
        self._wait_first = False
        self.received = False
        self.idle_since = 0.0

    def begin(self, write_s: float, read_s: float, deadline: float | None) -> None:
        """Set the times, in seconds, of the exchange that follows; ``deadline`` bounds all of it."""
        self._write_s = write_s
        self._read_s = read_s
        self._deadline = deadline
        self.received = False

    def send(self, data: bytes) -> None:
        """Write all of ``data``; raises ``ConnectionLost`` and ``TransportError`` (``timeout``, ``tls``)."""
        try:
            sent = self._send_some(data)
            if sent < len(data):
                rest = memoryview(data)[sent:]
                while rest:
                    rest = rest[self._send_some(rest) :]
        except OSError as error:
            raise _lost(error) from error
        # The answer to what was just sent is hardly ever there yet: waiting first saves a call that fails.
        self._wait_first = True

    def _send_some(self, data: bytes | memoryview) -> int:
        while True:
            try:
                return int(self._sock.send(data))
            except (BlockingIOError, ssl.SSLWantWriteError):
                self._wait(self._for_writing(), "write", self._write_s)
            except ssl.SSLWantReadError:
                self._wait(self._readable, "write", self._write_s)

    def receive(self, size: int) -> bytes:
        """Up to ``size`` bytes, empty at the end of the stream; raises as ``send``."""
        if self._wait_first:
            self._wait_first = False
            self._wait(self._readable, "read", self._read_s)
        while True:
            try:
                data: bytes = self._sock.recv(size)
            except (BlockingIOError, ssl.SSLWantReadError):
                self._wait(self._readable, "read", self._read_s)
            except ssl.SSLWantWriteError:
                self._wait(self._for_writing(), "read", self._read_s)
            except OSError as error:
                raise _lost(error) from error
            else:
                if data:
                    self.received = True
                return data

    def _for_writing(self) -> Any:
        if self._writable is None:
            self._writable = self._hub.loop.io(self._sock.fileno(), _WRITE)
        return self._writable

    def _wait(self, watcher: Any, operation: str, seconds: float) -> None:
        allowed = seconds
        if self._deadline is not None:
            allowed = min(seconds, self._deadline - time.monotonic())
        if allowed <= 0:
            raise _timed_out(operation, seconds, allowed)
        timer = gevent.Timeout(allowed)
        timer.start()
        try:
            self._hub.wait(watcher)
        except gevent.Timeout as raised:
            if raised is not timer:
                raise
            raise _timed_out(operation, seconds, allowed) from None
        finally:
            timer.close()

    def is_stale(self) -> bool:
        """Whether an idle connection can't be used: the peer closed it or sent what nobody asked for.

        TLS's own late messages count too: they are rare, and can't be told from the start of a forged response.
        """
        return bool(self._poller.poll(0))

    def has_unread(self) -> bool:
        """Whether decrypted bytes are left behind that ``is_stale`` could not see."""
        return self._tls and bool(self._sock.pending())

    def close(self) -> None:
        """Close the socket; may be called again."""
        if self._readable is not None:
            self._readable.close()
            self._readable = None
            if self._writable is not None:
                self._writable.close()
                self._writable = None
            self._poller = None
            self._sock.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _timed_out(operation: str, seconds: float, allowed: float) -> TransportError:
    if allowed < seconds:
        return TransportError("timeout", f"{operation} stopped: the deadline of all callouts has passed")
    return TransportError("timeout", f"{operation} timed out after {seconds * 1000:.0f} ms")


def _lost(error: OSError) -> Exception:
    """What a failed read or write means."""
    if is_cut(error):
        return ConnectionLost("the connection was closed without TLS's closing message")
    if isinstance(error, ssl.SSLZeroReturnError) or getattr(error, "reason", None) == "PROTOCOL_IS_SHUTDOWN":
        return ConnectionLost("the peer closed the connection")
    if isinstance(error, ssl.SSLError):
        return tls_failure(error)
    return ConnectionLost(f"the connection was lost: {(error.strerror or str(error)).lower()}")
