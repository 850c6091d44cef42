"""Kong's protocol MsgPack:1 by kong-pdk's own server classes, with this process around them.

Their defects are theirs: instance ids start from 0 in each process, an error lets the request through to the upstream.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Mapping
from typing import Any

import gevent
import kong_pdk.module  # type: ignore[import-untyped]
from gevent.event import Event
from gevent.socket import SHUT_RD, socket
from kong_pdk.listener import UnixStreamServer  # type: ignore[import-untyped]
from kong_pdk.logger import Logger  # type: ignore[import-untyped]
from kong_pdk.server import PluginServer  # type: ignore[import-untyped]

from request_callout.engine.kong import ConnectionLost
from request_callout.pdk.over_msgpack import MsgPackKong
from request_callout.server.instances import INTERNAL_ERROR, Engine

_log = logging.getLogger(__name__)


class MsgpackServer:
    """Answers kong-pdk's commands; ``info`` is the plugin's entry of the dump (``Name``, ``Priority``, ...)."""

    def __init__(self, engine: Engine, info: Mapping[str, Any]) -> None:
        self._connections: set[socket] = set()
        self._busy = 0
        self._stopping = False
        self._none_busy = Event()
        self._none_connected = Event()
        # kong-pdk looks at the age of the file it was started from, which need not exist.
        kong_pdk.module.FILEPATH = __file__
        server = PluginServer(loglevel=Logger.WARNING, use_gevent=True, name=info["Name"], lua_style=False)
        server.plugins[info["Name"]] = kong_pdk.module.Module(info["Name"], module=self._module(engine, info))
        self._commands = UnixStreamServer(server, "", use_gevent=True)

    def handle(self, sock: socket, address: object) -> None:
        """Serve one connection to its end."""
        self._connections.add(sock)
        try:
            self._commands.handle(sock, address)
        except OSError as error:
            _log.info("connection lost: %s", error)
        finally:
            self._connections.discard(sock)
            sock.close()
            if self._stopping and not self._connections:
                self._none_connected.set()

    def stop(self, grace_s: float) -> int:
        """Wait for the events in flight, then end all connections; gives how many events were not finished."""
        self._stopping = True
        deadline = time.monotonic() + grace_s
        # An event's steps may come over any connection, so all stay until the last event is done.
        if self._busy:
            self._none_busy.wait(grace_s)
        for sock in list(self._connections):
            with contextlib.suppress(OSError):
                sock.shutdown(SHUT_RD)
        if self._connections:
            self._none_connected.wait(max(0.0, deadline - time.monotonic()))
        return self._busy

    def _module(self, engine: Engine, info: Mapping[str, Any]) -> Any:
        """A plugin module, as kong-pdk takes it, around this engine."""
        server = self

        class Plugin:
            def __init__(self, config: Mapping[str, Any]) -> None:
                self._instance = engine.instance(config)

            def access(self, kong: Any) -> None:
                server._busy += 1
                try:
                    proceeds = server._access(self._instance, MsgPackKong(kong))
                finally:
                    server._busy -= 1
                    if server._stopping and not server._busy:
                        server._none_busy.set()
                if not proceeds:
                    # Kong never answers an exit, and kong-pdk would wait for it in this greenlet for ever.
                    raise gevent.GreenletExit

        class PluginModule:
            version = info["Version"]
            priority = info["Priority"]
            Schema = info["Schema"]["fields"]

        PluginModule.Plugin = Plugin  # type: ignore[attr-defined]
        return PluginModule

    def _access(self, instance: Any, kong: MsgPackKong) -> bool:
        kong.begin()
        try:
            instance.access(kong)
        except ConnectionLost as error:
            _log.warning("the request ended inside Kong: %s", error)
        except Exception:
            _log.exception("unexpected error")
            kong.exit(*INTERNAL_ERROR)
        return kong.finish()
