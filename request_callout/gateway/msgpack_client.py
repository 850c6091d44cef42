"""Kong's side of the protocol MsgPack:1 (``kong/runloop/plugin_servers/rpc/mp_rpc.lua`` of Kong 3.9).

It fails open: when the server is gone or answers an error, the request goes on without the plugin. Only an instance
that can't be started makes 500.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from typing import Any

import msgpack
import orjson

from request_callout.gateway import pdk
from request_callout.gateway.exchange import Exchange
from request_callout.gateway.instances import Handed, Instances, NotClaimed, RpcError, StartFailed
from request_callout.gateway.pdk import PdkFailure, Surroundings
from request_callout.gateway.socket_pool import Connection, SocketPool
from request_callout.values import Value

_LOG = logging.getLogger("request_callout.gateway")

_STEPS = {
    "kong.client.get_credential": "plugin.StepCredential",
    "kong.client.load_consumer": "plugin.StepConsumer",
    "kong.client.get_consumer": "plugin.StepConsumer",
    "kong.client.authenticate": "plugin.StepCredential",
    "kong.node.get_memory_stats": "plugin.StepMemoryStats",
    "kong.router.get_route": "plugin.StepRoute",
    "kong.router.get_service": "plugin.StepService",
    "kong.request.get_query": "plugin.StepMultiMap",
    "kong.request.get_headers": "plugin.StepMultiMap",
    "kong.response.get_headers": "plugin.StepMultiMap",
    "kong.service.response.get_headers": "plugin.StepMultiMap",
}
_MULTI_MAPS = frozenset({"kong.request.get_query", "kong.request.get_headers"})


class MsgpackClient:
    """The plugin server, spoken to as Kong does on MsgPack:1."""

    def __init__(self, socket_path: str) -> None:
        self._pool = SocketPool(socket_path)
        self._message_id = 0
        self._instances = Instances(self._start, self._close)

    async def handle_event(self, exchange: Exchange, around: Surroundings, handed: Handed) -> None:
        """Run the plugin's ``access`` phase; raises PdkFailure or StartFailed for what Kong answers with 500."""
        while True:
            try:
                instance_id = await self._instances.id_of(handed)
                await self._bridge(exchange, around, instance_id)
            except (RpcError, NotClaimed) as error:
                if "no plugin instance" not in str(error).lower():
                    _LOG.error("plugin server: %s", error)
                    return
                _LOG.warning("plugin server: %s", error)
                self._instances.reset()
                await asyncio.sleep(0)
            except pdk.Exited:
                return
            else:
                return

    async def close_others(self, plugin_ids: frozenset[str]) -> None:
        """Close the instances of plugins that are not configured any more."""
        await self._instances.close_others(plugin_ids)

    def close(self) -> None:
        """Close idle connections."""
        self._pool.close()

    async def _start(self, handed: Handed) -> int | None:
        config = orjson.dumps(handed.config).decode()
        try:
            status = await self._call("plugin.StartInstance", {"Name": "request-callout", "Config": config})
        except RpcError as error:
            raise StartFailed(str(error)) from None
        identity = status.get("Id") if isinstance(status, dict) else None
        return identity if isinstance(identity, int) else None

    async def _close(self, instance_id: int) -> None:
        try:
            await self._call("plugin.CloseInstance", instance_id)
        except (RpcError, PdkFailure) as error:
            _LOG.debug("closing an instance: %s", error)

    async def _bridge(self, exchange: Exchange, around: Surroundings, instance_id: int) -> None:
        step = await self._call("plugin.HandleEvent", {"InstanceId": instance_id, "EventName": "access"})
        if not isinstance(step, dict):
            return
        event_id = step.get("EventId")
        while step.get("Data") != "ret":
            data = step["Data"]
            if not isinstance(data, dict):
                raise PdkFailure("attempt to index a plugin server's answer that is no call")
            method = str(data.get("Method"))
            if method in pdk.NEED_BODY:
                await exchange.read_body()
            result = _result(exchange, around, method, data.get("Args"))
            step_name = _STEPS.get(method, "plugin.Step")
            answer: dict[str, Any] = {"EventId": event_id}
            if result is not None:
                answer["Data"] = result
            step = await self._call(step_name, answer)

    async def _call(self, method: str, argument: Any) -> Any:
        """Make one call over a connection of the pool and give its result; raises RpcError or PdkFailure."""
        self._message_id += 1
        message_id = self._message_id
        try:
            connection = await self._pool.connect()
        except OSError as error:
            raise RpcError(f"trying to connect: {(error.strerror or str(error)).lower()}") from None
        request = msgpack.packb([0, message_id, method, [argument]], unicode_errors="surrogateescape")
        answer = None
        try:
            await connection.write(request)
            answer = await _answer(connection)
        except OSError as error:
            raise RpcError((error.strerror or str(error)).lower()) from None
        except asyncio.TimeoutError:
            raise RpcError("no data") from None
        finally:
            if answer is None:
                connection.close()
        self._pool.give_back(connection)
        if answer[1] != message_id:
            raise PdkFailure("unexpected RPC response ID from Go plugin server")
        if answer[2] is not None:
            raise RpcError(str(answer[2]))
        return answer[3]


