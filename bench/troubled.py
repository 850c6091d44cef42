"""A service in trouble: it is out of order for a while, or now and then slow.

It works on one request at a time, each takes ``--work-ms``, and whoever has asked is served in turn, also if nobody
waits for the answer any more: so a service that is asked for more than it can do stays behind when its trouble is over.
``/outage/MS`` begins a time in which every answer is a 503; ``/counts`` tells how many requests there were, and
``/work`` is the work. ``/tail`` answers at once, but one request of a hundred, chosen at random, after ``--slow-ms``.
Run as a process of its own: ``python -m bench.troubled`` prints the port that it listens on.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal

_BODY = b'{"id": 7}'


class Trouble:
    """What the connections share; moments are of the loop's clock."""

    def __init__(self, work_ms: float, slow_ms: float) -> None:
        self.work_s = work_ms / 1000
        self.slow_s = slow_ms / 1000
        self.busy_until = 0.0
        self.out_until = 0.0
        self.asked = 0
        self.asked_while_out = 0
        self.chance = random.Random(4711)

    def answer(self, path: str) -> tuple[float, bytes]:
        """After how many seconds to answer, and what."""
        now = asyncio.get_running_loop().time()
        kind, _, number = path.strip("/").partition("/")
        if kind == "outage":
            self.out_until = now + int(number) / 1000
            self.asked = self.asked_while_out = 0
            return 0.0, _response(200, _BODY)
        if kind == "counts":
            return 0.0, _response(200, json.dumps({"asked": self.asked, "while_out": self.asked_while_out}).encode())
        self.asked += 1
        if kind == "tail":
            return (self.slow_s if self.chance.random() < 0.01 else 0.0), _response(200, _BODY)
        self.asked_while_out += now < self.out_until
        self.busy_until = max(now, self.busy_until) + self.work_s
        return self.busy_until - now, _response(503 if self.busy_until < self.out_until else 200, _BODY)


def _response(status: int, body: bytes) -> bytes:
    reason = b"OK" if status == 200 else b"Service Unavailable"
    head = b"HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return head % (status, reason, len(body)) + body


class Connection(asyncio.Protocol):
    """One connection; requests have no body."""

    def __init__(self, trouble: Trouble) -> None:
        self._trouble = trouble
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            path = self._buffer[: self._buffer.index(b"\r\n")].split(b" ")[1].decode()
            self._buffer = self._buffer[end + 4 :]
            delay_s, content = self._trouble.answer(path)
            asyncio.get_running_loop().call_later(delay_s, self._send, content)

    def _send(self, content: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(content)


async def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--work-ms", type=float, default=1000 / 300)
    parser.add_argument("--slow-ms", type=float, default=500)
    given = parser.parse_args()
    trouble = Trouble(given.work_ms, given.slow_ms)
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    server = await loop.create_server(lambda: Connection(trouble), "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await ended.wait()


if __name__ == "__main__":
    asyncio.run(main())
