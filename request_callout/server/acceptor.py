"""Accepting Kong's connections in a worker that shares the listening socket with others."""

from __future__ import annotations

import errno
import logging
import socket as plain
from collections.abc import Callable

import gevent
from gevent.socket import socket, wait_read

from request_callout.engine.occasional import Occasional
from request_callout.server.loads import Loads

_log = logging.getLogger(__name__)

_LEAVE_TO_OTHERS_S = 0.001
_PAUSE_S = 0.1
_COMPARE_EVERY_S = 0.1
_REMEDIES = {errno.EMFILE: ": raise the hard limit of open files (ulimit -Hn, LimitNOFILE)"}


class Acceptor:
    """Accepts connections, each with a greenlet of its own that runs ``handle``.

    A worker that has more connections than another leaves a new one to the others for a moment, and gives some of its
    own away (``give_away``).
    """

    def __init__(
        self, listening: plain.socket, handle: Callable[[socket, object], None], place: int, loads: Loads
    ) -> None:
        self._listening = listening
        self._handle = handle
        self._place = place
        self._loads = loads
        self._connections = 0
        self._lines = Occasional()
        loads.set(place, 0)
        self._surplus = 0
        self._greenlets: list[gevent.Greenlet[..., None]] = [
            gevent.spawn(self._run, listening, self._listen),
            gevent.spawn(self._run, loads.given, loads.take),
            gevent.spawn(self._compare),
        ]

    def give_away(self, sock: socket) -> bool:
        """Leave this connection to another worker, if this one has too many; its command must have been answered."""
        if self._surplus <= 0 or not self._loads.give(sock.fileno()):
            return False
        self._surplus -= 1
        return True

    def move_to(self, listening: plain.socket) -> None:
        """Accept what waits at the socket so far, where nobody else can connect any more; from then on at this one."""
        self._greenlets[0].kill()
        while self._accept(self._listen):
            pass
        self._listening.close()
        self._listening = listening
        self._greenlets[0] = gevent.spawn(self._run, listening, self._listen)
        self._count()

    def stop(self) -> None:
        """Accept what waits already, and nothing more."""
        gevent.killall(self._greenlets)
        self._surplus = 0
        self._loads.absent(self._place)
        for source in (self._listen, self._loads.take):
            while self._accept(source):
                pass
        self._listening.close()
        gevent.sleep(0)  # so that each connection has begun

    def _run(self, waiting: plain.socket, source: Callable[[], plain.socket]) -> None:
        while True:
            wait_read(waiting.fileno())
            if self._loads.above_others(self._place):
                gevent.sleep(_LEAVE_TO_OTHERS_S)
            self._accept(source)

    def _compare(self) -> None:
        while True:
            gevent.sleep(_COMPARE_EVERY_S)
            self._surplus = self._loads.surplus(self._place)

    def _listen(self) -> plain.socket:
        return self._listening.accept()[0]

    def _accept(self, source: Callable[[], plain.socket]) -> bool:
        """Accept one connection, if there is still one."""
        try:
            accepted = source()
        except BlockingIOError:
            return False
        except OSError as error:
            if self._lines.due("can't accept"):
                _log.critical(
                    "can't accept connections: %s%s; they wait, or time out in Kong",
                    *(error.strerror, _REMEDIES.get(error.errno or 0, "")),
                )
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
        if not self._greenlets[0].dead:
            self._loads.set(self._place, self._connections)
