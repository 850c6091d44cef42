"""Responses read off a connection: framing, limits and the guards against smuggling (RFC 9112 section 6).

The head is collected up to its empty line and given to httptools' parser (llhttp, strict), which also decodes chunks.
A body of known length is read to its last byte and no further, so what a server sends beyond a response is always
noticed: here if it came along, else when the connection is taken from the pool.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from request_callout.transport.message import IncomingResponse, TransportError
from request_callout.values import text

_BLOCK = 16 * 1024
_LARGE_BLOCK = 64 * 1024
_CHUNK_OVERHEAD = 8
"""Bytes on the wire for one byte of a chunked body: a server may send chunks of one byte, but nothing worse."""

Receive = Callable[[int], bytes]
"""Up to so many bytes of the peer, empty at the end of the stream."""


class ClosedBeforeResponse(Exception):
    """The stream ended before the first byte of a response."""


@dataclass(frozen=True, slots=True)
class Head:
    """A final response's status and header section, and what came with it."""

    parser: _Parser
    status: int
    headers: list[tuple[str, str]]
    excess: bytes


class _Parser:
    """Collects what llhttp finds; one per head, since interim responses are read apart."""

    def __init__(self, max_trailer_bytes: int, max_body_bytes: int) -> None:
        self.complete = False
        self.headers: list[tuple[str, str]] = []
        self.body = bytearray()  # and no list: a piece of it is one chunk, which may be one byte
        self._in_body = False
        self._trailer_bytes = 0
        self._max_trailer_bytes = max_trailer_bytes
        self._max_body_bytes = max_body_bytes
        self.keep_alive = False
        """Whether the server lets the connection carry another request; also false for a body without a length."""
        self._llhttp = HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        """Parse what came; raises HttpParserError, and TransportError where a limit is passed."""
        try:
            self._llhttp.feed_data(data)
        except HttpParserError as error:
            if isinstance(error.__context__, TransportError):
                raise error.__context__ from None
            raise

    @property
    def status(self) -> int:
        return int(self._llhttp.get_status_code())

    def on_message_begin(self) -> None:
        if self.complete:
            raise ValueError("bytes after the response")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_body:
            self._trailer_bytes += len(name) + len(value) + 4
            if self._trailer_bytes > self._max_trailer_bytes:
                raise TransportError("too_large", f"the response's trailers are over {self._max_trailer_bytes} bytes")
        else:
            # llhttp keeps white space at the end
            self.headers.append((name.decode("ascii").lower(), text(value.rstrip(b" \t"))))

    def on_headers_complete(self) -> None:
        self._in_body = True
        self.keep_alive = self._llhttp.should_keep_alive()

    def on_body(self, data: bytes) -> None:
        self.body += data
        if len(self.body) > self._max_body_bytes:
            raise body_too_large(self._max_body_bytes)

    def on_message_complete(self) -> None:
        self.complete = True


def body_too_large(limit: int) -> TransportError:
    """The error for a body over the limit."""
    return TransportError("too_large", f"the response's body is over {limit} bytes")


def read_response(
    receive: Receive, method: str, max_header_bytes: int, max_body_bytes: int
) -> tuple[IncomingResponse, bool]:
    """Read one final response to ``method``; the flag says whether the connection may carry another request.

    Trailers are read and dropped. Raises ``ClosedBeforeResponse`` if nothing came, ``TransportError`` of kind
    ``protocol`` or ``too_large``, and what ``receive`` raises.
    """
    head = read_head(receive, max_header_bytes, max_body_bytes)
    parser = head.parser
    if parser.complete or method == "HEAD" or head.status in (204, 304):  # RFC 9112 section 6.3
        return IncomingResponse(head.status, head.headers, b""), not head.excess and parser.keep_alive
    encodings = [value.lower() for name, value in head.headers if name == "transfer-encoding"]
    if encodings:
        if encodings != ["chunked"]:
            raise TransportError("protocol", "the response has a transfer encoding other than chunked")
        body, reusable = _read_chunked(receive, head, max_header_bytes)
    elif (length := _content_length(head.headers)) is not None:
        if length > max_body_bytes:
            raise body_too_large(max_body_bytes)
        body = _read_length(receive, head.excess, length)
        reusable = len(head.excess) <= length and parser.keep_alive
    else:
        body, reusable = _read_to_end(receive, head.excess, max_body_bytes), False
    return IncomingResponse(head.status, head.headers, body), reusable


