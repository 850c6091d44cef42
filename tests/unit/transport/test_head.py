from __future__ import annotations

from typing import Any

import pytest

from request_callout.transport import ProxySettings, TransportError
from request_callout.transport.head import request_head
from request_callout.transport.url import parse_proxy, parse_url

from .conftest import request_for


def head(url: str = "http://h/p", method: str = "GET", **changes: Any) -> bytes:
    return request_head(request_for(url, method, **changes), parse_url(url), None)


def test_bare_get() -> None:
    """A GET without headers is a request line and Host."""
    assert head() == b"GET /p HTTP/1.1\r\nHost: h\r\n\r\n"


def test_headers_go_out_as_given() -> None:
    """Headers keep their spelling, order and repetitions."""
    sent = head(headers=[("X-b", "1"), ("x-A", "2"), ("X-b", "3")])
    assert sent == b"GET /p HTTP/1.1\r\nHost: h\r\nX-b: 1\r\nx-A: 2\r\nX-b: 3\r\n\r\n"


def test_custom_host() -> None:
    """A Host among the headers replaces the URL's."""
    assert head(headers=[("host", "other:81")]) == b"GET /p HTTP/1.1\r\nHost: other:81\r\n\r\n"


@pytest.mark.parametrize(
    ("method", "body", "length"),
    [
        ("GET", None, None),
        ("GET", b"", None),
        ("GET", b"abc", b"3"),
        ("DELETE", None, None),
        ("DELETE", b"abc", b"3"),
        ("POST", None, b"0"),
        ("PUT", b"", b"0"),
        ("PATCH", None, b"0"),
        ("POST", b"abc", b"3"),
    ],
)
def test_content_length(method: str, body: bytes | None, length: bytes | None) -> None:
    """Content-Length is there for every body, and 0 for methods that expect one."""
    lines = head(method=method, body=body).split(b"\r\n")
    found = [line for line in lines if line.lower().startswith(b"content-length")]
    assert found == ([] if length is None else [b"Content-Length: " + length])


def test_framing_is_not_for_callers() -> None:
    """Content-Length and Transfer-Encoding among the headers are left out: the body's framing is the transport's."""
    sent = head(method="POST", body=b"x", headers=[("content-length", "99"), ("Transfer-Encoding", "chunked")])
    assert sent == b"POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n"


def test_user_info() -> None:
    """User info of the URL becomes Authorization unless there is one."""
    assert b"Authorization: Basic dTp3\r\n" in head("http://u:w@h/")
    given = head("http://u:w@h/", headers=[("authorization", "Bearer x")])
    assert b"Basic" not in given
    assert b"authorization: Bearer x\r\n" in given


def test_bytes_of_header_values_survive() -> None:
    """A value goes out as the bytes that text() made it of, valid UTF-8 or not."""
    assert b"X: \xc3\xa4\xff\r\n" in head(headers=[("X", "ä\udcff")])


def test_absolute_form() -> None:
    """A forward proxy gets the whole URL, without user info, and its own credentials once."""
    url = "http://u:w@h:81/p?q=1"
    proxy = parse_proxy(ProxySettings("http://proxy", "a", "b"))
    sent = request_head(request_for(url, headers=[("Proxy-Authorization", "mine")]), parse_url(url), proxy)
    assert sent == (
        b"GET http://h:81/p?q=1 HTTP/1.1\r\nHost: h:81\r\n"
        b"Authorization: Basic dTp3\r\nProxy-Authorization: Basic YTpi\r\n\r\n"
    )


@pytest.mark.parametrize("name", ["", "a b", "a:", "a\r\nX", "ä", "a\0", "(a)", " a", "a\n"])
def test_header_names_are_tokens(name: str) -> None:
    """A header name that is no token is refused."""
    with pytest.raises(TransportError) as caught:
        head(headers=[(name, "v")])
    assert caught.value.kind == "request"


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\n", "\r", "a\0b", "a\r\n b"])
@pytest.mark.parametrize("name", ["X-Name", "Host"])
def test_header_values_have_no_breaks(name: str, value: str) -> None:
    """A header value with a line break or NUL is refused, and the message names the header but not the value."""
    with pytest.raises(TransportError) as caught:
        head(headers=[("A", "1"), (name, value)])
    assert caught.value.kind == "request"
    assert str(caught.value) == f"line break or NUL in the value of header {name}"


@pytest.mark.parametrize("method", ["", "GE T", "GET\r\n", "CONNECT", "GÄT"])
def test_method_is_a_token(method: str) -> None:
    """A method that is no token, or CONNECT, is refused."""
    with pytest.raises(TransportError) as caught:
        head(method=method)
    assert caught.value.kind == "request"


def test_other_refusals() -> None:
    """Two Host headers and half characters are refused."""
    for headers in ([("Host", "a"), ("host", "b")], [("X", "\ud800")]):
        with pytest.raises(TransportError) as caught:
            head(headers=headers)
        assert caught.value.kind == "request"
