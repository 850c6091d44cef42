"""CPU time of one GET on a kept-alive loopback connection: this transport, bare geventhttpclient, and requests.

All in one run and in turns, so that the ratios hold whatever the machine is doing: ``python bench/transport.py``. The
server is a process of its own that answers literal bytes; only this process' CPU time is counted.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import statistics
import time
from collections.abc import Callable

import gevent
import requests
from geventhttpclient import HTTPClient

from request_callout.config.settings import TransportSettings
from request_callout.transport import OutgoingRequest, Transport

_BODY = b'{"origin": "127.0.0.1", "url": "http://localhost/get", "padding": "' + b"x" * 400 + b'"}'
_ANSWER = (
    b"HTTP/1.1 200 OK\r\nDate: Sat, 21 Nov 2026 05:00:00 GMT\r\nContent-Type: application/json\r\n"
    b"Server: bench\r\nCache-Control: no-store\r\nX-Request-Id: 0123456789abcdef\r\n"
    b"Content-Length: %d\r\nConnection: keep-alive\r\n\r\n%b" % (len(_BODY), _BODY)
)
_HEADERS = [
    ("User-Agent", "kong/request-callout"),
    ("Accept", "application/json"),
    ("Authorization", "Bearer 0123456789abcdef0123456789abcdef"),
    ("X-Request-Id", "0123456789abcdef"),
]


def _serve(listener: socket.socket) -> None:
    """Answer each request head with the same bytes, one thread a connection."""
    import threading

    def answer(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            data = b""
            while not data.endswith(b"\r\n\r\n"):
                more = connection.recv(65536)
                if not more:
                    return
                data += more
            connection.sendall(_ANSWER)

    while True:
        connection, _ = listener.accept()
        threading.Thread(target=answer, args=(connection,), daemon=True).start()


def _cpu_us(call: Callable[[], object], times: int) -> float:
    started = time.process_time()
    for _ in range(times):
        call()
    return (time.process_time() - started) / times * 1e6


def _concurrent_us(call: Callable[[], object], times: int, greenlets: int) -> float:
    def several() -> None:
        for _ in range(times // greenlets):
            call()

    started = time.process_time()
    gevent.joinall([gevent.spawn(several) for _ in range(greenlets)], raise_error=True)
    return (time.process_time() - started) / times * 1e6


def main() -> None:
    """Print the medians and their ratios to this transport."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--requests", type=int, default=1000, help="requests in each round")
    options.add_argument("--rounds", type=int, default=7)
    given = options.parse_args()
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    child = os.fork()
    if child == 0:
        _serve(listener)
    port = listener.getsockname()[1]
    url = f"http://127.0.0.1:{port}/get?a=1"
    transport = Transport(TransportSettings())
    bare = HTTPClient("127.0.0.1", port, concurrency=16)
    headers = dict(_HEADERS)
    session = requests.Session()

    def ours() -> None:
        response = transport.send(
            OutgoingRequest("GET", url, _HEADERS, None, 60.0, 60.0, 60.0, time.monotonic() + 55.0)
        )
        assert response.body == _BODY

    def theirs() -> None:
        response = bare.get("/get?a=1", headers=headers)
        assert response.read() == _BODY
        response.release()

    def plain() -> None:
        assert session.get(url, headers=headers, timeout=60).content == _BODY

    clients: dict[str, Callable[[], float]] = {
        "transport": lambda: _cpu_us(ours, given.requests),
        "geventhttpclient": lambda: _cpu_us(theirs, given.requests),
        "requests": lambda: _cpu_us(plain, max(given.requests // 5, 1)),
        "transport, 16 at once": lambda: _concurrent_us(ours, given.requests, 16),
        "geventhttpclient, 16 at once": lambda: _concurrent_us(theirs, given.requests, 16),
    }
    try:
        found: dict[str, list[float]] = {name: [] for name in clients}
        for _ in range(given.rounds):
            for name, measure in clients.items():
                found[name].append(measure())
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    base = statistics.median(found["transport"])
    for name, figures in found.items():
        median = statistics.median(figures)
        print(f"{name:30} {median:7.1f} us CPU a GET   {median / base:5.2f} x")


if __name__ == "__main__":
    main()
