"""Writing to standard error without waiting for who reads it: a reader that stands still must not stop requests.

A pipe is opened anew, with a description of our own that does not block; a socket is asked not to wait, with each line.
Files and terminals take what they are given. What finds no room is lost, and how many lines that were is told by the
next one that finds some.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import socket
import stat
from collections.abc import Callable

_DESCRIPTOR = 2
_PIPE_BYTES = 1 << 20
"""What a pipe may hold, so that a reader may be late; what Linux lets everybody have."""
_WITHOUT_WAITING = 4096
"""A pipe that has room at all takes so many bytes (POSIX: at least 512 at once; Linux: a page)."""


class StandardError:
    """Takes lines; ``descriptor`` is for who writes there himself, such as ``faulthandler``."""

    def __init__(self, lost: Callable[[int], bytes]) -> None:
        """``lost`` makes the line that tells how many were lost."""
        self.descriptor = _DESCRIPTOR
        self._lost_line = lost
        self._lost = 0
        self._rest = b""
        self._send: Callable[[bytes], int] = self._to_file
        try:
            kind = os.fstat(_DESCRIPTOR).st_mode
        except OSError:  # closed: the next connection would have its number, and get what is written
            os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), _DESCRIPTOR)
            return
        if stat.S_ISSOCK(kind):
            self._socket = socket.socket(fileno=os.dup(_DESCRIPTOR))
            self._send = self._to_socket
        elif stat.S_ISFIFO(kind):
            with contextlib.suppress(OSError):
                fcntl.fcntl(_DESCRIPTOR, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
            try:
                self.descriptor = os.open(f"/proc/self/fd/{_DESCRIPTOR}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError:  # another user's, or no /proc
                self._send = self._to_foreign_pipe

    def write(self, line: bytes) -> None:
        """Write a line, or lose it."""
        if self._rest:
            self._rest = self._rest[self._sent(self._rest) :]
        if not self._rest and self._lost:
            told = self._lost_line(self._lost)
            sent = self._sent(told)
            if sent:
                self._lost, self._rest = 0, told[sent:]
        if self._rest or self._lost:
            self._lost += 1
            return
        sent = self._sent(line)
        if sent:
            self._rest = line[sent:]
        else:
            self._lost += 1

    def _sent(self, data: bytes) -> int:
        try:
            return self._send(data)
        except OSError:  # no room in the pipe or on the disk, or nobody reads any more
            return 0

    def _to_file(self, data: bytes) -> int:
        return os.write(self.descriptor, data)

    def _to_socket(self, data: bytes) -> int:
        return self._socket.send(data, socket.MSG_DONTWAIT)

    def _to_foreign_pipe(self, data: bytes) -> int:
        """Not to block would be a setting of everybody's who has it; another process may be quicker to fill it."""
        room = select.poll()
        room.register(_DESCRIPTOR, select.POLLOUT)
        sent = 0
        while sent < len(data) and room.poll(0):
            sent += os.write(_DESCRIPTOR, data[sent : sent + _WITHOUT_WAITING])
        return sent
