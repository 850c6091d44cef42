"""``upstream.target``: where the proxied request goes, by what the callouts said.

Kong sets host and port together, so the service's own stands in for the one that is not configured. With them it sets
the ``Host`` header to the host, also on a route with ``preserve_host``; ``upstream.headers.custom`` may set another.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from request_callout.config import model
from request_callout.engine.answer import INTERNAL_ERROR, Ended
from request_callout.engine.expression import Text
from request_callout.lua import Lua

if TYPE_CHECKING:
    from request_callout.engine.run import Run

# Names as Kong's services have them, and IPv4 addresses.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,253}")
_PORT = re.compile(r"[0-9]{1,5}")
_NOT_IN_PATH = re.compile(r"[?#\x00-\x1f\x7f]")
_HIGHEST_PORT = 65535
_SHOWN_LENGTH = 100


@dataclass(frozen=True, slots=True)
class CompiledTarget:
    """The templates of the target."""

    scheme: Text | None
    host: Text | None
    port: Text | None
    path: Text | None

    @property
    def texts(self) -> list[Text]:
        return [text for text in (self.scheme, self.host, self.port, self.path) if text is not None]

    @property
    def moves(self) -> bool:
        """Whether the connection leads elsewhere, which sets the ``Host`` header too."""
        return self.host is not None or self.port is not None

    @property
    def needs_service(self) -> bool:
        """Whether one half of host and port is the service's."""
        return (self.host is None) is not (self.port is None)


def compile_target(target: model.UpstreamTarget, lua: Lua) -> CompiledTarget:
    """Compile the templates."""

    def compiled(source: str | None, name: str) -> Text | None:
        return None if source is None else Text(source, f"config.upstream.target.{name}", lua)

    return CompiledTarget(
        scheme=compiled(target.scheme, "scheme"),
        host=compiled(target.host, "host"),
        port=compiled(target.port, "port"),
        path=compiled(target.path, "path"),
    )


def set_target(target: CompiledTarget, run: Run) -> None:
    """Queue the calls that lead the request there; raises Ended with 500 for what can't be a target, ScriptError."""
    scheme = host = path = None
    port: int | None = None
    if target.scheme is not None:
        scheme = target.scheme.render(run.context).lower()
        if scheme not in ("http", "https"):
            raise _wrong(target.scheme, scheme, "neither http nor https")
    if target.host is not None:
        host = _host(target.host, target.host.render(run.context))
    if target.port is not None:
        port = _port(target.port, target.port.render(run.context))
    if target.path is not None:
        path = target.path.render(run.context)
        if not path.startswith("/") or _NOT_IN_PATH.search(path):
            raise _wrong(target.path, path, "no path (it begins with / and has no ?, # or control characters)")
    write = run.kong.write
    if target.moves:
        write("kong.service.set_target", *_pair(host, port, run))
    if scheme is not None:
        write("kong.service.request.set_scheme", scheme)
    if path is not None:
        write("kong.service.request.set_path", path)


def _host(text: Text, value: str) -> str:
    """A name or an address, an IPv6 address in brackets as it has to stand in the ``Host`` header."""
    if _NAME.fullmatch(value):
        return value
    address = value[1:-1] if value.startswith("[") and value.endswith("]") else value
    if "%" not in address:
        with contextlib.suppress(ValueError):
            return f"[{ipaddress.IPv6Address(address)}]"
    raise _wrong(text, value, "no host name or address")


def _port(text: Text, value: str) -> int:
    if not _PORT.fullmatch(value) or not 0 < int(value) <= _HIGHEST_PORT:
        raise _wrong(text, value, "no port (1 to 65535)")
    return int(value)


def _pair(host: str | None, port: int | None, run: Run) -> tuple[str, int]:
    if host is not None and port is not None:
        return host, port
    service = run.client.part("service") or {}
    host, port = host or service.get("host"), port or service.get("port")
    if not host or not port:
        raise Ended(INTERNAL_ERROR, "config.upstream.target: the route has no service to take the rest of it from")
    return str(host), int(port)


def _wrong(text: Text, value: str, why: str) -> Ended:
    return Ended(INTERNAL_ERROR, f"{text.where}: the result {value[:_SHOWN_LENGTH]!r} is {why}")
