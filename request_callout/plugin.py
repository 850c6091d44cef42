"""The plugin as a module of kong-pdk: for ``kong-python-pluginserver`` and ``start_dedicated_server``.

Start kong-pdk's server with ``--gevent``. Its threads (the default) work too, with a detour of each call to the
engine's own thread; its ``--multiprocessing`` does not, since a configuration at work can't be sent to another process.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import gevent

from request_callout import __version__
from request_callout.config.kong_schema import plugin_info
from request_callout.config.settings import Settings
from request_callout.engine import Engine
from request_callout.engine.kong import ConnectionLost
from request_callout.pdk.hub_thread import HubThread
from request_callout.pdk.over_msgpack import MsgPackKong, calls_of

_info = plugin_info()
version = __version__
priority: int = _info["Priority"]
Schema: list[dict[str, Any]] = next(
    field["config"]["fields"] for field in _info["Schema"]["fields"] if "config" in field
)


class _Process:
    """What this process has one of, made when it is first needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._engine: Engine | None = None
        self._thread: HubThread | None = None

    def engine(self) -> Engine:
        """The engine; to be used on one hub only."""
        if self._engine is None:
            self._engine = Engine(Settings())
        return self._engine

    def thread(self) -> HubThread:
        """The thread of the engine where kong-pdk uses threads."""
        with self._lock:
            if self._thread is None:
                self._thread = HubThread()
            return self._thread


_process = _Process()


def _on_gevent() -> bool:
    return isinstance(gevent.getcurrent(), gevent.Greenlet)


class Plugin:
    """One configuration of the plugin at work."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        if _on_gevent():
            self._instance = _process.engine().instance(config)
        else:
            self._instance = _process.thread().run(lambda _: _process.engine().instance(config))

    def access(self, kong: Any) -> None:
        """Handle one request."""
        if not _on_gevent():
            _process.thread().run(lambda execute: self._access(MsgPackKong(calls_of(kong, execute))))
        elif not self._access(MsgPackKong(calls_of(kong))):
            # Kong never answers an exit, and kong-pdk would wait for it in this greenlet for ever.
            raise gevent.GreenletExit

    def _access(self, kong: MsgPackKong) -> bool:
        kong.begin()
        try:
            self._instance.access(kong)
        except ConnectionLost:
            return False
        return kong.finish()
