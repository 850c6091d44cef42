from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from request_callout.transport import IncomingResponse, TransportError
from request_callout.transport.response import ClosedBeforeResponse, read_response

START = b"HTTP/1.1 200 OK\r\n"
CHUNKED = START + b"Transfer-Encoding: chunked\r\n\r\n"


def stream(data: bytes, cuts: list[int] | None = None) -> Callable[[int], bytes]:
    """A peer that sends these bytes, cut at these places, and then closes."""
    edges = sorted({*(cuts or []), len(data)})
    position = 0

    def receive(size: int) -> bytes:
        nonlocal position
        edge = next((one for one in edges if one > position), position)
        piece = data[position : min(edge, position + size)]
        position += len(piece)
        return piece

    return receive


def read(
    data: bytes, method: str = "GET", cuts: list[int] | None = None, header: int = 4096, body: int = 4096
) -> tuple[IncomingResponse, bool]:
    return read_response(stream(data, cuts), method, header, body)


WELL_FORMED = [
    (START + b"Content-Length: 5\r\n\r\nhello", "GET", 200, b"hello", True),
    (START + b"Content-Length: 0\r\n\r\n", "GET", 200, b"", True),
    (START + b"Content-Length: 5\r\nConnection: close\r\n\r\nhello", "GET", 200, b"hello", False),
    (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", "GET", 200, b"ok", False),
    (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok", "GET", 200, b"ok", True),
    (b"HTTP/1.0 200 OK\r\n\r\nall the rest", "GET", 200, b"all the rest", False),
    (START + b"\r\nall the rest", "GET", 200, b"all the rest", False),
    (START + b"Content-Length: 5\r\n\r\n", "HEAD", 200, b"", True),
    (START + b"Transfer-Encoding: chunked\r\n\r\n", "HEAD", 200, b"", True),
    (b"HTTP/1.1 204 No Content\r\n\r\n", "GET", 204, b"", True),
    (b"HTTP/1.1 204 No Content\r\nContent-Length: 9\r\n\r\n", "GET", 204, b"", True),
    (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", "GET", 304, b"", True),
    (b"HTTP/1.1 100 Continue\r\n\r\n" + START + b"Content-Length: 2\r\n\r\nok", "POST", 200, b"ok", True),
    (
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 P\r\n\r\n"
        + START
        + b"Content-Length: 2\r\n\r\nok",
        "GET",
        200,
        b"ok",
        True,
    ),
    (CHUNKED + b"3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\n\r\n", "GET", 200, b"abcde", True),
    (CHUNKED + b"3\r\nabc\r\n0\r\nTrailer: x\r\nOther: y\r\n\r\n", "GET", 200, b"abc", True),
    (CHUNKED + b"A\r\n0123456789\r\n00\r\n\r\n", "GET", 200, b"0123456789", True),
    (START + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n1\r\na\r\n0\r\n\r\n", "GET", 200, b"a", False),
    (b"HTTP/1.1 500\r\nContent-Length: 1\r\n\r\nx", "GET", 500, b"x", True),
]


@pytest.mark.parametrize(("data", "method", "status", "body", "reusable"), WELL_FORMED)
def test_well_formed(data: bytes, method: str, status: int, body: bytes, reusable: bool) -> None:
    """Every framing of RFC 9112 section 6.3 is read to its end, and tells whether the connection goes on."""
    response, may_be_reused = read(data, method)
    assert (response.status, response.body, may_be_reused) == (status, body, reusable)


@given(st.sampled_from(WELL_FORMED), st.lists(st.integers(1, 200), max_size=8))
def test_pieces_make_no_difference(case: tuple[bytes, str, int, bytes, bool], cuts: list[int]) -> None:
    """However the stream is cut into packets, the response is the same."""
    data, method = case[:2]
    assert read(data, method, cuts) == read(data, method)


def test_byte_by_byte() -> None:
    """A response may come one byte at a time."""
    for data, method, *_ in WELL_FORMED:
        assert read(data, method, list(range(len(data)))) == read(data, method)


def test_headers() -> None:
    """Names come in lower case, in order, repeated ones as they came, values without white space around them."""
    response, _ = read(
        START + b"Set-Cookie: a=1\r\nX-Empty:\r\nSET-cookie: b=2\r\nX-Space:  a  b \t\r\nContent-Length: 0\r\n\r\n"
    )
    assert response.headers == [
        ("set-cookie", "a=1"),
        ("x-empty", ""),
        ("set-cookie", "b=2"),
        ("x-space", "a  b"),
        ("content-length", "0"),
    ]


def test_header_bytes_survive() -> None:
    """Values that are UTF-8 come as such, others as surrogates that give the same bytes back."""
    response, _ = read(START + b"A: \xc3\xa4\r\nB: \xe4\r\nContent-Length: 0\r\n\r\n")
    assert response.headers[:2] == [("a", "ä"), ("b", "\udce4")]


def test_trailers_are_no_headers() -> None:
    """Trailers are dropped (RFC 9110 section 6.5.1)."""
    response, _ = read(CHUNKED + b"1\r\na\r\n0\r\nX-Late: 1\r\n\r\n")
    assert response.headers == [("transfer-encoding", "chunked")]


@pytest.mark.parametrize(
    "data",
    [
        START + b"Content-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n",
        START + b"Content-Length: 2\r\n\r\nok\r\n",
        START + b"Content-Length: 0\r\n\r\nx",
        b"HTTP/1.1 204 No Content\r\n\r\nbody",
        CHUNKED + b"1\r\na\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        CHUNKED + b"1\r\na\r\n0\r\n\r\njunk",
        CHUNKED + b"1\r\na\r\n0\r\n\r\n\r\n",
    ],
)
def test_excess_ends_the_connection(data: bytes) -> None:
    """Bytes beyond the response leave it valid, but the connection is not used again."""
    response, reusable = read(data)
    assert response.status in (200, 204)
    assert response.body in (b"", b"a", b"ok")
    assert not reusable


BROKEN = [
    START + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    START + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
    START + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
    START + b"Content-Length: 2, 3\r\n\r\nabc",
    START + b"Content-Length: -1\r\n\r\n",
    START + b"Content-Length: 0x2\r\n\r\nok",
    START + b"Content-Length: 99999999999999999999999\r\n\r\n",
    START + b"Transfer-Encoding: gzip\r\n\r\nxx",
    START + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    START + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    START + b"Bad Name: x\r\n\r\n",
    START + b"Name : x\r\n\r\n",
    START + b"No colon\r\n\r\n",
    START + b"A: b\rc\r\n\r\n",
    START + b"A: b\x00c\r\n\r\n",
    START + b"A: b\n\n",
    START + b"A: b\nContent-Length: 0\r\n\r\n",
    START + b"Content-Length: 5\r\n\r\nhel",
    START + b"Content-Le",
    START,
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    b"HTTP/1.1 099 Low\r\n\r\n",
    b"HTTP/1.1 1000 High\r\n\r\n",
    b"HTTP/1.1 abc OK\r\n\r\n",
    b"HTTP/2.0 200 OK\r\n\r\n",
    b"\r\n\r\n" + START + b"\r\n",
    b"SSH-2.0-OpenSSH_9.2\r\n",
    b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    b"<html>no head</html>",
    CHUNKED + b"3\r\nab",
    CHUNKED + b"3\r\nabc\r\n",
    CHUNKED + b"3\r\nabc\r\n0\r\n",
    CHUNKED + b"x\r\nabc\r\n0\r\n\r\n",
    CHUNKED + b"-1\r\nabc\r\n0\r\n\r\n",
    CHUNKED + b"2\r\nabc\r\n0\r\n\r\n",
    CHUNKED + b"3\nabc\n0\n\n",
    CHUNKED + b"fffffffffffffffff\r\nabc\r\n",
]


@pytest.mark.parametrize("data", BROKEN)
def test_broken(data: bytes) -> None:
    """Ambiguous framing, bad syntax and an early end are errors, never a response."""
    for cuts in (None, list(range(len(data)))):
        with pytest.raises(TransportError) as caught:
            read(data, cuts=cuts)
        assert caught.value.kind == "protocol"


@pytest.mark.parametrize(
    ("start", "reason"),
    [
        (b"220 smtp.example ESMTP\r\n", "does not start with HTTP/1"),
        (b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", "without a carriage return"),
    ],
)
def test_seen_at_once(start: bytes, reason: str) -> None:
    """What can't become a response of HTTP/1 is refused without waiting for more of it."""

    def receive(_: int) -> bytes:
        return pieces.pop()

    pieces = [start[5:], start[:5]]
    with pytest.raises(TransportError, match=reason):
        read_response(receive, "GET", 4096, 4096)


def test_nothing_at_all() -> None:
    """A stream that ends before the first byte is told apart: such a request may be tried again."""
    with pytest.raises(ClosedBeforeResponse):
        read(b"")


def one_header(size: int) -> bytes:
    """A head of exactly this size."""
    fixed = len(START) + len(b"Content-Length: 0\r\nA: \r\n\r\n")
    return START + b"Content-Length: 0\r\nA: " + b"x" * (size - fixed) + b"\r\n\r\n"


def test_header_limit_is_exact() -> None:
    """A head of the limit is read, one byte more is too large."""
    assert read(one_header(1000), header=1000)[0].status == 200
    with pytest.raises(TransportError) as caught:
        read(one_header(1001), header=1000)
    assert caught.value.kind == "too_large"


@pytest.mark.parametrize(
    "data",
    [
        START + b"A: " + b"x" * 100_000,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 100,
        b"HTTP/1.1 103 Early\r\nA: %b\r\n\r\n" % (b"x" * 600) * 2,
        CHUNKED + b"1\r\na\r\n0\r\n" + b"X: y\r\n" * 1000 + b"\r\n",
        CHUNKED + b"1\r\na\r\n0\r\nX: " + b"y" * 2000 + b"\r\n\r\n",
        CHUNKED + b"1;" + b"x" * 100_000,
    ],
)
def test_header_section_is_bounded(data: bytes) -> None:
    """Headers, interim responses, trailers and chunk extensions without end are cut off."""
    for cuts in (None, list(range(0, len(data), 100))):
        with pytest.raises(TransportError) as caught:
            read(data, header=1000, cuts=cuts)
        assert caught.value.kind == "too_large"


@pytest.mark.parametrize(
    "head_and_body",
    [
        (START + b"Content-Length: %d\r\n\r\n", b"%b"),
        (START + b"\r\n", b"%b"),
        (CHUNKED, b"%x\r\n%b\r\n0\r\n\r\n"),
    ],
)
def test_body_limit_is_exact(head_and_body: tuple[bytes, bytes]) -> None:
    """A body of the limit is read, one byte more is too large, whatever its framing."""

    def answer(size: int) -> bytes:
        head, body = head_and_body
        head = head % size if b"%d" in head else head
        return head + (body % (size, b"x" * size) if b"%x" in body else body % (b"x" * size))

    assert len(read(answer(3000), body=3000)[0].body) == 3000
    with pytest.raises(TransportError) as caught:
        read(answer(3001), body=3000)
    assert caught.value.kind == "too_large"


def test_announced_body_over_the_limit_is_not_read() -> None:
    """A Content-Length over the limit is refused before any of the body is read."""
    with pytest.raises(TransportError) as caught:
        read(START + b"Content-Length: 5000\r\n\r\n", body=3000)
    assert caught.value.kind == "too_large"
