"""The life of the server process: logging, listening, signals, an end that finishes what is in flight."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable
from typing import Protocol

import gevent
from gevent.event import Event
from gevent.server import StreamServer
from gevent.socket import socket

from request_callout.server.log_lines import LineFormatter
from request_callout.server.sockets import ListeningSocket

_log = logging.getLogger(__name__)

GRACE_S = 30.0
"""How long requests in flight may take after SIGTERM unless an option says otherwise."""


class Server(Protocol):
    """One protocol of Kong over accepted connections."""

    def handle(self, sock: socket, address: object) -> None:
        """Serve one connection to its end."""

    def stop(self, grace_s: float) -> int:
        """Take nothing new, wait for what is in flight; gives how much was not finished in time."""


def set_up_logging(level: str) -> None:
    """Send log lines of this process to standard error, with time and level."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


def run(
    server: Server, listening: ListeningSocket, grace_s: float = GRACE_S, on_ready: Callable[[], None] | None = None
) -> None:
    """Serve until SIGTERM or SIGINT; then stop accepting and finish what is in flight, at most ``grace_s`` seconds.

    A second signal ends the wait.
    """
    stop = Event()
    impatient = Event()

    def on_signal() -> None:
        (impatient if stop.is_set() else stop).set()

    handlers = [gevent.signal_handler(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)]
    acceptor = StreamServer(listening.socket, server.handle)
    acceptor.start()
    _log.info("listening on %s", listening.path)
    if on_ready is not None:
        on_ready()
    try:
        stop.wait()
    finally:
        acceptor.stop_accepting()
        listening.close()
    _log.info("stopping")
    left: list[int] = []

    def finish() -> None:
        left.append(server.stop(grace_s))
        impatient.set()

    gevent.spawn(finish)
    impatient.wait()
    if left != [0]:
        _log.warning("ended with requests in flight: %s", left[0] if left else "not awaited")
    for handler in handlers:
        handler.cancel()
    _log.info("stopped")
