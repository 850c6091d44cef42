"""The process that answers when somebody asks how the server does: metrics, health, traces.

It handles no requests of Kong's, and what it does costs them nothing: the workers count in memory that it reads, and
hand it records without waiting. Like a worker it lives by its link to the supervisor, and is replaced when it dies.
"""

from __future__ import annotations

# First: it makes sockets and time those of gevent.
from request_callout.server.worker import Link, beat  # isort: skip

import logging
import signal
import socket as plain
import time
from typing import TYPE_CHECKING

import gevent
from gevent.socket import socket

from request_callout.server import process
from request_callout.server.answering import Answering, Application
from request_callout.server.control import Ready
from request_callout.server.reports import Reports, Ring
from request_callout.telemetry.exposition import Exposition

if TYPE_CHECKING:
    from request_callout.server.supervisor import Options

_log = logging.getLogger(__name__)

_LAST_ANSWERS_S = 1.0
_RECORD_BYTES = 1 << 20


def report(link_socket: plain.socket, reports: Reports, options: Options) -> int:
    """Answer until told to stop; gives the process's exit status."""
    process.write_stacks()
    process.name_in_log("reporter")
    link = Link(socket(link_socket.family, link_socket.type, fileno=link_socket.detach()))
    term = gevent.signal_handler(signal.SIGTERM, link.told_to_stop.set)
    servers = []
    if reports.metrics is not None:
        servers.append(_serve(reports.metrics.socket, Exposition(reports.values, options.version)))
    if reports.traces is not None and reports.receiving is not None and reports.ring is not None:
        ring = reports.ring()
        receiving = reports.receiving
        servers.append(_serve(reports.traces.socket, ring))
        gevent.spawn(_receive, socket(receiving.family, receiving.type, fileno=receiving.detach()), ring)
    link.send(Ready())
    gevent.spawn(beat, link, options)
    link.told_to_stop.wait()
    for server in servers:
        server.stop_accepting()
    for server in servers:
        server.stop(_LAST_ANSWERS_S)
    term.cancel()
    return 0


def _serve(listening: plain.socket, application: Application) -> Answering:
    server = Answering(listening, application)
    server.start()
    return server


def _receive(receiving: socket, ring: Ring) -> None:
    while True:
        try:
            ring.add(receiving.recv(_RECORD_BYTES))
        except Exception:
            _log.exception("a record could not be kept")
            time.sleep(0.1)
