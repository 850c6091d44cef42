"""The service that callouts call: answers from memory, so that it costs as little as a Python server can.

``/token`` gives a token as JSON, ``/delay/MS`` the same after that time, ``/bytes/N`` a JSON document of about N bytes;
``/calls`` tells how many requests there were, itself included.
Run as a process of its own: ``python -m bench.service`` prints the port that it listens on.
"""

from __future__ import annotations

import asyncio
import signal
from functools import lru_cache

TOKEN = b'{"access_token": "eyJhbGciOiJIUzI1NiJ9.0123456789abcdef0123456789abcdef", "expires_in": 300}'


@lru_cache(maxsize=64)
def answer(path: bytes) -> tuple[float, bytes]:
    """After how many seconds to answer, and the bytes of the answer."""
    kind, _, number = path.lstrip(b"/").partition(b"/")
    body = TOKEN
    if kind == b"bytes":
        body = b'{"items": ["' + b"x" * max(int(number) - 16, 0) + b'"]}'
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nServer: bench\r\nContent-Length: %d\r\n\r\n"
    return int(number) / 1000 if kind == b"delay" else 0.0, head % len(body) + body


class Service(asyncio.Protocol):
    """One connection; ``calls`` counts the requests of all."""

    calls = 0

    def __init__(self) -> None:
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data if self._buffer else data
        end = data.find(b"\r\n\r\n") + 4
        at = data.lower().find(b"content-length: ", 0, end)
        length = int(data[at + 16 : data.index(b"\r", at)]) if at >= 0 and end > 3 else 0
        if end < 4 or len(data) < end + length:
            self._buffer = data
            return
        self._buffer = b""
        Service.calls += 1
        path = data[data.index(b" ") + 1 : data.index(b" HTTP")].partition(b"?")[0]
        delay_s, content = answer(path) if path != b"/calls" else (0.0, b"HTTP/1.0 200 OK\r\n\r\n%d" % Service.calls)
        assert self._transport is not None
        if delay_s:
            asyncio.get_running_loop().call_later(delay_s, self._transport.write, content)
        else:
            self._transport.write(content)
        if path == b"/calls":
            self._transport.close()


async def main() -> None:
    """Serve until SIGTERM."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    server = await loop.create_server(Service, "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await ended.wait()


if __name__ == "__main__":
    asyncio.run(main())
