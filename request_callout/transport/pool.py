"""Idle connections, kept for the next request to the same place."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Hashable

import gevent

from request_callout.transport.connection import Connection

_ALL_IDLE_FACTOR = 8


class IdleConnections:
    """Stacks of idle connections by key; the one used last is used next, so that surplus ones grow old.

    Taking one never waits. At most ``size`` are kept for one key, eight times that in all, each for ``idle_s`` seconds;
    while any is kept, a greenlet closes those that grew too old or that the peer has closed.
    """

    def __init__(self, size: int, idle_s: float) -> None:
        self._size = size
        self._idle_s = idle_s
        self._stacks: OrderedDict[Hashable, list[Connection]] = OrderedDict()
        self._count = 0
        self._closed = False
        self._sweeper: gevent.Greenlet[[], None] | None = None

    def __len__(self) -> int:
        return self._count

    def take(self, key: Hashable) -> Connection | None:
        """The youngest usable connection for ``key``; unusable ones met on the way are closed."""
        stack = self._stacks.get(key)
        while stack:
            connection = stack.pop()
            self._count -= 1
            if time.monotonic() - connection.idle_since <= self._idle_s and not connection.is_stale():
                return connection
            connection.close()
        return None

    def put(self, key: Hashable, connection: Connection) -> None:
        """Keep ``connection``, or close it if there are enough."""
        stack = self._stacks.get(key, ())
        if self._closed or len(stack) >= self._size or connection.has_unread():
            connection.close()
            return
        if self._count >= self._size * _ALL_IDLE_FACTOR:
            self._drop_one()
        connection.idle_since = time.monotonic()
        self._stacks.setdefault(key, []).append(connection)
        self._count += 1
        self._stacks.move_to_end(key)
        if self._sweeper is None:
            self._sweeper = gevent.spawn(self._sweep_while_any)

    def close(self) -> None:
        """Close all idle connections, now and whenever one is put back."""
        self._closed = True
        for stack in self._stacks.values():
            for connection in stack:
                connection.close()
        self._stacks.clear()
        self._count = 0
        if self._sweeper is not None:
            self._sweeper.kill(block=False)
            self._sweeper = None

    def _drop_one(self) -> None:
        """Close the oldest connection of the key that was not used for longest."""
        for stack in self._stacks.values():
            if stack:
                stack.pop(0).close()
                self._count -= 1
                return

    def sweep(self) -> None:
        """Close what is too old or was closed by its peer, and forget keys without connections."""
        oldest = time.monotonic() - self._idle_s
        for key, stack in list(self._stacks.items()):
            usable = [one for one in stack if one.idle_since >= oldest and not one.is_stale()]
            if len(usable) < len(stack):
                kept = set(map(id, usable))
                for connection in stack:
                    if id(connection) not in kept:
                        connection.close()
                self._count -= len(stack) - len(usable)
                stack[:] = usable
            if not stack:
                del self._stacks[key]

    def _sweep_while_any(self) -> None:
        while self._count:
            gevent.sleep(max(self._idle_s / 4, 0.05), ref=False)
            self.sweep()
        self._sweeper = None
