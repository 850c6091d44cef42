"""Accepting Kong's connections in a worker that shares the listening socket with others."""

from __future__ import annotations

import logging
import socket as plain
from collections.abc import Callable

import gevent
from gevent.socket import socket, wait_read

from request_callout.server.loads import Loads

_log = logging.getLogger(__name__)

_LEAVE_TO_OTHERS_S = 0.001
_PAUSE_S = 0.1


class Acceptor:
    """Accepts connections, each with a greenlet of its own that runs ``handle``.

    A worker that has more connections than another leaves a new one to the others for a moment.
    """

    def __init__(
        self, listening: plain.socket, handle: Callable[[socket, object], None], place: int, loads: Loads
    ) -> None:
        self._listening = listening
        self._handle = handle
        self._place = place
        self._loads = loads
        self._connections = 0
        loads.set(place, 0)
        self._greenlet = gevent.spawn(self._run)

    def stop(self) -> None:
        """Accept what waits already, and nothing more."""
        self._greenlet.kill()
        self._loads.absent(self._place)
        while self._accept():
            pass
        self._listening.close()
        gevent.sleep(0)  # so that each connection has begun

    def _run(self) -> None:
        while True:
            wait_read(self._listening.fileno())
            if self._loads.above_others(self._place):
                gevent.sleep(_LEAVE_TO_OTHERS_S)
            self._accept()

    def _accept(self) -> bool:
        """Accept one connection, if there is still one."""
        try:
            accepted, _ = self._listening.accept()
        except BlockingIOError:
            return False
        except OSError as error:
            _log.error("can't accept a connection: %s", error.strerror)
            gevent.sleep(_PAUSE_S)
            return False
        gevent.spawn(self._serve, socket(accepted.family, accepted.type, fileno=accepted.detach()))
        return True

    def _serve(self, sock: socket) -> None:
        self._connections += 1
        self._count()
        try:
            self._handle(sock, None)
        finally:
            self._connections -= 1
            self._count()

    def _count(self) -> None:
        if not self._greenlet.dead:
            self._loads.set(self._place, self._connections)