async def _answer(connection: Connection) -> list[Any]:
    """The next answer on a connection; notifications before it are passed over."""
    unpacker = msgpack.Unpacker(raw=False, unicode_errors="surrogateescape", strict_map_key=False, max_buffer_size=0)
    while True:
        for message in unpacker:
            if isinstance(message, list) and message and message[0] == 2:
                continue
            if not isinstance(message, list) or len(message) != 4 or message[0] != 1:
                raise PdkFailure("RPC response expected from Go plugin server")
            return message
        data = await connection.read()
        if not data:
            raise RpcError("no data")
        unpacker.feed(data)


def _result(exchange: Exchange, around: Surroundings, method: str, args: Any) -> Any:
    """The result of one call as it is packed; raises PdkFailure or Exited."""
    if not pdk.exists(method):
        _LOG.error("could not find pdk method: %s", method)
        return None
    # Kong unpacks the arguments as a Lua table: what stands behind a nil is lost.
    given = list(itertools.takewhile(lambda one: one is not None, args if isinstance(args, (list, tuple)) else [args]))
    result = pdk.call(exchange, around, method, [_without_nil(one) for one in given])
    if isinstance(result, pdk.Failure):
        return None
    if isinstance(result, pdk.RawBody):
        if result.content is None:
            raise PdkFailure("bad argument: the request body is in a file")
        return result.content
    if method in _MULTI_MAPS:
        return {name: _lines(value) for name, value in result.items()}
    if method == "kong.request.get_uri_captures":
        # What the whole match is, number 0, makes the table a map; without captures it is an empty array.
        return {"unnamed": result["unnamed"] or [], "named": result["named"] or []}
    # The nulls of a JSON body are values to Lua, packed as nil; elsewhere None is nil itself.
    return result if method == "kong.request.get_body" else _as_table(result)


def _lines(value: Value) -> Value:
    if value is True:
        return []
    return value if isinstance(value, list) else [value]


def _without_nil(value: Value) -> Value:
    """What Lua makes of an unpacked value: a null member of a map is not there."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if isinstance(value, dict):
        return {name: _without_nil(member) for name, member in value.items() if member is not None}
    if isinstance(value, list):
        return [_without_nil(one) for one in value]
    return value


def _as_table(value: Value) -> Value:
    """A value as Kong packs it: an empty table is an array, a list with holes a map with numbers."""
    if isinstance(value, dict):
        return {name: _as_table(member) for name, member in value.items() if member is not None} or []
    if isinstance(value, list):
        if None in value:
            return {at: _as_table(one) for at, one in enumerate(value, 1) if one is not None}
        return [_as_table(one) for one in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
