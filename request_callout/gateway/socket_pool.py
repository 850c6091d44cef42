"""Connections to the plugin server's unix socket, kept for the next request as OpenResty's cosockets are."""

from __future__ import annotations

import asyncio
import time

IO_TIMEOUT_S = 60.0
"""How long Kong waits for one read or write on the socket."""

_IDLE_S = 60.0
_KEPT = 256


class Connection:
    """One stream to the server; every operation is bounded by ``IO_TIMEOUT_S``."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.idle_since = 0.0
        # Like a cosocket, a write is done when the kernel has taken all of it.
        writer.transport.set_write_buffer_limits(high=0)

    async def read(self) -> bytes:
        """What arrived, empty at the end of the stream; raises OSError or asyncio.TimeoutError."""
        return await asyncio.wait_for(self._reader.read(65536), IO_TIMEOUT_S)

    async def write(self, data: bytes) -> None:
        """Write all of it; raises OSError or asyncio.TimeoutError."""
        self._writer.write(data)
        await asyncio.wait_for(self._writer.drain(), IO_TIMEOUT_S)

    @property
    def usable(self) -> bool:
        """Whether the other end has not closed it while it was idle."""
        fresh = time.monotonic() - self.idle_since < _IDLE_S
        return fresh and not self._reader.at_eof() and not self._writer.is_closing()

    def close(self) -> None:
        """Close it; what was not sent is lost."""
        self._writer.close()


class SocketPool:
    """Connects to one socket, and keeps connections that were given back."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._idle: list[Connection] = []

    async def connect(self) -> Connection:
        """An idle connection or a new one; raises OSError."""
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
            connection.close()
        return Connection(*await asyncio.open_unix_connection(self._path))

    def give_back(self, connection: Connection) -> None:
        """Keep a connection whose exchange is complete."""
        connection.idle_since = time.monotonic()
        self._idle.append(connection)
        if len(self._idle) > _KEPT:
            self._idle.pop(0).close()

    def close(self) -> None:
        """Close what is idle."""
        while self._idle:
            self._idle.pop().close()
