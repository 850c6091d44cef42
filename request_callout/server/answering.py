"""The HTTP server of the reporter: whoever asks, and however slowly, nobody else is kept from an answer.

A probe that gets none ends the whole server, so clients that sit on their connections must not bring that about. Each
connection has one request and a time of its own; where there are too many, the oldest has to go. What clients do wrong
is their affair: it is in the log at level debug only.
"""

from __future__ import annotations

import logging
import socket as plain
from collections.abc import Callable, Iterable
from contextlib import suppress
from http.client import HTTPException
from typing import Any

import gevent
from gevent.pywsgi import WSGIHandler, WSGIServer
from gevent.socket import socket

from request_callout.server.reports import Environ, StartResponse

_log = logging.getLogger(__name__)

MOST_CONNECTIONS = 100
_LONGEST_S = 30.0

Application = Callable[[Environ, StartResponse], Iterable[bytes]]


class Answering(WSGIServer):
    """Answers on this socket with an application, from ``start()`` to ``stop()``."""

    def __init__(self, listening: plain.socket, application: Application) -> None:
        def answer(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
            try:
                return application(environ, start_response)
            except Exception:
                _log.exception("a request for %s could not be answered", environ.get("PATH_INFO"))
                start_response("500 Internal Server Error", [("Content-Length", "0")])
                return ()

        listener = socket(listening.family, listening.type, fileno=listening.detach())
        super().__init__(listener, answer, log=None, error_log=None, handler_class=_Handler)
        self._open: dict[socket, None] = {}

    def handle(self, sock: socket, address: Any) -> None:
        """Serve one connection."""
        if len(self._open) >= MOST_CONNECTIONS:
            self._end(next(iter(self._open)))
        self._open[sock] = None
        timer = gevent.spawn_later(_LONGEST_S, self._end, sock)
        try:
            with suppress(OSError):  # the client is gone
                super().handle(sock, address)
        finally:
            timer.kill(block=False)
            self._open.pop(sock, None)

    def _end(self, sock: socket) -> None:
        """What is read or written there ends."""
        self._open.pop(sock, None)
        with suppress(OSError):
            sock.shutdown(plain.SHUT_RDWR)


class _Handler(WSGIHandler):
    def read_request(self, raw_requestline: str) -> Any:
        try:
            found = super().read_request(raw_requestline)
        except (HTTPException, OSError) as error:  # of what is no ValueError a traceback would be printed
            raise ValueError(str(error)) from None
        self.close_connection = True
        return found

    def log_error(self, msg: str, *args: object) -> None:
        _log.debug(msg, *args) if args else _log.debug("%s", msg)
