"""Request paths as Kong works with them: normalised for routing, escaped again for the upstream.

After ``kong/tools/uri.lua`` and ``kong/router/utils.lua`` of Kong 3.9. Text is as in ``request_callout.values``.
"""

from __future__ import annotations

import re

from request_callout.values import raw, text

_RESERVED = frozenset(b"!*'();:@&=+$,/?%#[]")
_PERCENT = re.compile(rb"%([0-9A-Fa-f]{2})")
_TO_ESCAPE = re.compile(rb"[^!#$&'()*+,/:;=?@\[\]A-Za-z\d\-_.~%]")


def path_of(request_uri: str) -> str:
    """What stands before the query of a request's target."""
    end = request_uri.find("?", 1)
    return request_uri if end < 0 else request_uri[:end]


def normalized(path: str) -> str:
    """A path with its unreserved characters decoded, dot segments resolved and empty segments merged."""
    data = raw(path)
    if b"%" in data:
        data = _PERCENT.sub(_decoded, data)
    if b"." not in data and b"//" not in data:
        return text(data)
    return text(_without_dot_segments(data))


def _decoded(found: re.Match[bytes]) -> bytes:
    byte = int(found[1], 16)
    return found[0].upper() if byte in _RESERVED else bytes((byte,))


def _without_dot_segments(path: bytes) -> bytes:
    # RFC 3986, section 5.2.4, with two slashes in a row taken for one.
    output: list[bytes] = []
    while path:
        if path == b"/.":
            path = b"/"
        elif path == b"/..":
            path = b"/"
            del output[-1:]
        elif path in (b".", b".."):
            path = b""
        elif path.startswith(b"../"):
            path = path[3:]
        elif path.startswith((b"./", b"/./")):
            path = path[2:]
        elif path.startswith(b"/../"):
            path = path[3:]
            del output[-1:]
        elif path.startswith(b"//"):
            path = path[1:]
        else:
            end = path.find(b"/", 1)
            output.append(path if end < 0 else path[:end])
            path = b"" if end < 0 else path[end:]
    return b"".join(output)


def escaped(path: str) -> str:
    """A path with everything percent-encoded that may not stand in a request line."""
    return _TO_ESCAPE.sub(lambda found: b"%%%02X" % found[0][0], raw(path)).decode("ascii")


def upstream_path(path: str, prefix: str | None, service_path: str, *, strip_path: bool) -> str:
    """The path for the upstream (``path_handling: v0``): the service's own and what is left of the request's.

    ``prefix`` is what of the normalised ``path`` the route matched, None where nothing is stripped.
    """
    rest = _sanitized(path[len(prefix or "/") :])
    if service_path.endswith("/"):
        if not strip_path:
            return service_path + path[1:]
        if rest:
            return service_path + rest.removeprefix("/")
        if service_path == "/" or path.endswith("/"):
            return service_path
        return service_path[:-1]
    if not strip_path:
        return service_path if path == "/" else service_path + path
    if rest:
        return service_path + (rest if rest.startswith("/") else "/" + rest)
    return service_path + "/" if len(path) > 1 and path.endswith("/") else service_path


def _sanitized(rest: str) -> str:
    """Without a dot segment at its start, which stripping may have left."""
    if rest in (".", ".."):
        return ""
    if rest.startswith("./"):
        return rest[2:]
    return rest[3:] if rest.startswith("../") else rest
