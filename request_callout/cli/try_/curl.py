"""A curl command as the request that it makes. Options that only say how curl connects or prints are left out."""

from __future__ import annotations

import os
import re
import secrets
import sys
from base64 import b64encode
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from urllib.parse import quote, quote_plus

from request_callout.cli.try_.request import BadRequest, Request, address, made, whole
from request_callout.cli.try_.shell import words
from request_callout.cli.try_.windows_shell import is_for_windows, windows_words
from request_callout.values import raw, text

_SHORT = {
    "X": "request", "H": "header", "d": "data", "G": "get", "I": "head", "b": "cookie", "u": "user", "A": "user-agent",
    "e": "referer", "F": "form", "T": "upload-file", "r": "range", "s": "silent", "S": "show-error", "v": "verbose",
    "i": "include", "k": "insecure", "L": "location", "f": "fail", "o": "output", "O": "remote-name", "w": "write-out",
    "m": "max-time", "N": "no-buffer", "#": "progress-bar", "g": "globoff", "4": "ipv4", "6": "ipv6", "x": "proxy",
    "E": "cert", "c": "cookie-jar", "j": "junk-session-cookies", "D": "dump-header", "1": "tlsv1", "2": "sslv2",
    "0": "http1.0", "y": "speed-time", "Y": "speed-limit", "J": "remote-header-name", "n": "netrc", "q": "disable",
    "K": "config", "Z": "parallel", ":": "next", "t": "telnet-option", "z": "time-cond", "C": "continue-at",
    "Q": "quote", "P": "ftp-port", "a": "append", "l": "list-only", "B": "use-ascii", "p": "proxytunnel",
    "U": "proxy-user",
    "M": "manual", "V": "version", "h": "help", "R": "remote-time",
}  # fmt: skip
_WITHOUT_EFFECT = """
    silent show-error verbose include insecure location location-trusted fail fail-with-body no-buffer
    progress-bar ipv4 ipv6 http1.0 http1.1 http2 http2-prior-knowledge http3 http3-only tlsv1 tlsv1.0 tlsv1.1
    tlsv1.2 tlsv1.3 sslv2 sslv3 ssl ssl-reqd remote-name remote-header-name remote-time junk-session-cookies
    tcp-fastopen tcp-nodelay no-progress-meter progress-meter no-keepalive no-sessionid styled-output trace-time
    disable path-as-is raw fail-early remove-on-error create-dirs retry-all-errors retry-connrefused
    proxy-insecure proxytunnel basic buffer ssl-no-revoke ssl-revoke-best-effort compressed-ssh
    parallel-immediate http0.9 keepalive alpn no-alpn
"""
_WITHOUT_EFFECT_VALUE = """
    output write-out max-time connect-timeout retry retry-delay retry-max-time proxy proxy-user proxy-header
    noproxy cacert capath cert cert-type key key-type pass pinnedpubkey ciphers tls13-ciphers tls-max resolve
    connect-to interface dns-servers max-redirs limit-rate speed-time speed-limit cookie-jar dump-header trace
    trace-ascii stderr keepalive-time expect100-timeout unix-socket abstract-unix-socket local-port rate
    output-dir max-filesize happy-eyeballs-timeout-ms curves create-file-mode socks5 socks5-hostname socks4
    socks4a preproxy doh-url post301 crlfile
"""
_IGNORED = frozenset(_WITHOUT_EFFECT.split())
_IGNORED_WITH_VALUE = frozenset(_WITHOUT_EFFECT_VALUE.split())
_ENCODINGS = "deflate, gzip, br"
_DEFAULTS = (("User-Agent", "curl"), ("Accept", "*/*"))
_SEMICOLONS = re.compile(r';(?=(?:[^"]*"[^"]*")*[^"]*$)')  # those outside quotes
_FORM = "application/x-www-form-urlencoded"


