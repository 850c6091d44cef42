"""The connections to one Redis server, kept and limited as OpenResty does it for its cosockets.

Up to ``size`` idle connections are kept. Without a backlog any number may be in use. With one, ``size`` limits that
number too, and at most ``backlog`` callers wait for one to come back; more get an error at once
(https://github.com/openresty/lua-nginx-module#tcpsockconnect).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from gevent.lock import Semaphore
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MaxConnectionsError

from request_callout.cache.redis.connections import Argument, Connection

_IDLE_S = 60.0  # after some minutes, firewalls and load balancers forget a connection without telling either end


class Pool:
    """Runs commands on pooled connections, from any number of greenlets."""

    def __init__(self, dial: Callable[[], Connection], size: int, backlog: int | None, wait_s: float) -> None:
        """``dial`` makes a connection that is not open yet; ``wait_s`` limits the wait for one to come back."""
        self._dial = dial
        self._size = size
        self._backlog = backlog
        self._wait_s = wait_s
        self._places = None if backlog is None else Semaphore(size)
        self._waiting = 0
        self._idle: deque[Connection] = deque()
        self._generation = 0

    def call(self, arguments: tuple[Argument, ...], deadline: float, *, asking: bool = False) -> Any:
        """The reply to a command; ``deadline`` is a moment of ``time.monotonic()``.

        A connection that turns out to have been closed while it was idle (the server was restarted) is replaced by a
        new one, once; so a command may be run twice if the server died while running it. With ``asking``, ASKING
        goes before it on the same connection (https://redis.io/docs/latest/commands/asking/).
        """
        if self._places is None:
            return self._call(arguments, deadline, asking)
        self._take_place(self._places, deadline)
        try:
            return self._call(arguments, deadline, asking)
        finally:
            self._places.release()

    def close(self) -> None:
        """Close what is idle now, and what is in use as soon as it comes back."""
        self._generation += 1
        while self._idle:
            self._idle.pop().drop()

    def _call(self, arguments: tuple[Argument, ...], deadline: float, asking: bool) -> Any:
        connection = self._idle_connection()
        if connection is not None:
            try:
                return self._call_on(connection, arguments, deadline, asking)
            except RedisConnectionError as error:
                # Subclasses are errors that the server replied.
                if type(error) is not RedisConnectionError:
                    raise
                self.close()  # the others are most likely as old
        connection = self._dial()
        connection.generation = self._generation
        return self._call_on(connection, arguments, deadline, asking)

    def _call_on(self, connection: Connection, arguments: tuple[Argument, ...], deadline: float, asking: bool) -> Any:
        # A connection that failed or was cut has closed itself; one that brought an error reply is still good.
        try:
            if asking:
                connection.call(("ASKING",), deadline)
            return connection.call(arguments, deadline)
        finally:
            if connection.is_open:
                self._keep(connection)

    def _idle_connection(self) -> Connection | None:
        if not self._idle:
            return None
        connection = self._idle.pop()  # the youngest, so that those too many grow old
        if time.monotonic() - connection.idle_since <= _IDLE_S:
            return connection
        connection.drop()
        while self._idle:
            self._idle.pop().drop()
        return None

    def _keep(self, connection: Connection) -> None:
        if connection.generation != self._generation or len(self._idle) >= self._size:
            connection.drop()
            return
        connection.idle_since = now = time.monotonic()
        self._idle.append(connection)
        while now - self._idle[0].idle_since > _IDLE_S:
            self._idle.popleft().drop()

    def _take_place(self, places: Semaphore, deadline: float) -> None:
        if places.acquire(blocking=False):
            return
        if self._waiting >= (self._backlog or 0):
            raise MaxConnectionsError("all connections are in use, and as many callers wait for one as may")
        self._waiting += 1
        try:
            if not places.acquire(timeout=max(0.0, min(self._wait_s, deadline - time.monotonic()))):
                raise MaxConnectionsError("no connection came back in time")
        finally:
            self._waiting -= 1
