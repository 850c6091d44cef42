"""Kong's side of the protocol ProtoBuf:1 (``kong/runloop/plugin_servers/rpc/pb_rpc.lua`` of Kong 3.9).

It fails closed: whatever goes wrong with the server, the client gets 500. Only an event whose connection was closed is
repeated, with new instances, as often as it takes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import orjson

from request_callout.gateway import pdk
from request_callout.gateway.exchange import Exchange
from request_callout.gateway.instances import Handed, Instances, NotClaimed, RpcError, StartFailed
from request_callout.gateway.pdk import PdkFailure, Surroundings
from request_callout.gateway.socket_pool import Connection, SocketPool
from request_callout.pdk.protobuf import (
    METHODS,
    CloseInstance,
    FrameDecoder,
    FrameError,
    HandleEvent,
    InstanceStatus,
    Method,
    RawBody,
    RpcCall,
    RpcReturn,
    StartInstance,
    as_kong_reads,
    decode_return,
    encode_call,
    frame,
)
from request_callout.values import Value

_LOG = logging.getLogger("request_callout.gateway")

_VALUES = frozenset({"KV", "Struct", "ListValue"})


class ProtobufClient:
    """The plugin server, spoken to as Kong does on ProtoBuf:1."""

    def __init__(self, socket_path: str) -> None:
        self._pool = SocketPool(socket_path)
        self._sequence = 1
        self._instances = Instances(self._start, self._close)

    async def handle_event(self, exchange: Exchange, around: Surroundings, handed: Handed) -> None:
        """Run the plugin's ``access`` phase; raises PdkFailure or StartFailed for what Kong answers with 500."""
        while True:
            try:
                instance_id = await self._instances.id_of(handed)
                await self._event(exchange, around, instance_id)
            except (RpcError, NotClaimed) as error:
                words = str(error).lower()
                if "no plugin instance" not in words and "closed" not in words:
                    _LOG.error("pluginserver error: %s", error)
                    pdk.error_exit(exchange, 500)
                    return
                _LOG.warning("plugin server: %s", error)
                self._instances.reset()
                await asyncio.sleep(0)
            else:
                return

    async def close_others(self, plugin_ids: frozenset[str]) -> None:
        """Close the instances of plugins that are not configured any more."""
        await self._instances.close_others(plugin_ids)

    def close(self) -> None:
        """Close idle connections."""
        self._pool.close()

    async def _start(self, handed: Handed) -> int | None:
        config = orjson.dumps(handed.config)
        try:
            answer = await self._call(lambda sequence: StartInstance(sequence, "request-callout", config))
        except RpcError as error:
            raise StartFailed(str(error)) from None
        return answer.instance_id if isinstance(answer, InstanceStatus) else None

    async def _close(self, instance_id: int) -> None:
        try:
            await self._call(lambda sequence: CloseInstance(sequence, instance_id))
        except (RpcError, PdkFailure) as error:
            _LOG.debug("closing an instance: %s", error)

    async def _event(self, exchange: Exchange, around: Surroundings, instance_id: int) -> None:
        async def bridge(talk: _Talk) -> bool:
            while True:
                name = await talk.next_frame()
                if not name:
                    return True
                argument = await talk.next_frame()
                method = METHODS.get(name.decode("utf-8", "replace"))
                if method is None:
                    raise RpcError(f'method "{name.decode("utf-8", "replace")}" not found')
                if method.name in pdk.NEED_BODY:
                    await exchange.read_body()
                try:
                    await talk.send(frame(_answered(exchange, around, method, argument)))
                except pdk.Exited:
                    return False

        await self._call(lambda sequence: HandleEvent(sequence, instance_id, "access"), bridge)

    async def _call(
        self, command: Callable[[int], RpcCall], bridge: Callable[[_Talk], Any] | None = None
    ) -> RpcReturn | None:
        """Send a command and give its answer, None if ``bridge`` ended the request before there was one.

        Raises RpcError, or PdkFailure where Kong's code raises an error.
        """
        self._sequence += 1
        sequence = self._sequence
        try:
            connection = await self._pool.connect()
        except OSError as error:
            raise RpcError(f"trying to connect: {_words(error)}") from None
        talk = _Talk(connection)
        done = False
        try:
            await talk.send(frame(encode_call(command(sequence))))
            if bridge is not None and not await bridge(talk):
                return None
            answer = decode_return(await talk.next_frame())
            if answer.sequence != sequence:
                raise PdkFailure("assertion failed: the answer is to another command")
            done = talk.is_drained
        except FrameError as error:
            raise PdkFailure(f"malformed message: {error}") from None
        finally:
            if done:
                self._pool.give_back(connection)
            else:
                connection.close()
        return answer


