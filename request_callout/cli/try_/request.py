"""The request to try, whatever it was written as."""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO
from urllib.parse import quote, unquote, urlsplit

from request_callout.values import raw, text

_KEPT = "!#$%&'()*+,/:;=?@[]~-._|^`{}\"\\<>"


MOST_BYTES = 256 * 1024 * 1024
"""Of a file that a request is made of; a device has no end."""


class BadRequest(ValueError):
    """Something that is no request; the message says what, and where it was found."""


def whole(file: IO[bytes]) -> bytes:
    """All of a file; raises BadRequest if that is more than ``MOST_BYTES``, and OSError."""
    found = file.read(MOST_BYTES + 1)
    if len(found) > MOST_BYTES:
        raise BadRequest(f"has more than {MOST_BYTES // 1024**2} MiB, and is not read")
    return found


@dataclass(frozen=True, slots=True)
class Request:
    """A client's request: ``target`` is the request line's path and query, ``headers`` have Host."""

    method: str
    scheme: str
    port: int
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def host(self) -> str:
        """The Host header."""
        return next((value for name, value in self.headers if name.lower() == "host"), "")

    @property
    def path(self) -> str:
        """The path of the target."""
        return self.target.partition("?")[0]


@dataclass(frozen=True, slots=True)
class Address:
    """What a URL says: ``user`` is what stands before the @."""

    scheme: str
    host: str
    port: int
    target: str
    user: str | None


def address(url: str) -> Address:
    """The parts of an http(s) URL; without a scheme it is http, as for curl. Raises ``BadRequest``."""
    if "://" not in url:
        url = f"http://{url}"
    bad = next((character for character in url if character <= " " or character == "\x7f"), None)
    if bad is not None:
        raise BadRequest(f"the URL {url!r} has a blank or control character in it; write it percent-encoded (%20)")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise BadRequest(f"{url!r} is no URL: {error}") from None
    scheme = parts.scheme.lower()
    if scheme not in ("http", "https"):
        raise BadRequest(f"the URL has to be http or https, not {scheme!r}")
    if not parts.hostname:
        raise BadRequest(f"the URL {url!r} names no host")
    user, at, host = parts.netloc.rpartition("@")
    standard = 443 if scheme == "https" else 80
    if port is None or port == standard:
        host = host.removesuffix(f":{standard}").removesuffix(":")
    target = quote(raw(parts.path or "/"), safe=_KEPT)
    if parts.query:
        target += "?" + quote(raw(parts.query), safe=_KEPT)
    return Address(scheme, host, port or standard, target, unquote(user) if at else None)


def made(
    method: str, url: str, headers: list[tuple[str, str]], body: bytes, defaults: tuple[tuple[str, str], ...] = ()
) -> Request:
    """A request, with Host and Content-Length as they follow; ``defaults`` are added unless given.

    Raises BadRequest.
    """
    where = address(url)
    if not method or not all(character.isalnum() or character in "!#$%&'*+-.^_`|~" for character in method):
        raise BadRequest(f"{method!r} is no method")
    given = {name.lower() for name, _ in headers}
    lines = [] if "host" in given else [("Host", where.host)]
    lines += [(name, value) for name, value in defaults if name.lower() not in given]
    for name, value in headers:
        if not name or any(character in " \t\r\n:" for character in name):
            raise BadRequest(f"{name!r} is no name of a header")
        if "\r" in value or "\n" in value or "\0" in value:
            raise BadRequest(f"the header {name} has a line break in its value")
        if name.lower() not in ("content-length", "transfer-encoding", "connection"):
            lines.append((name, text(raw(value)).strip()))
    if body or method in ("POST", "PUT", "PATCH"):
        lines.append(("Content-Length", str(len(body))))
    return Request(method, where.scheme, where.port, where.target, tuple(lines), body)