@dataclass
class _Asked:
    """What the options say so far."""

    urls: list[str] = field(default_factory=list)
    method: str | None = None
    headers: list[tuple[str, str | None]] = field(default_factory=list)
    data: list[bytes] = field(default_factory=list)
    query: list[str] = field(default_factory=list)
    parts: list[tuple[str, str, bool]] = field(default_factory=list)
    is_json: bool = False
    has_data: bool = False
    as_query: bool = False
    head: bool = False
    glob: bool = True
    upload: bytes | None = None
    cookies: list[str] = field(default_factory=list)


def parse(command: str, environment: Mapping[str, str] | None = None, folder: Path | None = None) -> Request:
    """The request of a curl command; files that it names are looked for in ``folder`` (the current one).

    Variables of the shell are taken from ``environment`` (this process's). Raises BadRequest, which names the option.
    """
    if is_for_windows(command):
        arguments = windows_words(command)
    else:
        arguments = words(command, os.environ if environment is None else environment)
    while arguments and arguments[0] in ("$", "%", ">"):
        arguments = arguments[1:]
    if not arguments or arguments[0].rpartition("/")[2] not in ("curl", "curl.exe"):
        raise BadRequest("no curl command: the first word has to be curl")
    asked = _Asked()
    files = _Files(folder or Path())
    _read(arguments[1:], asked, files)
    return _request(asked, files)


def _read(arguments: list[str], asked: _Asked, files: _Files) -> None:
    waiting = deque(arguments)
    only_urls = False

    def value(option: str) -> str:
        if not waiting:
            raise BadRequest(f"the option {option} has no value")
        return waiting.popleft()

    while waiting:
        argument = waiting.popleft()
        if only_urls or not argument.startswith("-") or argument == "-":
            asked.urls.append(argument)
        elif argument == "--":
            only_urls = True
        elif argument.startswith("--"):
            _option(argument[2:], argument, partial(value, argument), asked, files)
        else:
            letters = argument[1:]
            while letters:
                letter, letters = letters[0], letters[1:]
                if letter not in _SHORT:
                    raise BadRequest(f"-{letter} is no option of curl that is known here")
                rest = letters

                def attached(shown: str = f"-{letter}", rest: str = rest) -> str:
                    return rest or value(shown)

                if _option(_SHORT[letter], f"-{letter}", attached, asked, files):
                    break


def _option(name: str, shown: str, value: Callable[[], str], asked: _Asked, files: _Files) -> bool:
    """Take one option; whether it has a value."""
    if name in _SWITCHES:
        _SWITCHES[name](asked)
        return False
    if name in _VALUES:
        _VALUES[name](asked, value(), files)
        return True
    if name in _IGNORED or name.removeprefix("no-") in _IGNORED:
        return False
    if name in _IGNORED_WITH_VALUE:
        value()
        return True
    raise BadRequest(f"the option {shown} of curl is not supported; leave it out, or write what it does as -H or -d")


def _header(asked: _Asked, line: str, files: _Files) -> None:
    if line.startswith("@"):
        for one in text(files.read(line[1:], "-H")).splitlines():
            if one.strip():
                _header(asked, one, files)
        return
    name, colon, content = line.partition(":")
    if colon:
        # "Name:" takes away a header that curl would send by itself.
        asked.headers.append((name.strip(), content.strip() or None))
    elif line.rstrip().endswith(";"):
        asked.headers.append((line.strip()[:-1], ""))
    else:
        raise BadRequest(f"-H {line!r} is no header: Name: value is expected")


def _data(asked: _Asked, content: str, files: _Files, *, strip: bool = True, is_file: bool = True) -> None:
    asked.has_data = True
    if is_file and content.startswith("@"):
        body = files.read(content[1:], "-d")
        asked.data.append(body.replace(b"\r", b"").replace(b"\n", b"").replace(b"\0", b"") if strip else body)
    else:
        asked.data.append(raw(content))


def _json(asked: _Asked, content: str, files: _Files) -> None:
    asked.has_data = asked.is_json = True
    # Several of them are put together as they are.
    piece = files.read(content[1:], "--json") if content.startswith("@") else raw(content)
    asked.data = [b"".join([*asked.data, piece])]


