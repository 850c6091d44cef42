"""What the server tells over HTTP about itself, as the supervisor and the workers hold it; ``reporter`` tells it.

All of it is made before the fork: the sockets that are listened on, the memory that workers count in, and the socket
pair on which they hand records over. No request waits for any of it.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from request_callout.server.addresses import Address, Listener
from request_callout.server.sockets import ListeningSocket, SocketError
from request_callout.telemetry import families
from request_callout.telemetry.shared_values import SharedValues

_BUFFER_BYTES = 4 << 20

Environ = dict[str, Any]
StartResponse = Callable[..., Any]


class Ring(Protocol):
    """What the reporter does with records, made in its process: it keeps some, and shows them as a WSGI application."""

    def add(self, record: bytes) -> None:
        """Take a record; must not raise for one that can't be read."""

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request on the trace socket."""


class Reports:
    """Metrics at one address, records at another; where there is no address there is nothing to do.

    To be made in the supervisor, with one place for each of its ``workers``; ``ring`` is called in the reporter. With
    ``take_over`` the addresses may be those of a server that still runs. Raises SocketError, which names the option.
    ``place`` is that of this process, ``dropped`` counts the records of this process that were lost.
    """

    def __init__(
        self,
        metrics: Address | None = None,
        traces: Address | None = None,
        *,
        workers: int = 1,
        take_over: bool = False,
        ring: Callable[[], Ring] | None = None,
    ) -> None:
        self.ring = ring
        self.metrics = _listener("--metrics", metrics, take_over=take_over)
        try:
            self.traces = _listener("--trace-socket", traces, take_over=take_over)
        except SocketError:
            if self.metrics is not None:
                self.metrics.close()
            raise
        # The last is the supervisor's own.
        self.values = [SharedValues() for _ in range(workers + 1)] if metrics is not None else []
        self.place = workers
        self.dropped = 0
        self._sending: socket.socket | None = None
        self.receiving: socket.socket | None = None
        if traces is not None:
            # A pair knows its two ends, so that only the buffer bounds what is under way, not a number of datagrams.
            self._sending, self.receiving = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._sending.setblocking(False)
            self._sending.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)

    def __bool__(self) -> bool:
        """Whether there is anything to report."""
        return self.metrics is not None or self.traces is not None

    def publish(self) -> None:
        """Begin to listen. Raises SocketError."""
        for option, listener in (("--metrics", self.metrics), ("--trace-socket", self.traces)):
            if listener is not None:
                try:
                    listener.publish()
                except SocketError as error:
                    raise SocketError(f"{option}: {error}") from None

    def unix_sockets(self) -> list[ListeningSocket]:
        """Those of the addresses that are paths."""
        return [one.unix for one in (self.metrics, self.traces) if one is not None and one.unix is not None]

    def close(self) -> None:
        """Listen no more, in this process."""
        for listener in (self.metrics, self.traces):
            if listener is not None:
                listener.close()

    def in_worker(self, place: int) -> None:
        """Keep what the worker at this place needs; it counts on where the one before it has stopped."""
        self.place = place
        for listener in (self.metrics, self.traces):
            if listener is not None:
                listener.socket.close()  # the path stays: it is the supervisor's
        if self.receiving is not None:
            self.receiving.close()

    @property
    def own(self) -> SharedValues | None:
        """What this process counts in, None without metrics: a worker's values, or the supervisor's."""
        return self.values[self.place] if self.values else None

    def emit(self, record: bytes) -> bool:
        """Hand a record to the reporter, without waiting; false if there is no room for it, and it is lost."""
        if self._sending is None:
            return False
        try:
            self._sending.send(record)
        except OSError:  # full, or too long
            self._count_dropped()
            return False
        return True

    def _count_dropped(self) -> None:
        self.dropped += 1
        values = self.own
        if values is not None:
            values.cells[values.cell(families.TRACES_DROPPED)] += 1.0


def _listener(option: str, address: Address | None, *, take_over: bool) -> Listener | None:
    if address is None:
        return None
    try:
        return Listener(address, take_over=take_over)
    except SocketError as error:
        raise SocketError(f"{option}: {error}") from None