def read_head(receive: Receive, max_header_bytes: int, max_body_bytes: int = 0) -> Head:
    """Read up to the empty line of a final response; interim ones are skipped, and count towards the limit."""
    data = receive(_BLOCK)
    if not data:
        raise ClosedBeforeResponse
    left = max_header_bytes
    while True:
        data, size = _collect_head(receive, data, left)
        left -= size
        parser = _Parser(max_header_bytes, max_body_bytes)
        try:
            parser.feed(data[:size])
        except HttpParserUpgrade:
            raise TransportError("protocol", "the server switched protocols (101)") from None
        except HttpParserError as error:
            raise _broken(error) from None
        status = parser.status
        if status < 100:
            raise TransportError("protocol", f"broken response: status {status}")
        data = data[size:]
        if status >= 200:
            return Head(parser, status, parser.headers, data)


def _collect_head(receive: Receive, data: bytes, limit: int) -> tuple[bytes, int]:
    """All that was received, with a whole head at its start, and how long that head is."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        collected = bytearray()
        more = data
        while True:
            seen = max(len(collected) - 3, 0)
            collected += more
            end = collected.find(b"\r\n\r\n", seen)
            if end >= 0 or len(collected) > limit:
                break
            # What can never become a head is refused now: a peer of another protocol may send nothing more.
            if not (collected.startswith(b"HTTP/1.") or b"HTTP/1.".startswith(collected)):
                raise TransportError("protocol", "broken response: it does not start with HTTP/1")
            if b"\n" in more and collected.count(b"\n") != collected.count(b"\r\n"):
                raise TransportError("protocol", "broken response: a header line ends without a carriage return")
            more = receive(_BLOCK)
            if not more:
                raise TransportError("protocol", "the connection was closed in the response's headers")
        data = bytes(collected)
    if end < 0 or end + 4 > limit:
        raise TransportError("too_large", "the response's headers are over the limit")
    if not data.startswith(b"HTTP/1."):
        raise TransportError("protocol", "broken response: it does not start with HTTP/1")
    return data, end + 4


def _read_length(receive: Receive, excess: bytes, length: int) -> bytes:
    if len(excess) >= length:
        return excess[:length]
    pieces = [excess]
    missing = length - len(excess)
    while missing:
        piece = receive(min(missing, _LARGE_BLOCK))
        if not piece:
            raise TransportError("protocol", f"the connection was closed {missing} bytes before the response's end")
        pieces.append(piece)
        missing -= len(piece)
    return b"".join(pieces)


def _read_to_end(receive: Receive, excess: bytes, max_body_bytes: int) -> bytes:
    pieces = [excess]
    size = len(excess)
    while size <= max_body_bytes:
        piece = receive(_LARGE_BLOCK)
        if not piece:
            return b"".join(pieces)
        pieces.append(piece)
        size += len(piece)
    raise body_too_large(max_body_bytes)


def _read_chunked(receive: Receive, head: Head, max_overhead_bytes: int) -> tuple[bytes, bool]:
    parser = head.parser
    data = head.excess
    received = 0
    tail = b""
    try:
        while True:
            if data:
                received += len(data)
                tail = (tail + data)[-6:]
                parser.feed(data)
                if parser.complete:
                    # llhttp passes over empty lines after a response; a server that sends them is not to be trusted.
                    reusable = not tail.endswith(b"\r\n\r\n\r\n") and parser.keep_alive
                    return bytes(parser.body), reusable
                if received > max_overhead_bytes + _CHUNK_OVERHEAD * len(parser.body):
                    raise TransportError("too_large", "the response's chunk sizes and extensions are over the limit")
            data = receive(_LARGE_BLOCK)
            if not data:
                raise TransportError("protocol", "the connection was closed before the response's last chunk")
    except HttpParserError as error:
        if parser.complete:
            return bytes(parser.body), False
        raise _broken(error) from None


def _content_length(headers: list[tuple[str, str]]) -> int | None:
    """The length that llhttp has found to be one number; None if there is none."""
    return next((int(value) for name, value in headers if name == "content-length"), None)


def _broken(error: HttpParserError) -> TransportError:
    reason = error.args[0] if error.args else None
    return TransportError("protocol", f"broken response: {reason or 'it is no HTTP'}")
