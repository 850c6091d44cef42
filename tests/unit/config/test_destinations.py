"""How hosts, patterns and networks are written."""

from __future__ import annotations

import pytest

from request_callout.config.destinations import host_pattern, network, plain_host


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("Api.Example.COM.", "api.example.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("my_service", "my_service"),
        ("10.0.0.1", "10.0.0.1"),
        ("0xa.1", "10.0.0.1"),
        ("012.1", "10.0.0.1"),
        ("167772161.", "10.0.0.1"),
        ("[2001:DB8:0:0::1]", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
    ],
)
def test_spellings_of_one_host(name: str, plain: str) -> None:
    """Spellings of one host have one plain form, which is its own."""
    assert plain_host(name) == plain
    assert plain_host(plain) == plain


@pytest.mark.parametrize(
    "name", ["", ".", "a..b", "a b", "a/b", "a%41", "1.2.3.4.5", "256.1.1.1", "a.1", "[::1", ":", "a:80"]
)
def test_no_host(name: str) -> None:
    """What is no host, or looks like an address and is none, has no plain form."""
    with pytest.raises(ValueError, match=r"."):
        plain_host(name)


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("*", "*"),
        ("*.Example.com.", "*.example.com"),
        ("A.test", "a.test"),
        ("*.bücher.example", "*.xn--bcher-kva.example"),
    ],
)
def test_patterns(text: str, pattern: str) -> None:
    """A pattern is a host, an asterisk and a domain, or an asterisk alone."""
    assert host_pattern(text) == pattern


@pytest.mark.parametrize(
    "text", ["", "*.", "a.*.test", "*a.test", "**.test", "http://a.test", "a.test:80", "*.10.0.0.1", "*.1", "a.test/"]
)
def test_no_patterns(text: str) -> None:
    """What could be meant in two ways is no pattern, and the message says what is expected."""
    with pytest.raises(ValueError, match=r"expected a host name .* such as \*\.example\.com"):
        host_pattern(text)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("10.0.0.1", "10.0.0.1/32"),
        ("FD00::/8", "fd00::/8"),
        ("::1", "::1/128"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::/0", "::/0"),
        ("0.0.0.0/0", "0.0.0.0/0"),
    ],
)
def test_networks(text: str, found: str) -> None:
    """A network is in CIDR notation; one of IPv4-mapped addresses is that of IPv4."""
    assert str(network(text)) == found


@pytest.mark.parametrize("text", ["", "10", "10.0.0.0/33", "10.0.0.1/8", "a.test", "10.0.0.0/255.0.0.x", "::1/129"])
def test_no_networks(text: str) -> None:
    """What is no network is told what one looks like."""
    with pytest.raises(ValueError, match="expected a network"):
        network(text)


def test_bits_beyond_the_length() -> None:
    """An address where a network is wanted is answered with that network."""
    with pytest.raises(ValueError, match=r"such as 10\.0\.0\.0/8"):
        network("10.1.2.3/8")
