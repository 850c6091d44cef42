"""Content codings: what comes out, and how much of it."""

from __future__ import annotations

import gzip
import time
import zlib
from collections.abc import Callable
from typing import Any

import brotli
import pytest

from request_callout.transport import IncomingResponse, Transport, TransportError
from request_callout.transport.decoding import decodable, decoded

from .conftest import Send, Serve, request_for
from .literal_server import answering

TEXT = b"a text that is worth it, " * 40


def gzipped(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def raw_deflate(data: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(data) + stream.flush()


def answer(body: bytes, coding: str, status: int = 200) -> bytes:
    head = f"HTTP/1.1 {status} X\r\nContent-Encoding: {coding}\r\nContent-Length: {len(body)}\r\nX-Other: kept\r\n\r\n"
    return head.encode() + body


def named(value: object) -> str:
    return value if isinstance(value, str) else ""


def response(body: bytes, *codings: str, status: int = 200) -> IncomingResponse:
    return IncomingResponse(status, [("content-encoding", coding) for coding in codings], body)


def failure(body: bytes, *codings: str, limit: int = 1 << 20) -> tuple[str, str]:
    with pytest.raises(TransportError) as caught:
        decoded(response(body, *codings), limit)
    return caught.value.kind, str(caught.value)


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzipped(TEXT)),
        ("x-gzip", gzipped(TEXT)),
        ("GZip", gzipped(TEXT)),
        ("identity, gzip", gzipped(TEXT)),
        ("gzip", gzipped(TEXT[:100]) + gzipped(TEXT[100:])),
        ("gzip", gzipped(TEXT) + b"\0" * 100),
        ("deflate", zlib.compress(TEXT)),
        ("deflate", raw_deflate(TEXT)),
        ("br", brotli.compress(TEXT)),
        ("br, gzip", gzipped(brotli.compress(TEXT))),
        ("deflate,gzip , br", brotli.compress(gzipped(zlib.compress(TEXT)))),
    ],
    ids=named,
)
def test_decoded(send: Send, serve: Serve, coding: str, body: bytes) -> None:
    """A body in gzip, deflate or br, or several of them, is decoded, and the headers no longer say so."""
    got = send(serve(answering(answer(body, coding))).url())
    assert got.body == TEXT
    assert got.headers == [("x-other", "kept")]


def test_codings_of_several_headers() -> None:
    """Repeated Content-Encoding headers are one list."""
    assert decoded(response(brotli.compress(gzipped(TEXT)), "gzip", "br"), 1 << 20).body == TEXT


@pytest.mark.parametrize("codings", [(), ("zstd",), ("gzip", "zstd"), ("identity",), ("",)])
def test_left_alone(codings: tuple[str, ...]) -> None:
    """A body in a coding that is not known here stays as it is, with its headers."""
    got = response(b"body", *codings)
    assert decoded(got, 1 << 20) is got


