"""URLs as the transport needs them: taken apart once, then kept, since most are constant."""

from __future__ import annotations

import re
import socket
from base64 import b64encode
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from request_callout.config import destinations
from request_callout.transport.message import ProxySettings, TransportError
from request_callout.values import raw

_DEFAULT_PORTS = {"http": 80, "https": 443}
_SPLIT = re.compile(r"([^/?#]*)([^?#]*)(\?[^#]*)?", re.DOTALL)
_AUTHORITY = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:\[\]]*))(?::([0-9]{0,5}))?")
_TO_ENCODE = re.compile(r"[^\x21-\x7e]")
_BYTES_TO_ENCODE = re.compile(rb"[^\x21-\x7e]")
_SHOWN_LENGTH = 200
_KEPT_LENGTH = 2048
_KEPT = 1024


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes and how its URL is written on the wire.

    ``origin`` is ``scheme://host:port``; ``path`` the request target in origin form; ``authority`` the value of
    ``Host``; ``authorization`` the value that the URL's user info stands for; ``shown`` the URL for people, without
    user info and query. ``family`` is set when ``host`` is an address, which needs no look-up.
    """

    tls: bool
    host: str
    port: int
    family: socket.AddressFamily | None
    origin: str
    authority: str
    path: str
    authorization: str | None
    shown: str


@dataclass(frozen=True, slots=True)
class Proxy:
    """A forward proxy: where it listens and the value of ``Proxy-Authorization``, if any."""

    target: Target
    authorization: str | None


def parse_url(url: str) -> Target:
    """Take an http or https URL apart; raises ``TransportError`` of kind ``url`` with what is wrong with it.

    Spaces, control characters and non-ASCII of path and query are percent-encoded, the rest stays as it is; an
    international host name becomes Punycode; the fragment is dropped (RFC 3986, RFC 9110 section 4.2).
    """
    return _parse_kept(url) if len(url) <= _KEPT_LENGTH else _parse(url)


def _parse(url: str) -> Target:
    scheme, separator, rest = url.strip(" \t\r\n").partition("://")
    scheme = scheme.lower()
    if not separator or scheme not in _DEFAULT_PORTS:
        raise TransportError("url", "the URL does not start with http:// or https://")
    parts = _SPLIT.match(rest)
    assert parts is not None  # noqa: S101 (the pattern matches any text)
    authority, path, query = parts.group(1), parts.group(2), parts.group(3) or ""
    if "\\" in authority:
        # Browsers read it as a slash: two readers of such a URL would not agree on its host.
        raise TransportError("url", "the URL's host or port is not valid")
    user_info, at, host_and_port = authority.rpartition("@")
    host, family, port_text = _host(host_and_port)
    default_port = _DEFAULT_PORTS[scheme]
    port = int(port_text) if port_text else default_port
    if not 1 <= port <= 65535:
        raise TransportError("url", f"the URL's port {port} is not between 1 and 65535")
    bracketed = f"[{host}]" if family == socket.AF_INET6 else host
    authority = bracketed if port == default_port else f"{bracketed}:{port}"
    path = _encoded(path) or "/"
    return Target(
        tls=scheme == "https",
        host=host,
        port=port,
        family=family,
        origin=f"{scheme}://{bracketed}:{port}",
        authority=authority,
        path=path + _encoded(query),
        authorization=_basic_of_user_info(user_info) if at else None,
        shown=f"{scheme}://{authority}{path if len(path) <= _SHOWN_LENGTH else path[:_SHOWN_LENGTH] + '...'}",
    )


_parse_kept = lru_cache(_KEPT)(_parse)


def _host(host_and_port: str) -> tuple[str, socket.AddressFamily | None, str]:
    match = _AUTHORITY.fullmatch(host_and_port)
    if match is None:
        raise TransportError("url", "the URL's host or port is not valid")
    address, name, port = match.group(1), match.group(2), match.group(3) or ""
    if address:
        if not _is_address(socket.AF_INET6, address):
            raise TransportError("url", "the URL's host is not a valid IPv6 address")
        return address.lower(), socket.AF_INET6, port
    if not name:
        raise TransportError("url", "the URL has no host")
    host = ascii_host(name)
    return host, socket.AF_INET if _is_address(socket.AF_INET, host) else None, port


def ascii_host(name: str) -> str:
    """A host name in lower case and Punycode; raises ``TransportError`` of kind ``url``."""
    try:
        return destinations.ascii_host(name)
    except ValueError as error:
        raise TransportError("url", f"the URL's host is {error}") from error


def _is_address(family: socket.AddressFamily, text: str) -> bool:
    try:
        socket.inet_pton(family, text)
    except OSError:
        return False
    return True


def _encoded(text: str) -> str:
    if not _TO_ENCODE.search(text):
        return text
    return _BYTES_TO_ENCODE.sub(lambda match: b"%%%02X" % match.group()[0], _raw(text)).decode("ascii")


def _raw(text: str) -> bytes:
    try:
        return raw(text)
    except UnicodeEncodeError as error:
        raise TransportError("url", "the URL is not valid Unicode") from error


def _basic_of_user_info(user_info: str) -> str:
    user, _, password = user_info.partition(":")
    return _basic(unquote_to_bytes(_raw(user)), unquote_to_bytes(_raw(password)))


def _basic(user: bytes, password: bytes) -> str:
    """The Basic scheme of RFC 7617, in UTF-8."""
    return "Basic " + b64encode(user + b":" + password).decode("ascii")


@lru_cache(256)
def parse_proxy(settings: ProxySettings) -> Proxy:
    """A proxy's address and credentials; those of the settings win over those in its URL.

    Raises ``TransportError`` of kind ``proxy``.
    """
    try:
        target = parse_url(settings.url)
        if settings.username is None:
            authorization = target.authorization
        else:
            authorization = _basic(_raw(settings.username), _raw(settings.password or ""))
    except TransportError as error:
        raise TransportError("proxy", f"the proxy's address: {error}") from error
    if target.tls:
        raise TransportError("proxy", "the proxy's address: only http:// is supported")
    return Proxy(target, authorization)
