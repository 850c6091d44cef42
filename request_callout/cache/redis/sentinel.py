"""A master and its replicas, found by sentinels (https://redis.io/docs/latest/develop/reference/sentinel-clients/)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from request_callout.cache.redis.commands import Arguments, Commands
from request_callout.cache.redis.pool import Pool
from request_callout.cache.redis.topology import REFRESH_S, Address, Refresh, Servers, is_elsewhere

Role = Literal["master", "slave", "any"]

_UNUSABLE_FLAGS = frozenset({"s_down", "o_down", "disconnected"})


@dataclass(frozen=True, slots=True)
class _View:
    """What the sentinels said last."""

    master: Pool
    replicas: tuple[Pool, ...]


class SentinelClient(Commands):
    """Writes go to the master, reads where the role says.

    Role ``master``: to the master. ``slave``: to the replicas in turn, and to the master if there is none that can be
    reached. ``any``: to the master, and to a replica if that can't be reached.

    The sentinels are asked before the first command, every half minute, and before a command that follows one to a
    server that was gone, silent or no master any more. Unless it was silent, that one is itself tried once more.
    """

    def __init__(
        self, servers: Servers, sentinels: Servers, nodes: Sequence[Address], master: str, role: Role, total_s: float
    ) -> None:
        super().__init__(total_s)
        self._servers = servers
        self._sentinels = sentinels
        self._nodes = [sentinels.at(node) for node in nodes]
        self._name = master
        self._role = role
        self._view: _View | None = None
        self._doubtful = False
        self._turn = 0
        self._refresh = Refresh(self._find_out, total_s)

    def close(self) -> None:
        self._refresh.close()
        self._servers.close()
        self._sentinels.close()

    def _run(self, key: str, arguments: Arguments, deadline: float, *, writing: bool) -> Any:
        view = self._current(deadline)
        try:
            return self._ask(view, arguments, deadline, writing)
        except RedisTimeoutError:
            self._doubtful = True
            raise
        except (RedisError, OSError) as error:
            if not is_elsewhere(error):
                raise
            view = self._other_than(view, deadline)
        try:
            return self._ask(view, arguments, deadline, writing)
        except (RedisError, OSError):
            self._doubtful = True
            raise

    def _other_than(self, view: _View, deadline: float) -> _View:
        """What the first sentinel says that says something else: they learn of a failover one after another."""
        newer = view
        for _ in range(len(self._nodes)):
            self._doubtful = True
            newer = self._current(deadline)
            if newer != view:
                break
        return newer

    def _ask(self, view: _View, arguments: Arguments, deadline: float, writing: bool) -> Any:
        if writing:
            return view.master.call(arguments, deadline)
        failure: RedisError | OSError | None = None
        for server in self._in_order(view):
            try:
                return server.call(arguments, deadline)
            except RedisTimeoutError:
                self._servers.avoid(server)
                raise
            except (RedisError, OSError) as error:
                if not is_elsewhere(error):
                    raise
                self._servers.avoid(server)
                failure = error
        raise failure or RedisConnectionError("no server to read from")

    def _in_order(self, view: _View) -> Sequence[Pool]:
        """The servers to read from, the best one first."""
        if self._role == "master" or not view.replicas:
            return (view.master,)
        self._turn = (self._turn + 1) % len(view.replicas)
        replicas = view.replicas[self._turn :] + view.replicas[: self._turn]
        if self._role == "any":
            return self._servers.good_first((view.master, *replicas))
        return (*self._servers.good_first(replicas), view.master)

    def _readers(self, deadline: float) -> Sequence[Pool]:
        return self._in_order(self._current(deadline))[:1]

    def _masters(self, deadline: float) -> Sequence[Pool]:
        return (self._current(deadline).master,)

    def _doubt(self, server: Pool) -> None:
        self._doubtful = True
        self._servers.avoid(server)

    def _current(self, deadline: float) -> _View:
        if self._view is None or self._doubtful:
            self._refresh.wait(deadline)
        elif time.monotonic() - self._refresh.done_at > REFRESH_S:
            self._refresh.start()
        if self._view is None:
            raise self._refresh.error or RedisTimeoutError("no sentinel answered in time")
        return self._view

    def _find_out(self, deadline: float) -> None:
        try:
            self._sentinels.ask_in_turn(self._nodes, self._ask_sentinel, deadline)
        finally:
            self._doubtful = False  # even if no sentinel answered: the servers may be well all the same

    def _ask_sentinel(self, sentinel: Pool, deadline: float) -> None:
        master = sentinel.call(("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._name), deadline)
        if master is None:
            raise RedisConnectionError("the sentinel does not know the master")
        replicas: tuple[Address, ...] = ()
        if self._role != "master":
            found = sentinel.call(("SENTINEL", "REPLICAS", self._name), deadline)
            replicas = tuple(sorted(address for fields in found if (address := _usable_replica(fields)) is not None))
        self._view = _View(
            self._servers.at((master[0].decode(), int(master[1]))), tuple(self._servers.at(one) for one in replicas)
        )
        self._servers.keep_only((self._view.master, *self._view.replicas))
        # The next time another one is asked first: this one may be cut off from the others, and not know it.
        self._nodes.append(self._nodes.pop(self._nodes.index(sentinel)))


def _usable_replica(fields: list[bytes]) -> Address | None:
    said = {name.decode(): value.decode() for name, value in zip(fields[::2], fields[1::2], strict=False)}
    if _UNUSABLE_FLAGS.intersection(said.get("flags", "").split(",")) or said.get("master-link-status") == "err":
        return None
    return said["ip"], int(said["port"])
