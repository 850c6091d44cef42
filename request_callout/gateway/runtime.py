"""One configuration as it runs: its router, and which plugins run on a request, in which order."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from request_callout.gateway import pdk
from request_callout.gateway.exchange import Exchange
from request_callout.gateway.instances import Handed, StartFailed
from request_callout.gateway.model import WORKSPACE_ID, Configuration, PluginConfig
from request_callout.gateway.pdk import PdkFailure, Surroundings
from request_callout.gateway.plugins import key_auth
from request_callout.gateway.plugins.functions import Functions
from request_callout.gateway.router import Router
from request_callout.gateway.schema_rules import Definition, selected
from request_callout.gateway.vault import resolver
from request_callout.lua import Lua

_LOG = logging.getLogger("request_callout.gateway")

PRIORITIES: Mapping[str, int] = {
    "pre-function": 1_000_000,
    "key-auth": 1250,
    "request-callout": 812,
    "post-function": -1000,
}
"""The plugins, first to last."""

_sequence = itertools.count(1)

Run = Callable[[Exchange], Awaitable[None]]
Scope = tuple[str | None, str | None, str | None]


class Client(Protocol):
    """The plugin server behind one of the two protocols."""

    async def handle_event(self, exchange: Exchange, around: Surroundings, handed: Handed) -> None:
        """Run the external plugin's ``access`` phase on the exchange."""

    async def close_others(self, plugin_ids: frozenset[str]) -> None:
        """Close the instances of all other plugins."""

    def close(self) -> None:
        """Close idle connections."""


@dataclass(frozen=True, slots=True)
class _Prepared:
    config: PluginConfig
    run: Run


class Runtime:
    """What serves requests until the next configuration takes its place."""

    def __init__(
        self, configuration: Configuration, schemas: Mapping[str, Definition], client: Client, lua: Callable[[], Lua]
    ) -> None:
        """``schemas`` are those of the plugins' configurations; ``lua`` is asked for only if a function needs it."""
        self.configuration = configuration
        self.router = Router(configuration.routes)
        self._client = client
        self._lua = lua
        resolve = resolver(configuration.vaults)
        self._around = Surroundings(configuration.consumers, resolve)
        self._plugins: dict[str, dict[Scope, _Prepared]] = {name: {} for name in PRIORITIES}
        for plugin in configuration.plugins:
            run = self._prepared(plugin, schemas[plugin.name])
            self._plugins[plugin.name][plugin.route_id, plugin.service_id, plugin.consumer_id] = _Prepared(plugin, run)

    @property
    def external_ids(self) -> frozenset[str]:
        """The ids of the plugins that the plugin server runs."""
        return frozenset(one.config.id for one in self._plugins["request-callout"].values())

    async def access(self, exchange: Exchange) -> None:
        """Run the ``access`` phase of the plugins that apply, until one has answered."""
        for by_scope in self._plugins.values():
            found = _lookup(by_scope, exchange) if by_scope else None
            if found is None:
                continue
            exchange.plugin = found.config
            try:
                await found.run(exchange)
            except (PdkFailure, StartFailed) as error:
                _LOG.error("[%s] %s, request_id: %s", found.config.name, error, exchange.request_id)
                pdk.error_exit(exchange, 500, "An unexpected error occurred")
            exchange.plugin = None
            if exchange.exit is not None:
                return

    def _prepared(self, plugin: PluginConfig, schema: Definition) -> Run:
        if plugin.name == "request-callout":
            handed = handed_config(plugin, schema, self._around.resolve)
            return lambda exchange: self._client.handle_event(exchange, self._around, handed)
        if plugin.name == "key-auth":
            config = plugin.config

            async def authenticate(exchange: Exchange) -> None:
                key_auth.access(exchange, config, self.configuration)

            return authenticate
        functions = Functions(self._lua(), plugin.name, plugin.config["access"])

        async def run(exchange: Exchange) -> None:
            # A function can ask for the body at any time, and can't wait for it.
            await exchange.read_body()
            functions.access(exchange, self._around)

        return run


def handed_config(plugin: PluginConfig, schema: Definition, resolve: Callable[[str], str | None]) -> Handed:
    """A plugin's configuration as the plugin server gets it, with what Kong adds."""
    config: dict[str, Any] = selected(schema, plugin.config, resolve)
    seq = next(_sequence)
    scope = (plugin.route_id, plugin.service_id, plugin.consumer_id)
    key = ":".join(["plugins", plugin.name, *(one or "" for one in scope), "", WORKSPACE_ID])
    config |= {"__seq__": seq, "__plugin_id": plugin.id, "__key__": key, "__ws_id": WORKSPACE_ID}
    names = ("route_id", "service_id", "consumer_id", "plugin_instance_name")
    config |= {name: value for name, value in zip(names, (*scope, plugin.instance_name), strict=True) if value}
    return Handed(plugin.id, seq, config)


def _lookup(by_scope: Mapping[Scope, _Prepared], exchange: Exchange) -> _Prepared | None:
    """The most specific configuration of a plugin that applies (``kong/runloop/plugins_iterator.lua``)."""
    route = exchange.match.route if exchange.match is not None else None
    route_id = route.id if route is not None else None
    service_id = route.service.id if route is not None and route.service is not None else None
    consumer_id = exchange.consumer.id if exchange.consumer is not None else None
    return next((by_scope[scope] for scope in _scopes(route_id, service_id, consumer_id) if scope in by_scope), None)


def _scopes(route: str | None, service: str | None, consumer: str | None) -> Iterable[Scope]:
    yield (route, service, consumer)
    yield (route, None, consumer)
    yield (None, service, consumer)
    yield (route, service, None)
    yield (None, None, consumer)
    yield (route, None, None)
    yield (None, service, None)
    yield (None, None, None)
