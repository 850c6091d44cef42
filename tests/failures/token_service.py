"""A service that callouts call, in a process of its own: ``python -m`` this module PORT SECRET.

It gives the token of the ``id`` in the query (see ``stage.token``), which nobody else can make; under ``/counted`` also
the number of the call, from one on.
"""

from __future__ import annotations

import asyncio
import hmac
import itertools
import re
import sys
from collections.abc import Iterator

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"


def token(secret: str, identity: str) -> str:
    """What this service gives for an id."""
    return hmac.new(secret.encode(), identity.encode(), "sha256").hexdigest()


class _Service(asyncio.Protocol):
    def __init__(self, secret: str, calls: Iterator[int]) -> None:
        self._secret = secret
        self._calls = calls
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        *requests, self._received = (self._received + data).split(b"\r\n\r\n")
        for request in requests:
            found = re.search(rb"[?&]id=([^& ]+)", request)
            assert found is not None
            given = b'"token":"%s"' % token(self._secret, found[1].decode()).encode()
            counted = b',"call":%d' % next(self._calls) if b" /counted?" in request else b""
            body = b"{%s%s}" % (given, counted)
            self._transport.write(_ANSWER % (len(body), body))


async def main(port: int, secret: str) -> None:
    """Print the port and serve until killed."""
    calls = itertools.count(1)
    server = await asyncio.get_running_loop().create_server(lambda: _Service(secret, calls), "127.0.0.1", port)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
