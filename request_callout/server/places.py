"""What the supervisor knows of one of its processes: since when it runs, whether it serves, and the link to it.

A place outlives its process: the next one there gets the same number, and the pause before it is as long as the deaths
before it make it. What to do with all this is the supervisor's.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import time
from collections import deque
from collections.abc import Iterator

from request_callout.server.control import Decoder, Message, encode
from request_callout.server.restarts import Restarts

_READ_BYTES = 1 << 18


class Place:
    """One worker's place, and the worker there, if there is one; or that of the reporter, which has no number.

    All times are ``time.monotonic()``: ``born`` and ``heard`` of the process that is there, ``start_at`` and
    ``kill_at`` of what is to be done. ``wanted`` says whether another process takes the place of one that ends.
    """

    def __init__(self, number: int | None, selector: selectors.BaseSelector) -> None:
        self.number = number
        self.restarts = Restarts()
        self.pid: int | None = None
        self.ready = False
        self.born = 0.0
        self.heard = 0.0
        self.start_at: float | None = None if number is None else 0.0
        self.kill_at: float | None = None
        self.wanted = True
        self.link: socket.socket | None = None
        self._selector = selector
        self._decoder = Decoder()
        self._unsent: deque[tuple[bytes, socket.socket | None]] = deque()

    def __str__(self) -> str:
        return f"{self.name} (pid {self.pid})"

    @property
    def name(self) -> str:
        """What the process there is, for the log."""
        return "the reporter" if self.number is None else f"worker {self.number + 1}"

    def taken(self, pid: int, link: socket.socket, now: float) -> None:
        """A process has been started here, and listens at the other end of this link."""
        link.setblocking(False)
        self.pid, self.link = pid, link
        self._decoder = Decoder()
        self._unsent.clear()
        self.ready = False
        self.born = self.heard = now
        self.start_at = self.kill_at = None
        self._selector.register(link, selectors.EVENT_READ, self)

    def left(self) -> None:
        """The process has ended."""
        self.pid = self.kill_at = None
        self.ready = False
        self._unlink()

    def signal(self, number: int) -> None:
        """Send the process a signal, if there is one."""
        if self.pid is not None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End the process at once, and wait for its end."""
        if self.pid is not None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.left()

    def send(self, message: Message, accompanying: socket.socket | None = None) -> None:
        """Tell the process something, with a socket that it gets too, now or when the link takes it."""
        if self.link is not None:
            # A duplicate, which stays open until it is sent, whatever becomes of the socket here.
            self._unsent.append((encode(message), accompanying and accompanying.dup()))
            self.flush()

    def flush(self) -> None:
        """Send what the link takes: a worker that stands still must not stop this process."""
        if self.link is None:
            return
        try:
            while self._unsent:
                data, accompanying = self._unsent[0]
                if accompanying is None:
                    sent = self.link.send(data)
                else:
                    sent = socket.send_fds(self.link, [data], [accompanying.fileno()])
                    accompanying.close()
                if sent < len(data):
                    self._unsent[0] = (data[sent:], None)
                else:
                    self._unsent.popleft()
        except BlockingIOError:
            pass
        except OSError:
            return  # its end comes as the end of what it sends
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._unsent else 0)
        self._selector.modify(self.link, events, self)

    def received(self) -> Iterator[Message]:
        """What the process has told by now."""
        while self.link is not None:
            try:
                data = self.link.recv(_READ_BYTES)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._unlink()  # its end will be noticed too
                return
            self.heard = time.monotonic()
            yield from self._decoder.feed(data)

    def _unlink(self) -> None:
        if self.link is not None:
            self._selector.unregister(self.link)
            self.link.close()
            self.link = None
