"""The gateway as a whole: both ports, the plugin server beside it, and the configuration that runs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import IO, Literal

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from request_callout.config.settings import LuaSettings
from request_callout.gateway import admin
from request_callout.gateway.entities import KEY_AUTH, function_plugin
from request_callout.gateway.exchange import Exchange
from request_callout.gateway.model import Configuration
from request_callout.gateway.msgpack_client import MsgpackClient
from request_callout.gateway.plugin_server import PluginServer
from request_callout.gateway.protobuf_client import ProtobufClient
from request_callout.gateway.proxy import Front, Proxy
from request_callout.gateway.runtime import Client, Runtime
from request_callout.gateway.schema_rules import Definition
from request_callout.gateway.upstream import MAX_HEADERS, Session, Upstreams
from request_callout.lua import Lua

MAX_LINE_BYTES = 32 * 1024
"""Of a client's request line, and of each of its headers."""

_LOG = logging.getLogger("request_callout.gateway")

PLUGIN = "request-callout"
CLIENT_BODY_BUFFER_BYTES = 8 * 1024
"""Kong's default of ``nginx_http_client_body_buffer_size``."""


class CannotListen(OSError):
    """An address of the gateway is in use, or is none of this machine's."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen; port 0 takes a free one."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """How the gateway runs. With ``socket_path`` the plugin server is one that runs already."""

    proxy: Address = Address("127.0.0.1", 8000)
    admin: Address = Address("127.0.0.1", 8001)
    protocol: Literal["protobuf", "msgpack"] = "protobuf"
    serve_options: Sequence[str] = ()
    socket_path: str | None = None
    client_body_buffer_bytes: int = CLIENT_BODY_BUFFER_BYTES
    front: Front | None = None


@lru_cache(maxsize=1)
def function_lua() -> Lua:
    """The Lua of pre-function and post-function."""
    return Lua(LuaSettings())


def plugin_schemas(external: Definition) -> dict[str, Definition]:
    """The schemas of all plugins of the gateway; ``external`` is request-callout's as its server dumps it."""

    def check(source: str) -> str | None:
        problems = function_lua().check(source, False)
        return "; ".join(f"{_chunk(source)}:{line}: {message}" for line, message in problems) or None

    functions = {name: function_plugin(name, check) for name in ("pre-function", "post-function")}
    return {PLUGIN: external, "key-auth": KEY_AUTH, **functions}


@dataclass
class Gateway:
    """A running gateway. Made by ``start``, ended by ``stop``.

    ``upstreams`` answer for the services, if they are not to be called themselves; ``follow`` is given each exchange as
    it begins; what the plugin server writes goes to ``server_output`` (else to standard error).
    """

    settings: GatewaySettings
    schemas: Mapping[str, Definition]
    upstreams: Upstreams | None = None
    follow: Callable[[Exchange], None] | None = None
    server_output: IO[bytes] | None = None
    _runtime: Runtime = field(init=False)
    _client: Client = field(init=False)
    _server: PluginServer | None = field(init=False, default=None)
    _upstreams: Upstreams = field(init=False)
    _runners: list[web.AppRunner] = field(init=False, default_factory=list)
    proxy_address: Address = field(init=False)
    admin_address: Address = field(init=False)

    @property
    def configuration(self) -> Configuration:
        """What runs now."""
        return self._runtime.configuration

    async def start(self, configuration: Configuration) -> None:
        """Start the plugin server and both ports; raises CannotListen, OSError or ServerNotReady."""
        socket_path = self.settings.socket_path
        if socket_path is None:
            self._server = PluginServer(self.settings.protocol, self.settings.serve_options, self.server_output)
            await self._server.start()
            socket_path = self._server.socket_path
        self._client = (
            ProtobufClient(socket_path) if self.settings.protocol == "protobuf" else MsgpackClient(socket_path)
        )
        self._upstreams = self.upstreams or Session.open()
        self._runtime = self._made(configuration)
        settings = self.settings
        proxy = Proxy(
            lambda: self._runtime, self._upstreams, settings.client_body_buffer_bytes, settings.front, self.follow
        )
        try:
            self.proxy_address = await self._listen("proxy", proxy.application(), self.settings.proxy)
            self.admin_address = await self._listen("Admin API", admin.application(self), self.settings.admin)
        except BaseException:
            await self.stop()
            raise

    async def apply(self, configuration: Configuration) -> None:
        """Make this the configuration of all requests that come from now on."""
        self._runtime = self._made(configuration)
        # Kong forgets the instances of plugins that are gone without a word; a server that is asked for many
        # configurations in a row, as in tests, is better told.
        await self._client.close_others(self._runtime.external_ids)

    def _made(self, configuration: Configuration) -> Runtime:
        schemas = {name: _config_of(schema) for name, schema in self.schemas.items()}
        return Runtime(configuration, schemas, self._client, function_lua)

    async def _listen(self, what: str, application: web.Application, address: Address) -> Address:
        runner = web.AppRunner(
            application,
            access_log=None,
            logger=_http_log(),
            auto_decompress=False,
            max_line_size=MAX_LINE_BYTES,
            max_field_size=MAX_LINE_BYTES,
            max_headers=MAX_HEADERS,
            shutdown_timeout=5.0,
        )
        await runner.setup()
        self._runners.append(runner)
        site = web.TCPSite(runner, address.host, address.port, backlog=1024)
        try:
            await site.start()
        except OSError as error:
            raise CannotListen(f"the {what} can't listen: {error.strerror or error}") from None
        host, port = runner.addresses[0][:2]
        return Address(host, port)

    async def stop(self) -> None:
        """Finish what is in flight, close the ports, and end the plugin server."""
        for runner in self._runners:
            await runner.cleanup()
        self._client.close()
        await self._upstreams.close()
        if self._server is not None:
            await self._server.stop()


def _http_log() -> logging.Logger:
    """For the HTTP server, which would quote what it can't read of a client's request, with a traceback."""
    log = _LOG.getChild("http")
    log.filters[:] = [_without_quotes]
    return log


def _without_quotes(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, HttpProcessingError):
        record.msg, record.args = "a client's request can't be read: %s", (type(error).__name__,)
        record.exc_info = None
    return True


def _chunk(source: str) -> str:
    """How Lua names a source in its messages: by its first line."""
    first, newline, _ = source.partition("\n")
    return f'[string "{first[:45]}..."]' if newline or len(first) > 45 else f'[string "{first}"]'


def _config_of(schema: Definition) -> Definition:
    """The part of a plugin's schema that describes its configuration."""
    found: Definition = next(entry["config"] for entry in schema["fields"] if "config" in entry)
    return found
