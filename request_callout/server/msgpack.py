"""Kong's protocol MsgPack:1 over accepted connections: MessagePack-RPC, one greenlet a connection.

``msgpack_events`` has the commands. The loop here replaces that of kong-pdk, which formats every message for a debug
log, secrets included, sends answers that do not fit into the socket's buffer only in part, and ends a connection at
text that is not UTF-8.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgpack
from gevent.event import Event
from gevent.socket import SHUT_RD, socket
from kong_pdk.exception import PluginServerException  # type: ignore[import-untyped]
from kong_pdk.listener import UnixStreamServer  # type: ignore[import-untyped]

from request_callout.server.instances import Engine, Instances
from request_callout.server.msgpack_events import STEP_TIMEOUT_S, Answer, EventServer, refusal
from request_callout.server.registry import Registry

_log = logging.getLogger(__name__)

MAX_MESSAGE_BYTES = 128 * 1024 * 1024
"""The limit of one message: more than a body that Kong is asked for."""

_MAX_MEMBERS = 1 << 20
_READ_BYTES = 65536
_BUFFER_BYTES = 4096
"""What a connection has from its beginning, where msgpack would take 1 MiB; it grows with what arrives."""
_STEPS = frozenset(
    f"plugin.Step{kind}"
    for kind in ("", "MultiMap", "Route", "Service", "Consumer", "Credential", "MemoryStats", "Error")
)


class MsgpackServer:
    """Answers Kong's commands; ``info`` is the plugin's entry of the dump (``Name``, ``Priority``, ...)."""

    def __init__(
        self,
        engine: Engine,
        info: Mapping[str, Any],
        step_timeout_s: float = STEP_TIMEOUT_S,
        registry: Registry | None = None,
    ) -> None:
        self._connections: set[socket] = set()
        self._stopping = False
        self._none_busy = Event()
        self._none_connected = Event()
        self.instances = Instances(engine, info["Version"], registry=registry)
        self._events = EventServer(self.instances, info, step_timeout_s, self._on_idle)
        self._commands = _Commands(self._events)
        _log.warning(
            "on MsgPack Kong lets requests through when this server is gone: add the post-function guard of the "
            "README (examples/msgpack-guard) wherever the plugin is configured, or use --protocol protobuf"
        )

    @property
    def busy(self) -> int:
        """How many events are in flight."""
        return len(self._events.events)

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
        if self.busy:
            self._none_busy.wait(grace_s)
        for sock in list(self._connections):
            with contextlib.suppress(OSError):
                sock.shutdown(SHUT_RD)
        if self._connections:
            self._none_connected.wait(max(0.0, deadline - time.monotonic()))
        return self.busy

    def _on_idle(self) -> None:
        if self._stopping:
            self._none_busy.set()


class _Commands(UnixStreamServer):  # type: ignore[misc]
    """kong-pdk's loop over a connection's messages, made anew. It does not listen: ``server.acceptor`` does."""

    def __init__(self, events: EventServer) -> None:
        super().__init__(events, "", use_gevent=True)
        step: Callable[[Any], Any] = events.step
        self._carry_out: dict[str, Callable[[Any], Any]] = {
            **dict.fromkeys(_STEPS, step),
            "plugin.StartInstance": events.start_instance,
            "plugin.CloseInstance": events.close_instance,
            "plugin.InstanceStatus": events.instance_status,
            "plugin.HandleEvent": events.handle_event,
            "plugin.StepError": events.step_error,
        }

    def handle(self, fd: socket, address: object, *_: object) -> None:
        """Answer the messages of a connection until it ends. Raises OSError.

        Bytes that are not of the protocol end the connection.
        """
        unpacker = msgpack.Unpacker(
            raw=False,
            unicode_errors="surrogateescape",
            strict_map_key=False,
            read_size=_BUFFER_BYTES,
            max_buffer_size=MAX_MESSAGE_BYTES,
            max_array_len=_MAX_MEMBERS,
            max_map_len=_MAX_MEMBERS,
        )
        while data := fd.recv(_READ_BYTES):
            try:
                unpacker.feed(data)
                messages = list(unpacker)
            except (msgpack.UnpackException, ValueError, TypeError, OverflowError, MemoryError) as error:
                _log.error("connection closed: not MessagePack: %s", error)
                return
            for message in messages:
                if not _is_request(message):
                    _log.error("connection closed: not the protocol MsgPack:1")
                    return
                self._reply(fd, *message[1:])

    def _reply(self, sock: socket, number: int, method: str, args: list[Any]) -> None:
        result = self._result(method, args)
        if isinstance(result, Answer):
            try:
                sock.sendall(_BEGIN + msgpack.packb(number) + _NO_ERROR + result.packed)
            except OSError:
                if result.event is not None:
                    result.event.abandon()
                raise
        elif isinstance(result, PluginServerException):
            sock.sendall(msgpack.packb([1, number, str(result), None]))
        else:
            sock.sendall(msgpack.packb([1, number, None, result]))

    def _result(self, method: str, args: list[Any]) -> Any:
        """What a command gives, or a PluginServerException for Kong to read."""
        command = self._carry_out.get(method)
        try:
            if command is None:
                raise PluginServerException("RPC for this method is not supported")
            return command(args[0])
        except PluginServerException as error:
            _log.warning("a command was refused: %s", error)
            return error
        except Exception:
            _log.exception("unexpected error")
            if method == "plugin.HandleEvent" or method in _STEPS:
                return refusal()
            return PluginServerException("unexpected error")


def _is_request(message: Any) -> bool:
    """Whether this is a request of MessagePack-RPC, with one argument, as all of Kong's are."""
    return (
        isinstance(message, list)
        and len(message) == 4
        and message[0] == 0
        and isinstance(message[1], int)
        and isinstance(message[2], str)
        and isinstance(message[3], list)
        and len(message[3]) == 1
    )


_BEGIN = b"\x94\x01"
_NO_ERROR = b"\xc0"
