"""Frames: a length of four bytes, little-endian, and that many bytes."""

from __future__ import annotations

import struct

from request_callout.pdk.protobuf.wire import FrameError

MAX_FRAME_BYTES = 128 * 1024 * 1024
"""The default limit of one frame: more than a body that Kong keeps in memory by any sane configuration."""

_LENGTH = struct.Struct("<I")


def frame(content: bytes) -> bytes:
    """One frame as it goes over the connection."""
    return _LENGTH.pack(len(content)) + content


class FrameDecoder:
    """Takes bytes as they arrive, in pieces of any size, and gives whole frames in order.

    A frame that announces more than ``max_frame_bytes`` raises FrameError before its content is waited for.
    """

    __slots__ = ("_at", "_buffer", "_max")

    def __init__(self, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        self._buffer = bytearray()
        self._at = 0
        self._max = max_frame_bytes

    def feed(self, data: bytes) -> None:
        """Add what was received."""
        if self._at:
            del self._buffer[: self._at]
            self._at = 0
        self._buffer += data

    def next_frame(self) -> bytes | None:
        """The content of the next frame, or None until more was fed."""
        buffer, at = self._buffer, self._at
        start = at + 4
        if len(buffer) < start:
            return None
        size: int = _LENGTH.unpack_from(buffer, at)[0]
        if size > self._max:
            raise FrameError(f"a frame of {size} bytes is over the limit of {self._max}")
        end = start + size
        if len(buffer) < end:
            return None
        self._at = end
        return bytes(memoryview(buffer)[start:end])

    @property
    def pending_bytes(self) -> int:
        """How many bytes were fed that no frame has taken yet."""
        return len(self._buffer) - self._at
