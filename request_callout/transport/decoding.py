"""Content codings (RFC 9110 section 8.4.1): gzip, deflate and br, within a limit on what comes out.

A few kilobytes can stand for gigabytes, so each decoder stops at the limit, and a body may be coded three times at
most.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import lru_cache

from request_callout.transport.message import IncomingResponse, TransportError
from request_callout.transport.response import body_too_large

_BLOCK = 64 * 1024
_MOST_CODINGS = 3
_MOST_MEMBERS = 1000
_PARTIAL_CONTENT = 206
_DECODABLE = ("gzip", "deflate", "br")
_KEPT_LENGTH = 256


def decoded(response: IncomingResponse, max_body_bytes: int) -> IncomingResponse:
    """The response with its body decoded, and without ``Content-Encoding`` and ``Content-Length``.

    It stays as it is if it has no coding, one that is not known here, no body, or a part of one (206). Raises
    ``TransportError`` (``protocol``, ``too_large``).
    """
    codings = _codings(response.headers)
    if not codings or not response.body or response.status == _PARTIAL_CONTENT:
        return response
    if not all(coding in _DECODERS for coding in codings):
        return response
    if len(codings) > _MOST_CODINGS:
        raise TransportError("protocol", f"the response's body is coded more than {_MOST_CODINGS} times")
    body = response.body
    for coding in reversed(codings):
        body = _DECODERS[coding](body, max_body_bytes)
    headers = [pair for pair in response.headers if pair[0] not in ("content-encoding", "content-length")]
    return IncomingResponse(response.status, headers, body)


def decodable(accept_encoding: str) -> str | None:
    """What of an ``Accept-Encoding`` can be decoded here, as a header value; None: nothing.

    The result has no weights and always the same order: few values, so that caches are not split for nothing.
    """
    return _decodable_kept(accept_encoding) if len(accept_encoding) <= _KEPT_LENGTH else _decodable(accept_encoding)


def _decodable(accept_encoding: str) -> str | None:
    accepted: dict[str, bool] = {}
    for item in accept_encoding.lower().split(","):
        coding, _, weight = item.partition(";")
        name = coding.strip()
        accepted["gzip" if name == "x-gzip" else name] = not _is_zero(weight)
    rest = accepted.get("*", False)
    return ", ".join(coding for coding in _DECODABLE if accepted.get(coding, rest)) or None


_decodable_kept = lru_cache(256)(_decodable)


def _is_zero(weight: str) -> bool:
    name, _, value = weight.replace(" ", "").replace("\t", "").partition("=")
    return name == "q" and value[:1] == "0" and not value.strip("0.")


def _codings(headers: list[tuple[str, str]]) -> list[str]:
    """The codings in the order in which they were applied."""
    found: list[str] = []
    for name, value in headers:
        if name == "content-encoding":
            found += [coding for one in value.split(",") if (coding := one.strip().lower()) not in ("", "identity")]
    return found


def _gunzip(data: bytes, limit: int) -> bytes:
    """All members of a gzip stream (RFC 1952); zeros after the last one are padding."""
    pieces: list[bytes] = []
    size = 0
    member = zlib.decompressobj(wbits=31)
    members = 1
    for start in range(0, len(data), _BLOCK):
        block = data[start : start + _BLOCK]
        while block:
            if member.eof:
                block = block.lstrip(b"\0")
                if not block:
                    break
                members += 1
                if members > _MOST_MEMBERS:
                    raise TransportError("protocol", "the response's body is gzip of too many members")
                member = zlib.decompressobj(wbits=31)
            piece, block = _inflate_some(member, block, limit - size, "gzip")
            pieces.append(piece)
            size += len(piece)
            if size > limit:
                raise body_too_large(limit)
    return _whole(member, pieces, "gzip")


def _inflate(data: bytes, limit: int) -> bytes:
    """Deflate as it should be, in zlib's format (RFC 1950), or as some servers send it, without (RFC 1951)."""
    if data[0] & 0x0F == 8 and int.from_bytes(data[:2], "big") % 31 == 0:
        try:
            return _inflate_as(data, limit, 15)
        except TransportError as error:
            if error.kind != "protocol":
                raise
    return _inflate_as(data, limit, -15)


def _inflate_as(data: bytes, limit: int, wbits: int) -> bytes:
    stream = zlib.decompressobj(wbits=wbits)
    piece, _ = _inflate_some(stream, data, limit, "deflate")
    if len(piece) > limit:
        raise body_too_large(limit)
    return _whole(stream, [piece], "deflate")


def _inflate_some(stream: zlib._Decompress, data: bytes, room: int, coding: str) -> tuple[bytes, bytes]:
    """What comes out of ``data``, one byte more than there is room for at most, and what follows the stream."""
    try:
        piece = stream.decompress(data, room + 1)
    except zlib.error:
        raise _broken(coding) from None
    return piece, stream.unused_data


def _whole(stream: zlib._Decompress, pieces: list[bytes], coding: str) -> bytes:
    if not stream.eof:
        raise TransportError("protocol", f"the response's body ends within its {coding} coding")
    return b"".join(pieces)


def _unbrotli(data: bytes, limit: int) -> bytes:
    """Brotli (RFC 7932)."""
    import brotli

    stream = brotli.Decompressor()
    pieces: list[bytes] = []
    size = 0
    block = data
    try:
        while not stream.is_finished():
            piece: bytes = stream.process(block, output_buffer_limit=_BLOCK)
            pieces.append(piece)
            size += len(piece)
            if size > limit:
                raise body_too_large(limit)
            block = b""
            if not piece and not stream.is_finished():
                raise TransportError("protocol", "the response's body ends within its br coding")
    except brotli.error:
        raise _broken("br") from None
    return b"".join(pieces)


def _broken(coding: str) -> TransportError:
    return TransportError("protocol", f"the response's body is no valid {coding}")


_DECODERS: dict[str, Callable[[bytes, int], bytes]] = {
    "gzip": _gunzip,
    "x-gzip": _gunzip,
    "deflate": _inflate,
    "br": _unbrotli,
}
