"""Where the server can be asked over HTTP: ``HOST:PORT`` or ``unix:PATH``, and listening there.

Listening begins when the server is ready. A server that takes another's place (``--replace``) may share a port with it
for a moment; without that a port that is taken is an error.
"""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass

from request_callout.server.sockets import ListeningSocket, SocketError

_BACKLOG = 128
_HIGHEST_PORT = 65535
_REMEDIES = {
    errno.EADDRINUSE: ": choose another port, or stop what listens there (a server is replaced with --replace)",
    errno.EACCES: ": choose a port above 1023",
    errno.EADDRNOTAVAIL: ": this machine has no such address; 0.0.0.0 stands for all that it has",
}


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a port, or the path of a unix socket."""

    host: str = ""
    port: int = 0
    path: str | None = None

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """The address in ``127.0.0.1:9542``, ``[::1]:9542`` or ``unix:/run/metrics.sock``. Raises ValueError."""
    if text.startswith("unix:"):
        path = text[len("unix:") :]
        if not path:
            raise ValueError("unix: needs a path, such as unix:/run/request-callout/metrics.sock")
        return Address(path=path)
    host, colon, port = text.rpartition(":")
    if not colon or not host or not (port.isascii() and port.isdigit()) or int(port) > _HIGHEST_PORT:
        raise ValueError("HOST:PORT or unix:PATH, such as 127.0.0.1:9542 or unix:/run/request-callout/metrics.sock")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError("an IPv6 address stands in brackets, such as [::1]:9542")
    return Address(host, int(port))


class Listener:
    """A socket bound to an address: others can connect from ``publish`` on. Raises SocketError.

    With ``take_over`` the address may be that of a server that still runs; a unix socket has the permissions 600.
    """

    def __init__(self, address: Address, *, take_over: bool = False) -> None:
        self.unix: ListeningSocket | None = None
        if address.path is not None:
            self.unix = ListeningSocket(address.path, take_over=take_over, publish=False)
            self.address = address
            return
        self._tcp = _bound(address, take_over=take_over)
        self.address = Address(address.host, self._tcp.getsockname()[1])

    @property
    def socket(self) -> socket.socket:
        """What is accepted on."""
        return self._tcp if self.unix is None else self.unix.socket

    def publish(self) -> None:
        """Begin to listen. Raises SocketError."""
        if self.unix is not None:
            self.unix.publish()
            return
        try:
            self.socket.listen(_BACKLOG)
        except OSError as error:
            raise SocketError(f"can't listen on {self.address}: {error.strerror}") from None

    def close(self) -> None:
        """Listen no more, in this process; a path goes only if it is not another server's by now."""
        if self.unix is not None:
            self.unix.close()
        self.socket.close()


def _bound(address: Address, *, take_over: bool) -> socket.socket:
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise SocketError(f"can't listen on {address}: {error.strerror}") from None
    family, kind, protocol, _, where = found[0]
    made = socket.socket(family, kind, protocol)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if take_over:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind(where)
        # After bind: it may be shared by a server that takes this one's place, and by no other.
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    except OSError as error:
        made.close()
        remedy = _REMEDIES.get(error.errno or 0, "")
        raise SocketError(f"can't listen on {address}: {error.strerror}{remedy}") from None
    made.setblocking(False)
    return made