def _urlencoded(content: str, files: _Files) -> str:
    """``content``, ``=content``, ``name=content``, ``@file`` or ``name@file``, as ``--data-urlencode`` takes it."""
    equals, at = content.find("="), content.find("@")
    if equals >= 0 and (at < 0 or equals < at):
        name, value = content[:equals], raw(content[equals + 1 :])
    elif at >= 0:
        name, value = content[:at], files.read(content[at + 1 :], "--data-urlencode")
    else:
        name, value = "", raw(content)
    return (f"{name}=" if name else "") + quote_plus(value)


def _cookie(asked: _Asked, content: str, files: _Files) -> None:
    if "=" not in content:
        raise BadRequest(f"-b {content!r} names a file of cookies: not supported, write them as -b 'name=value'")
    asked.cookies.append(content)


def _set_header(name: str, prefix: str = "") -> Callable[[_Asked, str, _Files], None]:
    return lambda asked, content, files: asked.headers.append((name, prefix + content))


def _user(asked: _Asked, content: str, files: _Files) -> None:
    asked.headers.append(("Authorization", _basic(content)))


def _basic(user: str) -> str:
    return "Basic " + b64encode(raw(user if ":" in user else f"{user}:")).decode()


def _set(name: str, value: object) -> Callable[[_Asked], None]:
    return lambda asked: setattr(asked, name, value)


_SWITCHES: dict[str, Callable[[_Asked], None]] = {
    "get": _set("as_query", True),
    "head": _set("head", True),
    "globoff": _set("glob", False),
    "compressed": lambda asked: asked.headers.append(("Accept-Encoding", _ENCODINGS)),
}
_VALUES: dict[str, Callable[[_Asked, str, _Files], None]] = {
    "url": lambda asked, content, files: asked.urls.append(content),
    "request": lambda asked, content, files: setattr(asked, "method", content),
    "header": _header,
    "data": _data,
    "data-ascii": _data,
    "data-binary": lambda asked, content, files: _data(asked, content, files, strip=False),
    "data-raw": lambda asked, content, files: _data(asked, content, files, is_file=False),
    "data-urlencode": lambda asked, content, files: _data(asked, _urlencoded(content, files), files, is_file=False),
    "url-query": lambda asked, content, files: asked.query.append(
        content[1:] if content.startswith("+") else _urlencoded(content, files)
    ),
    "json": _json,
    "cookie": _cookie,
    "user": _user,
    "user-agent": _set_header("User-Agent"),
    "referer": lambda asked, content, files: asked.headers.append(("Referer", content.removesuffix(";auto"))),
    "range": _set_header("Range", "bytes="),
    "oauth2-bearer": _set_header("Authorization", "Bearer "),
    "form": lambda asked, content, files: _form(asked, content, literal=False),
    "form-string": lambda asked, content, files: _form(asked, content, literal=True),
    "upload-file": lambda asked, content, files: setattr(asked, "upload", files.read(content, "-T")),
}


def _form(asked: _Asked, content: str, *, literal: bool) -> None:
    name, equals, value = content.partition("=")
    if not equals:
        raise BadRequest(f"-F {content!r} is no field of a form: name=value is expected")
    asked.parts.append((name, value, literal))


def _request(asked: _Asked, files: _Files) -> Request:
    if not asked.urls:
        raise BadRequest("the curl command has no URL")
    if len(asked.urls) > 1:
        raise BadRequest(f"the curl command has {len(asked.urls)} URLs, {', '.join(map(repr, asked.urls))}: give one")
    url = asked.urls[0].partition("#")[0]
    url = _with_host(url)
    if asked.glob and ("{" in url or "[" in url.split("/", 3)[3]):
        raise BadRequest("the URL has { or [ in it, for which curl makes several requests; add -g to take it as it is")
    data = b"&".join(asked.data)
    query = list(asked.query)
    if asked.as_query and asked.has_data:
        query.append(text(data))
    for piece in query:
        url += ("&" if "?" in url else "?") + piece
    headers = _headers(asked, url)
    body, kind = _body(asked, data, files)
    method = asked.method or _method(asked, body is not None)
    defaults = [*_DEFAULTS]
    if kind is not None:
        defaults.append(("Content-Type", kind))
    if asked.is_json and not asked.as_query:
        defaults = [(name, "application/json" if name == "Accept" else value) for name, value in defaults]
    gone = {name.lower() for name, value in headers if value is None}
    left = tuple((name, value) for name, value in defaults if name.lower() not in gone)
    return made(method, url, [(name, value) for name, value in headers if value is not None], body or b"", left)


