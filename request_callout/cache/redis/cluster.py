"""A Redis Cluster: each key belongs to one of 16384 slots, each slot to a master.

See https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/. Only masters are used: a cache that
was just filled is read at once, and replicas lag behind.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import AskError, ClusterDownError, ClusterError, MovedError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from request_callout.cache.redis.commands import Arguments, Commands
from request_callout.cache.redis.pool import Pool
from request_callout.cache.redis.topology import REFRESH_S, Address, Refresh, Servers, is_elsewhere


class ClusterClient(Commands):
    """Sends each command to the master of its key's slot, and follows MOVED and ASK.

    Who has which slot is asked before the first command, every half minute, after a MOVED (beside the traffic), and
    before a command that follows one to a server that was gone or silent; such a command is itself tried once more if
    its slot has another master by then.
    """

    def __init__(self, servers: Servers, nodes: Sequence[Address], max_redirections: int, total_s: float) -> None:
        super().__init__(total_s)
        self._servers = servers
        self._nodes = nodes
        self._max_redirections = max_redirections
        self._slots: list[Pool | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        self._doubtful: set[Pool] = set()
        self._refresh = Refresh(self._find_out, total_s)

    def close(self) -> None:
        self._refresh.close()
        self._servers.close()

    def _run(self, key: str, arguments: Arguments, deadline: float, *, writing: bool) -> Any:
        slot = key_slot(key.encode())
        server = self._owner(slot, deadline)
        asking = tried_elsewhere = False
        redirections = 0
        while redirections <= self._max_redirections:
            try:
                return server.call(arguments, deadline, asking=asking)
            except MovedError as moved:
                server, asking = self._named_by(moved, server), False
                self._slots[slot] = server
                self._refresh.start()
            except AskError as ask:
                server, asking = self._named_by(ask, server), True
            except RedisTimeoutError:
                self._doubtful.add(server)
                raise
            except (RedisError, OSError) as error:
                if not (is_elsewhere(error) or isinstance(error, ClusterDownError)):
                    raise
                self._doubtful.add(server)
                owner = self._owner(slot, deadline)
                if tried_elsewhere or owner is server:
                    raise
                server, asking, tried_elsewhere = owner, False, True
                continue
            redirections += 1
        raise ClusterError(f"more than {self._max_redirections} redirections")

    def _named_by(self, redirection: AskError, sender: Pool) -> Pool:
        """The server a redirection points to; without a host, it is the sender's (Redis 7)."""
        return self._servers.at((redirection.host or self._servers.host_of(sender), int(redirection.port)))

    def _owner(self, slot: int, deadline: float) -> Pool:
        owner = self._slots[slot]
        if owner is None or owner in self._doubtful:
            self._refresh.wait(deadline)
        elif time.monotonic() - self._refresh.done_at > REFRESH_S:
            self._refresh.start()
        owner = self._slots[slot]
        if owner is None:
            raise self._refresh.error or ClusterDownError("the slot of this key has no master")
        return owner

    def _readers(self, deadline: float) -> Sequence[Pool]:
        return self._masters(deadline)

    def _masters(self, deadline: float) -> Sequence[Pool]:
        masters = self._known()
        if not masters or self._doubtful:
            self._refresh.wait(deadline)
            masters = self._known()
        if not masters:
            raise self._refresh.error or RedisTimeoutError("no node of the cluster answered in time")
        return masters

    def _doubt(self, server: Pool) -> None:
        self._doubtful.add(server)

    def _known(self) -> list[Pool]:
        return [pool for pool in dict.fromkeys(self._slots) if pool is not None]

    def _find_out(self, deadline: float) -> None:
        known = [pool for pool in self._known() if pool not in self._doubtful]
        given = [self._servers.at(address) for address in self._nodes]
        everyone = dict.fromkeys((*known, *given, *self._doubtful))
        try:
            self._servers.ask_in_turn(everyone, self._ask_node, deadline)
        finally:
            self._doubtful.clear()  # even if no node answered: the masters may be well again

    def _ask_node(self, node: Pool, deadline: float) -> None:
        slots: list[Pool | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        for first, last, (host, port, *_), *_ in node.call(("CLUSTER", "SLOTS"), deadline):
            if host != b"?":  # the node does not know itself
                address = (host.decode() if host else self._servers.host_of(node), int(port))
                slots[first : last + 1] = [self._servers.at(address)] * (last - first + 1)
        self._slots = slots
        self._servers.keep_only(set(self._known()))
