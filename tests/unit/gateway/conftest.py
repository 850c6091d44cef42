"""A gateway in this process, for each test that asks for one."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from request_callout.gateway import declarative
from request_callout.gateway.node import Address, Gateway, GatewaySettings, plugin_schemas
from tests.unit.gateway.stand_ins import PluginServer, Upstream, plugin_server, upstream

SCHEMA: dict[str, Any] = {
    "name": "request-callout",
    "fields": [
        {
            "config": {
                "type": "record",
                "required": True,
                "fields": [
                    {"text": {"type": "string"}},
                    {"secret": {"type": "string", "referenceable": True}},
                    {"level": {"type": "integer", "default": 1, "between": [1, 5]}},
                    {
                        "custom": {
                            "type": "map",
                            "keys": {"type": "string"},
                            "values": {"type": "string", "referenceable": True},
                        }
                    },
                ],
            }
        }
    ],
}
"""Stands for the dump of the plugin server."""


@dataclass
class Running:
    """A running gateway, its upstream and the way to change its configuration."""

    proxy: str
    admin: str
    gateway: Gateway
    _loop: asyncio.AbstractEventLoop

    def get(self, path: str, **more: Any) -> requests.Response:
        return self.request("GET", path, **more)

    def request(self, method: str, path: str, **more: Any) -> requests.Response:
        return requests.request(method, self.proxy + path, timeout=20, **more)


@contextlib.contextmanager
def running(
    document: Mapping[str, Any], socket_path: str, protocol: str = "protobuf", buffer: int = 8192
) -> Iterator[Running]:
    """A gateway with this configuration, in a thread of its own."""
    schemas = plugin_schemas(SCHEMA)
    settings = GatewaySettings(
        proxy=Address("127.0.0.1", 0),
        admin=Address("127.0.0.1", 0),
        protocol="msgpack" if protocol == "msgpack" else "protobuf",
        socket_path=socket_path,
        client_body_buffer_bytes=buffer,
    )
    gateway = Gateway(settings, schemas)
    configuration = declarative.load({"_format_version": "3.0", **document}, schemas)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def wait(future: Future[None]) -> None:
        future.result(20)

    try:
        wait(asyncio.run_coroutine_threadsafe(gateway.start(configuration), loop))
        try:
            yield Running(
                f"http://127.0.0.1:{gateway.proxy_address.port}",
                f"http://127.0.0.1:{gateway.admin_address.port}",
                gateway,
                loop,
            )
        finally:
            wait(asyncio.run_coroutine_threadsafe(stopped(gateway), loop))
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def stopped(gateway: Gateway) -> None:
    """Stop it, and wait for what it cancelled, as ``asyncio.run`` does: a task that never ends is told in the log."""
    await gateway.stop()
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


@pytest.fixture
def up() -> Iterator[Upstream]:
    with upstream() as known:
        yield known


Make = Callable[..., Running]


@pytest.fixture
def make() -> Iterator[Make]:
    """Makes gateways that live until the test ends; without ``server`` there is no plugin server."""
    with contextlib.ExitStack() as stack:

        def gateway(
            document: Mapping[str, Any],
            *,
            server: PluginServer | None = None,
            protocol: str = "protobuf",
            buffer: int = 8192,
        ) -> Running:
            path = server.path if server is not None else "/nonexistent/socket"
            return stack.enter_context(running(document, path, protocol, buffer))

        yield gateway


@pytest.fixture
def serve() -> Iterator[Callable[..., PluginServer]]:
    """Makes plugin servers that live until the test ends."""
    with contextlib.ExitStack() as stack:
        yield lambda script, **more: stack.enter_context(plugin_server(script, **more))
