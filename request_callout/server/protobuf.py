"""Kong's commands on ProtoBuf:1, one greenlet a connection.

Whatever goes wrong inside an event is answered, never by closing: Kong repeats an event without a limit when its
connection ends. Closing is for what can't be answered: an instance that this process does not have (Kong then starts
it anew), and bytes that are no frames of the protocol.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import sys
import termios
import time
from collections.abc import Callable, Mapping
from typing import Any

import gevent
from gevent.event import Event
from gevent.socket import SHUT_RDWR, SHUT_WR, socket

from request_callout.engine.kong import ConnectionLost
from request_callout.pdk.connection import Connection
from request_callout.pdk.over_protobuf import ProtobufKong
from request_callout.pdk.protobuf import (
    MAX_FRAME_BYTES,
    CloseInstance,
    FrameError,
    GetInstanceStatus,
    GetPluginInfo,
    GetPluginNames,
    HandleEvent,
    InstanceStatus,
    PluginInfo,
    PluginNames,
    RpcCall,
    RpcReturn,
    StartInstance,
    decode_call,
    encode_return,
    frame,
)
from request_callout.server.instances import INTERNAL_ERROR, Instances

_log = logging.getLogger(__name__)


_QUIET_S = 0.05
_HANG_UP_S = 1.0
"""How long Kong may take to close a connection that was let go."""


class _Refused(Exception):
    """A command that is answered by closing the connection."""


class ProtobufServer:
    """Answers commands; ``info`` is the plugin's entry of the dump (``Name``, ``Phases``, ``Priority``, ...)."""

    def __init__(self, instances: Instances, info: Mapping[str, Any], max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        self._instances = instances
        self._info = info
        self._name: str = info["Name"]
        self._phases = frozenset(info["Phases"])
        self._max_frame_bytes = max_frame_bytes
        # How often each connection has begun or ended a command: an odd number is one that is being answered.
        self._turns: dict[socket, int] = {}
        # Kong was told that these take no more.
        self._let_go: set[socket] = set()
        self._stopping = False
        self._none_connected = Event()
        self._give_away: Callable[[socket], bool] | None = None

    def share(self, give_away: Callable[[socket], bool]) -> None:
        """Leave a connection to another process, between two commands, whenever ``give_away`` takes it."""
        self._give_away = give_away

    @property
    def busy(self) -> int:
        """How many commands are being answered."""
        return sum(turns & 1 for turns in self._turns.values())

    def handle(self, sock: socket, _address: object = None) -> None:
        """Serve one connection until Kong or this server closes it."""
        connection = Connection(sock, self._max_frame_bytes)
        self._turns[sock] = 0
        given = False
        try:
            while (command := connection.next_frame()) is not None and sock not in self._let_go:
                self._turns[sock] += 1
                if not self._answer(sock, connection, decode_call(command)):
                    break
                self._turns[sock] += 1
                if not connection.at_rest:
                    continue
                if self._stopping:
                    self._take_no_more(sock)
                elif self._give_away is not None and self._give_away(sock):
                    given = True
                    break
        except _Refused as reason:
            _log.warning("connection closed: %s", reason)
        except FrameError as error:
            _log.error("connection closed: not the protocol ProtoBuf:1: %s", error)
        except OSError as error:
            _log.info("connection lost: %s", error)
        except Exception:
            _log.exception("connection closed: unexpected error")
        finally:
            del self._turns[sock]
            self._let_go.discard(sock)
            if not given:
                with contextlib.suppress(OSError):
                    sock.shutdown(SHUT_RDWR)  # gevent may close a moment later, and Kong is to know now
            sock.close()
            if not self._turns:
                self._none_connected.set()

    def stop(self, grace_s: float, linger_s: float = 0.0) -> int:
        """Take no more commands, wait until those in flight are answered; gives how many were not within the time.

        For ``linger_s`` seconds commands are still taken from connections that are in use, after that one more at most.
        """
        begun = time.monotonic()
        before = dict(self._turns)
        self._none_connected.clear()
        self._stopping = linger_s <= 0
        while self._turns and time.monotonic() - begun < grace_s:
            if len(self._let_go) == len(self._turns):
                self._none_connected.wait(_HANG_UP_S)
                break
            self._none_connected.wait(_QUIET_S)
            for sock, turns in list(self._turns.items()):
                if before.get(sock) == turns:
                    self._take_no_more(sock)
            before = dict(self._turns)
            self._stopping = time.monotonic() - begun >= linger_s
        return self.busy

    def _take_no_more(self, sock: socket) -> None:
        """Let a connection go, unless a command has arrived on it or is being answered.

        Only what is sent is ended. When Kong writes on a connection that does not read any more, its client gets 500,
        and a ``StartInstance`` that can't be written makes it wait for ten seconds. When Kong finds the end instead of
        an answer, it repeats the event, and it drops a connection that ends in its pool.
        """
        if sock in self._let_go or self._turns[sock] & 1:
            return
        with contextlib.suppress(OSError):
            if not _unread_bytes(sock):
                sock.shutdown(SHUT_WR)
                self._let_go.add(sock)

    def _answer(self, sock: socket, connection: Connection, command: RpcCall) -> bool:
        """Answer a command; gives whether the connection can take another."""
        if isinstance(command, HandleEvent):
            return self._handle_event(connection, command)
        sock.sendall(frame(encode_return(self._return(command))))
        return True

    def _return(self, command: RpcCall) -> RpcReturn:
        if isinstance(command, StartInstance):
            started = self._instances.start(command.config)
            return InstanceStatus(command.sequence, self._name, started.instance_id, started.started_at)
        if isinstance(command, CloseInstance):
            self._instances.close(command.instance_id)
            return InstanceStatus(command.sequence, self._name, command.instance_id)
        if isinstance(command, GetInstanceStatus):
            known = self._instances.get(command.instance_id)
            if known is None:
                raise _Refused(f"no plugin instance {command.instance_id}")
            return InstanceStatus(command.sequence, self._name, known.instance_id, known.started_at)
        if isinstance(command, GetPluginNames):
            return PluginNames(command.sequence, (self._name,))
        if isinstance(command, GetPluginInfo) and command.name == self._name:
            return PluginInfo(
                command.sequence,
                self._name,
                updated_at=0,
                loaded_at=0,
                phases=tuple(self._info["Phases"]),
                version=self._info["Version"],
                priority=self._info["Priority"],
                schema=json.dumps(self._info["Schema"]),
            )
        raise _Refused(f"no plugin for {command!r}")

    def _handle_event(self, connection: Connection, command: HandleEvent) -> bool:
        instance = self._instances.use(command.instance_id)
        if instance is None:
            raise _Refused(f"no plugin instance {command.instance_id}: Kong starts it anew")
        kong = ProtobufKong(connection, command.sequence)
        if command.event_name not in self._phases:
            return kong.finish()
        try:
            try:
                instance.access(kong)
            except ConnectionLost:
                raise
            except (Exception, gevent.Timeout):  # gevent's timeout is none of the ordinary exceptions
                _log.exception("instance %d: unexpected error", command.instance_id)
                kong.exit(*INTERNAL_ERROR)
            return kong.finish()
        except ConnectionLost as error:
            _log.warning("instance %d: the request ended inside Kong: %s", command.instance_id, error)
            return False


def _unread_bytes(sock: socket) -> int:
    return int.from_bytes(fcntl.ioctl(sock.fileno(), termios.FIONREAD, bytes(4)), sys.byteorder)
