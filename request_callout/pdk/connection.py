"""One connection of Kong on ProtoBuf: frames in and out, and never a deadlock between the two directions.

Kong answers calls in the order it reads them and stops reading while its answers find no room. So whoever writes much
has to read meanwhile: ``exchange`` sends what fits at once, and while something is left takes whatever can be
done, reading or writing.

A greenlet may be killed at any switch. What was handed over stays here (bytes unsent, replies owed), so the next
exchange goes on where the killed one stopped, and replies are never matched to the wrong call.
"""

from __future__ import annotations

from gevent import sleep
from gevent.socket import socket, wait_readwrite

from request_callout.engine.kong import ConnectionLost
from request_callout.pdk.protobuf import MAX_FRAME_BYTES, FrameDecoder

_READ_BYTES = 65536
_IN_A_ROW = 4
"""Commands taken before other connections get their turn: an answer from the cache waits for nothing, so that one busy
connection kept 15 others waiting for up to 43 ms."""


class Connection:
    """Frames over one gevent socket. For one greenlet at a time."""

    __slots__ = ("_decoder", "_in_a_row", "_owed", "_socket", "_unsent")

    def __init__(self, sock: socket, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        self._socket = sock
        self._decoder = FrameDecoder(max_frame_bytes)
        self._unsent = memoryview(b"")
        self._owed = 0
        self._in_a_row = 0

    @property
    def owed(self) -> int:
        """How many replies Kong still owes."""
        return self._owed

    @property
    def at_rest(self) -> bool:
        """Whether nothing is half read, owed or unsent: another process could go on with this connection."""
        return not (self._owed or self._unsent or self._decoder.pending_bytes)

    def exchange(self, data: bytes, replies: int) -> list[bytes]:
        """Send ``data`` and give the replies to the calls in it.

        Goes out as one write if the socket takes it. Raises ConnectionLost at the end of the connection, FrameError.
        """
        skipped = self._owed
        self._owed += replies
        self._unsent = memoryview(bytes(self._unsent) + data) if self._unsent else memoryview(data)
        self._send()
        received = []
        while self._owed:
            reply = self._decoder.next_frame()
            if reply is None:
                self._receive()
                continue
            self._owed -= 1
            if skipped:
                skipped -= 1
            else:
                received.append(reply)
        while self._unsent:
            self._receive()
        return received

    def next_frame(self) -> bytes | None:
        """Wait for a frame that nobody asked for (a command); None at the end of the connection."""
        self._in_a_row += 1
        if self._in_a_row > _IN_A_ROW:
            self._in_a_row = 0
            sleep(0)
        while True:
            command = self._decoder.next_frame()
            if command is not None:
                return command
            try:
                data = self._socket.recv(_READ_BYTES)
            except OSError:
                return None
            if not data:
                return None
            self._decoder.feed(data)

    def wait_for_end(self) -> None:
        """Wait until Kong closes the connection; what it still sends is dropped."""
        try:
            while self._socket.recv(_READ_BYTES):
                pass
        except OSError:
            pass

    def _receive(self) -> None:
        """Wait until something arrived, or until more could be sent."""
        if not self._unsent:
            try:
                data = self._socket.recv(_READ_BYTES)
            except OSError as error:
                raise ConnectionLost(str(error)) from None
            if not data:
                raise ConnectionLost("Kong closed the connection")
            self._decoder.feed(data)
            return
        wait_readwrite(self._socket.fileno())
        self._socket.settimeout(0.0)
        try:
            data = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            pass
        except OSError as error:
            raise ConnectionLost(str(error)) from None
        else:
            if not data:
                raise ConnectionLost("Kong closed the connection")
            self._decoder.feed(data)
        finally:
            self._socket.settimeout(None)
        self._send()

    def _send(self) -> None:
        """Send as much as the socket takes without waiting."""
        while self._unsent:
            try:
                sent = self._socket.send(self._unsent, 0, 0.0)  # type: ignore[call-arg]  # gevent's own: no waiting
            except BlockingIOError:
                return
            except OSError as error:
                raise ConnectionLost(str(error)) from None
            self._unsent = self._unsent[sent:]
