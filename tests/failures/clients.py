"""Clients in a process of their own, to be killed: ``python -m`` this module HOST PORT CLIENTS.

Half of them wait for an answer to ``/held``, the other half have sent only a part of a body.
"""

from __future__ import annotations

import signal
import socket
import sys

WHOLE = b"GET /held?id=%s HTTP/1.1\r\nHost: localhost\r\n\r\n"
PART = b"POST /held?id=%s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nonly a part"


def begin(address: tuple[str, int], identity: str, request: bytes) -> socket.socket:
    """A connection on which this was sent, whose answer nobody has read."""
    sock = socket.create_connection(address, 30)
    sock.sendall(request % identity.encode())
    return sock


if __name__ == "__main__":
    host, port, number = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    kept = [begin((host, port), f"killed-{one}", PART if one % 2 else WHOLE) for one in range(number)]
    print(len(kept), flush=True)
    signal.pause()