def test_no_body_or_part_of_one() -> None:
    """An empty body (as after HEAD) and a part of one (206) stay as they are, with their headers."""
    for got in (response(b"", "gzip"), response(gzipped(TEXT)[5:], "gzip", status=206)):
        assert decoded(got, 1 << 20) is got


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br"])
@pytest.mark.parametrize("body", [b"{}", b"\xff" * 50, b"\x78\x9c" + b"\xff" * 20], ids=["json", "high", "zlib"])
def test_broken(coding: str, body: bytes) -> None:
    """A body that is not what its header says is a broken response."""
    kind, message = failure(body, coding)
    assert kind == "protocol"
    assert coding in message


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzipped(TEXT)),
        ("gzip", gzipped(TEXT) * 2),
        ("deflate", zlib.compress(TEXT)),
        ("deflate", raw_deflate(TEXT)),
        ("br", brotli.compress(TEXT)),
    ],
    ids=named,
)
def test_cut_off(coding: str, body: bytes) -> None:
    """A body that ends too early is a broken response, wherever it ends."""
    for length in range(1, len(body)):
        if coding == "gzip" and length == len(body) / 2:
            continue  # one whole member
        assert failure(body[:length], coding)[0] == "protocol"


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzipped(bytes(1001))),
        ("gzip", gzipped(bytes(501)) * 2),
        ("deflate", zlib.compress(bytes(1001))),
        ("deflate", raw_deflate(bytes(1001))),
        ("br", brotli.compress(bytes(1001))),
        ("gzip, br", brotli.compress(gzipped(bytes(1001)))),
        ("br, gzip", gzipped(brotli.compress(bytes(1001)))),
    ],
    ids=named,
)
def test_limit(make_transport: Callable[..., Transport], serve: Serve, coding: str, body: bytes) -> None:
    """The limit on a body counts for what is decoded: to the byte."""
    assert decoded(response(gzipped(bytes(1000)), "gzip"), 1000).body == bytes(1000)
    server = serve(answering(answer(body, coding)))
    with pytest.raises(TransportError) as caught:
        make_transport(max_body_bytes=1000).send(request_for(server.url()))
    assert caught.value.kind == "too_large"


@pytest.mark.parametrize("compress", [gzipped, zlib.compress, raw_deflate, brotli.compress])
def test_bombs(compress: Callable[[bytes], bytes]) -> None:
    """A body of some kilobytes that stands for a hundred megabytes costs no more than the limit."""
    import resource

    coding = {gzipped: "gzip", brotli.compress: "br"}.get(compress, "deflate")
    bomb = compress(bytes(100_000_000))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert failure(bomb, coding, limit=1 << 20)[0] == "too_large"
    assert failure(compress(bomb), coding, coding, limit=1 << 20)[0] == "too_large"
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) < 50_000


def test_many_members() -> None:
    """Gzip of a great many empty members ends with an error, soon."""
    body = gzipped(b"") * 300_000
    started = time.process_time()
    assert failure(body, "gzip")[0] == "protocol"
    assert time.process_time() - started < 5


def test_many_codings() -> None:
    """More than three codings are refused."""
    body = TEXT
    for _ in range(4):
        body = gzipped(body)
    assert failure(body, "gzip, gzip, gzip, gzip")[0] == "protocol"


@pytest.mark.parametrize("own", [10, 2000])
def test_limit_of_a_request(make_transport: Callable[..., Transport], serve: Serve, own: int) -> None:
    """A request's own limit is used instead of the transport's, lower or higher."""
    server = serve(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 1500\r\n\r\n" + bytes(1500)))
    transport = make_transport(max_body_bytes=1000)
    options: dict[str, Any] = {"max_body_bytes": own}
    if own < 1500:
        with pytest.raises(TransportError) as caught:
            transport.send(request_for(server.url(), **options))
        assert caught.value.kind == "too_large"
    else:
        assert len(transport.send(request_for(server.url(), **options)).body) == 1500


@pytest.mark.parametrize(
    ("accepted", "asked"),
    [
        ("gzip", "gzip"),
        ("br;q=1.0, GZIP;q=0.8, *;q=0.1", "gzip, deflate, br"),
        ("gzip, deflate, br, zstd", "gzip, deflate, br"),
        ("deflate,gzip", "gzip, deflate"),
        ("x-gzip", "gzip"),
        ("zstd", None),
        ("identity", None),
        ("", None),
        ("gzip;q=0", None),
        ("gzip; q=0.000, br", "br"),
        ("gzip;q=0.001", "gzip"),
        ("*", "gzip, deflate, br"),
        ("*;q=0", None),
        ("*, br;q=0", "gzip, deflate"),
        ("gzip, " + "x" * 500, "gzip"),
    ],
)
def test_what_is_asked_for(accepted: str, asked: str | None) -> None:
    """Of an Accept-Encoding that remains which can be decoded, in one order and without weights."""
    assert decodable(accepted) == asked