def _with_host(url: str) -> str:
    """The URL with a path, so that a query can follow it."""
    scheme, slashes, rest = url.partition("://") if "://" in url else ("http", "://", url)
    authority = rest.replace("?", "/", 1).partition("/")[0]
    after = rest[len(authority) :]
    return f"{scheme}{slashes}{authority}{after if after.startswith('/') else '/' + after}"


def _headers(asked: _Asked, url: str) -> list[tuple[str, str | None]]:
    headers = list(asked.headers)
    given = {name.lower() for name, _ in headers}
    user = address(url.replace(" ", "%20")).user
    if user is not None and "authorization" not in given:
        headers.append(("Authorization", _basic(user)))
    if asked.cookies:
        headers.append(("Cookie", "; ".join(asked.cookies)))
    return headers


def _method(asked: _Asked, has_body: bool) -> str:
    if asked.head:
        return "HEAD"
    if asked.upload is not None:
        return "PUT"
    return "POST" if has_body else "GET"


def _body(asked: _Asked, data: bytes, files: _Files) -> tuple[bytes | None, str | None]:
    """The body, and its type unless a header says another."""
    kinds = [bool(asked.parts), asked.upload is not None, asked.has_data and not asked.as_query]
    if sum(kinds) > 1:
        raise BadRequest("the curl command has more than one kind of body: -d, -F and -T exclude each other")
    if asked.upload is not None:
        return asked.upload, None
    if asked.parts:
        return _multipart(asked.parts, files)
    if asked.has_data and not asked.as_query:
        return data, "application/json" if asked.is_json else _FORM
    return None, None


def _multipart(parts: list[tuple[str, str, bool]], files: _Files) -> tuple[bytes, str]:
    boundary = f"------------------------{secrets.token_hex(11)}"
    pieces: list[bytes] = []
    for name, value, literal in parts:
        disposition, kind, content = f'form-data; name="{_quoted(name)}"', None, raw(value)
        if not literal:
            first, *more = _SEMICOLONS.split(value)
            settings = dict(one.strip().partition("=")[::2] for one in more if "=" in one)
            kind = settings.get("type")
            if first[:1] in ("@", "<"):
                file = _unquoted(first[1:])
                content = files.read(file, "-F")
                if first[0] == "@":
                    file_name = _unquoted(settings.get("filename", Path(file).name))
                    disposition += f'; filename="{_quoted(file_name)}"'
                    kind = kind or "application/octet-stream"
            elif kind is not None or first != _unquoted(first):
                content = raw(_unquoted(first))
        head = f"Content-Disposition: {disposition}\r\n" + (f"Content-Type: {kind}\r\n" if kind else "")
        pieces.append(raw(f"--{boundary}\r\n{head}\r\n") + content + b"\r\n")
    return b"".join(pieces) + raw(f"--{boundary}--\r\n"), f"multipart/form-data; boundary={boundary}"


def _unquoted(value: str) -> str:
    """A value without the double quotes that may stand around it, as Postman writes them."""
    if len(value) < 2 or not (value.startswith('"') and value.endswith('"')):
        return value
    return re.sub(r'\\([\\"])', r"\1", value[1:-1])


def _quoted(name: str) -> str:
    return quote(name, safe="!#$%&'()*+,/:;=?@[]~-._|^`{}<> ") if '"' in name else name


@dataclass(frozen=True, slots=True)
class _Files:
    """The files that options name."""

    folder: Path

    def read(self, name: str, option: str) -> bytes:
        try:
            if name == "-":
                return whole(sys.stdin.buffer)
            with (self.folder / name).open("rb") as file:
                return whole(file)
        except BadRequest as error:
            raise BadRequest(f"{option} names the file {name}, which {error}") from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise BadRequest(f"{option} names the file {name}, which can't be read: {reason}") from None