class _Talk:
    """Frames over a connection, with the errors in Kong's words."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._frames = FrameDecoder()

    async def send(self, data: bytes) -> None:
        try:
            await self._connection.write(data)
        except OSError as error:
            # Kong's code asserts that a write succeeds.
            raise PdkFailure(_words(error)) from None
        except asyncio.TimeoutError:
            raise PdkFailure("timeout") from None

    async def next_frame(self) -> bytes:
        while True:
            content = self._frames.next_frame()
            if content is not None:
                return content
            try:
                data = await self._connection.read()
            except OSError as error:
                raise RpcError(_words(error)) from None
            except asyncio.TimeoutError:
                raise RpcError("timeout") from None
            if not data:
                raise RpcError("closed")
            self._frames.feed(data)

    @property
    def is_drained(self) -> bool:
        return self._frames.pending_bytes == 0


def _words(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _answered(exchange: Exchange, around: Surroundings, method: Method, argument: bytes) -> bytes:
    """The encoded result of one call; raises PdkFailure or Exited."""
    args = method.decode_args(argument)
    if method.argument.name == "ListValue":
        args = tuple(args[0]) if len(args) == 1 and isinstance(args[0], list) else args
        if not args:
            raise PdkFailure(f"{method.name}: an empty list")
    if method.argument.name in _VALUES:
        args = tuple(as_kong_reads(one) for one in args)
    elif method.argument.name == "ExitArgs":
        status, body, headers = args
        # An absent field has its type's default in Kong, but a message that is absent is nil.
        args = (status, body or b"", as_kong_reads(headers) or None)
    result = pdk.call(exchange, around, method.name, args)
    return method.encode_result(_wrapped(method, result))


def _wrapped(method: Method, result: Any) -> Any:
    if method.result.name == "RawBodyResult":
        if isinstance(result, pdk.Failure):
            return RawBody(error=result.message)
        return RawBody(path=result.path) if result.path is not None else RawBody(content=result.content)
    if isinstance(result, pdk.Failure) or method.result.name == "Empty":
        return None
    if method.result.name == "UriCapturesResult":
        # The list counts from 1, so the whole match, number 0, is not in it.
        unnamed = result["unnamed"]
        return {
            "unnamed": [unnamed[number] for number in range(1, len(unnamed)) if number in unnamed],
            "named": result["named"],
        }
    if method.result.name in ("Route", "Service") and result is not None:
        # A field that holds its type's default is not written; a route's headers, a map, have no form here.
        return {name: value for name, value in result.items() if value not in (0, "") and name != "headers"}
    if method.result.name in ("Value", "Struct"):
        return _as_table(result)
    return result


def _as_table(value: Value) -> Value:
    """A value as Kong encodes it: an empty table is a struct, a list ends before its first hole."""
    if isinstance(value, dict):
        return {str(name): _as_table(member) for name, member in value.items() if member is not None}
    if isinstance(value, list):
        if not value:
            return {}
        if value[0] is None:
            return {str(at): _as_table(one) for at, one in enumerate(value, 1) if one is not None}
        end = value.index(None) if None in value else len(value)
        return [_as_table(one) for one in value[:end]]
    return value
