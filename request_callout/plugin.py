"""The plugin as a module of kong-pdk: for ``kong-python-pluginserver`` and ``start_dedicated_server``.

Start kong-pdk's server with ``--gevent``. Its threads work too, one request at a time: the engine belongs to the
first thread that used it.
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
from request_callout.pdk.over_msgpack import MsgPackKong

_info = plugin_info()
version = __version__
priority: int = _info["Priority"]
Schema: list[dict[str, Any]] = next(
    field["config"]["fields"] for field in _info["Schema"]["fields"] if "config" in field
)

_engines: list[Engine] = []
_creating = threading.Lock()


def engine() -> Engine:
    """The engine of this process, made when it is first needed."""
    with _creating:
        if not _engines:
            _engines.append(Engine(Settings()))
        return _engines[0]


def use(chosen: Engine) -> None:
    """Take this engine instead of one with default settings; before the first instance."""
    with _creating:
        _engines[:] = [chosen]


class Plugin:
    """One configuration of the plugin at work."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._instance = engine().instance(config)

    def access(self, kong: Any) -> None:
        """Handle one request."""
        event = MsgPackKong(kong)
        event.begin()
        self._instance.access(event)
        if not event.finish() and isinstance(gevent.getcurrent(), gevent.Greenlet):
            # Kong never answers an exit, and kong-pdk would wait for it in this greenlet for ever.
            raise gevent.GreenletExit
