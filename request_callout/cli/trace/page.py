"""The traces as a web page, for a browser on this machine.

Only names of this machine are answered to, so that no other site can read the page by pointing its name here (DNS
rebinding); nothing but the page's own files runs in it, and it sets no cookies.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterable
from importlib.resources import files
from ipaddress import ip_address
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from request_callout.cli.trace.source import NoTraces, TraceSource

_FILES = {
    "/": ("trace.html", "text/html; charset=utf-8"),
    "/trace.css": ("trace.css", "text/css; charset=utf-8"),
    "/trace.js": ("trace.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = (
    ("Content-Security-Policy", _POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cache-Control", "no-store"),
)


class TracePage:
    """The WSGI application of the page."""

    def __init__(self, source: TraceSource) -> None:
        self._source = source

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request."""
        status, kind, body = self._answer(environ)
        start_response(status, [("Content-Type", kind), ("Content-Length", str(len(body))), *_HEADERS])
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]

    def _answer(self, environ: dict[str, Any]) -> tuple[str, str, bytes]:
        if not is_here(environ.get("HTTP_HOST", "")):
            return _refused("403 Forbidden", "open this page as http://127.0.0.1 or http://localhost")
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return _refused("405 Method Not Allowed", "only GET is answered here")
        path = environ.get("PATH_INFO", "")
        if path in _FILES:
            name, kind = _FILES[path]
            return "200 OK", kind, (files(__package__) / "static" / name).read_bytes()
        if path == "/traces" or path.startswith("/traces/"):
            query = environ.get("QUERY_STRING", "")
            return self._passed_on(f"{path}?{query}" if query else path)
        return _refused("404 Not Found", "there is nothing at this path")

    def _passed_on(self, target: str) -> tuple[str, str, bytes]:
        if not target.isascii() or not all(one.isalnum() or one in "/?=-" for one in target):
            return _refused("404 Not Found", "there is no such trace")
        try:
            status, body = self._source.ask(target)
        except NoTraces as error:
            return _refused("502 Bad Gateway", str(error))
        return ("200 OK" if status == 200 else f"{status} From Server"), "application/json", body


def is_here(host: str) -> bool:
    """Whether this value of ``Host`` names this machine, on whatever port."""
    name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
    name = name.removeprefix("[").removesuffix("]").lower()
    return name == "localhost" or is_loopback(name)


def is_loopback(address: str) -> bool:
    """Whether this is an address of the loopback interface."""
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False


def page_server(source: TraceSource, host: str, port: int) -> WSGIServer:
    """A server of the page, which listens; raises OSError."""
    return make_server(
        host, port, TracePage(source), server_class=_Server6 if ":" in host else _Server, handler_class=_Quiet
    )


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def server_bind(self) -> None:
        """Bind without asking DNS for this machine's name."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Quiet(WSGIRequestHandler):
    timeout = 30

    def log_message(self, format: str, *args: Any) -> None:
        """Requests of the page are not worth a line."""


def _refused(status: str, message: str) -> tuple[str, str, bytes]:
    return status, "application/json", json.dumps({"message": message}).encode()
