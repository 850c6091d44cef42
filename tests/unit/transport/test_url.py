from __future__ import annotations

import pytest

from request_callout.transport import ProxySettings, TransportError
from request_callout.transport.url import parse_proxy, parse_url


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("http://h", "/"),
        ("http://h?a=1", "/?a=1"),
        ("http://h/a b?c d", "/a%20b?c%20d"),
        ("http://h/ä?ö=ü", "/%C3%A4?%C3%B6=%C3%BC"),
        ("http://h/\udcff", "/%FF"),
        ("http://h/a%20b?x=%C3%A4", "/a%20b?x=%C3%A4"),
        ("http://h/a\r\nX: y", "/a%0D%0AX:%20y"),
        ("http://h/a#b?c", "/a"),
        ("http://h/?a#b", "/?a"),
        ("http://h/?", "/?"),
        ("http://h/$(x)|{y}[z]'", "/$(x)|{y}[z]'"),
    ],
)
def test_target(url: str, path: str) -> None:
    """Path and query go out as written, with only spaces, controls and non-ASCII encoded, and no fragment."""
    assert parse_url(url).path == path


@pytest.mark.parametrize(
    ("url", "origin", "authority"),
    [
        ("http://Example.COM/", "http://example.com:80", "example.com"),
        ("HTTPS://h:443", "https://h:443", "h"),
        ("http://h:443", "http://h:443", "h:443"),
        ("http://h:/", "http://h:80", "h"),
        ("https://[::1]:8443/x", "https://[::1]:8443", "[::1]:8443"),
        ("http://[2001:DB8::1]/", "http://[2001:db8::1]:80", "[2001:db8::1]"),
        ("http://bücher.example/", "http://xn--bcher-kva.example:80", "xn--bcher-kva.example"),
        ("http://u:p@h:81/", "http://h:81", "h:81"),
        ("http://my_service.internal./", "http://my_service.internal.:80", "my_service.internal."),
        (" http://h/ \n", "http://h:80", "h"),
    ],
)
def test_origin(url: str, origin: str, authority: str) -> None:
    """Host and port decide the origin; the default port is left out of Host."""
    target = parse_url(url)
    assert (target.origin, target.authority) == (origin, authority)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "h/p",
        "//h/p",
        "ftp://h/",
        "http:/h",
        "http://",
        "http:///p",
        "http://:80/",
        "http://h:0/",
        "http://h:65536/",
        "http://h:999999/",
        "http://h:8o/",
        "http://h:-1/",
        "http://a b/",
        "http://a\\@b/",
        "http://a\r\n/",
        "http://a..b/",
        "http://.a/",
        "http://a%41/",
        "http://[::1/",
        "http://[::g]/",
        "http://[fe80::1%25eth0]/",
        "http://[1.2.3.4]/",
        "http://::1/",
        "http://" + "a" * 64 + "/",
        "http://" + "a." * 130 + "b/",
        "http://\u2028/",
        "http://h/\ud800",
    ],
)
def test_invalid(url: str) -> None:
    """What is no http or https URL with a host is refused as such."""
    with pytest.raises(TransportError) as caught:
        parse_url(url)
    assert caught.value.kind == "url"


def test_user_info_becomes_basic_authentication() -> None:
    """User info is percent-decoded and becomes the value of Authorization (RFC 7617)."""
    assert parse_url("http://us%40er:p%C3%A4ss:word@h/").authorization == "Basic dXNAZXI6cMOkc3M6d29yZA=="
    assert parse_url("http://h/").authorization is None


def test_shown_without_secrets() -> None:
    """The form for people has neither user info nor query."""
    assert parse_url("http://user:pass@h:81/a/b?token=secret#x").shown == "http://h:81/a/b"


def test_errors_name_no_secrets() -> None:
    """The message about a bad URL does not repeat it."""
    with pytest.raises(TransportError) as caught:
        parse_url("http://user:hidden@h:99999/?token=hidden")
    assert "hidden" not in str(caught.value)


def test_long_urls_are_not_kept() -> None:
    """Only URLs of ordinary length stay in the cache of parsed ones."""
    from request_callout.transport.url import _parse_kept

    before = _parse_kept.cache_info().currsize
    parse_url("http://h/" + "x" * 5000)
    assert _parse_kept.cache_info().currsize == before
    assert parse_url("http://kept/") is parse_url("http://kept/")


@pytest.mark.parametrize(
    ("proxy", "authorization"),
    [
        (ProxySettings("http://p:3128"), None),
        (ProxySettings("http://p:3128", "u", "w"), "Basic dTp3"),
        (ProxySettings("http://u:w@p:3128"), "Basic dTp3"),
        (ProxySettings("http://a:b@p:3128", "u", "w"), "Basic dTp3"),
        (ProxySettings("http://p:3128", "u"), "Basic dTo="),
    ],
)
def test_proxy_credentials(proxy: ProxySettings, authorization: str | None) -> None:
    """A proxy's credentials come from its settings, else from its URL."""
    assert parse_proxy(proxy).authorization == authorization


@pytest.mark.parametrize("url", ["https://p:3128", "socks5://p", "p:3128", ""])
def test_proxy_address_refused(url: str) -> None:
    """A proxy is an http:// URL."""
    with pytest.raises(TransportError) as caught:
        parse_proxy(ProxySettings(url))
    assert caught.value.kind == "proxy"
