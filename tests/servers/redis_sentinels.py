"""A master, a replica and three sentinels that watch them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

from redis.exceptions import ConnectionError, ResponseError

from tests.servers.redis_server import HOST, RedisServer, running, until

MASTER_NAME = "callouts"


@dataclass(frozen=True)
class Sentinels:
    """``servers`` are the first master and its replica, in this order."""

    servers: tuple[RedisServer, RedisServer]
    sentinels: tuple[RedisServer, RedisServer, RedisServer]

    def master_port(self, sentinel: int = 0) -> int:
        """The port of the master as one of the sentinels sees it."""
        return int(self.sentinels[sentinel].command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER_NAME)[1])

    def fail_over(self) -> RedisServer:
        """Make the replica the master and the master a replica, while both are well; the new master."""
        port = self.master_port()
        old, new = sorted(self.servers, key=lambda server: server.port != port)
        until(self._starts_failover, "a failover to be possible")
        until(lambda: all(self.master_port(which) == new.port for which in range(3)), "the sentinels to agree", 60)
        until(lambda: [_role(old), _role(new)] == ["slave", "master"], "the new roles", 60)
        return new

    def wait_for_replica(self) -> None:
        """Until what was written to the first master before is on the replica."""
        master, replica = self.servers
        written = int(master.command("ROLE")[1])
        until(lambda: int(replica.command("ROLE")[4]) >= written, "the replica to have it all")

    def _starts_failover(self) -> bool:
        try:
            self.sentinels[0].command("SENTINEL", "FAILOVER", MASTER_NAME)
        except ResponseError:  # the sentinel has not heard from the replica yet
            return False
        return True


@contextmanager
def sentinels() -> Iterator[Sentinels]:
    """All five, started and acquainted with each other."""
    with ExitStack() as stack:
        quick = ("--repl-diskless-sync-delay", "0", "--repl-diskless-sync", "yes")
        master = stack.enter_context(running(*quick))
        replica = stack.enter_context(running(*quick, "--replicaof", f"{HOST} {master.port}"))
        until(lambda: "state=online" in master.command("INFO", "replication"), "the replica to be in step")
        configuration = (
            f"sentinel monitor {MASTER_NAME} {HOST} {master.port} 2\n"
            f"sentinel down-after-milliseconds {MASTER_NAME} 1000\n"
            f"sentinel failover-timeout {MASTER_NAME} 5000\n"
        )
        first, second, third = (stack.enter_context(running(sentinel_conf=configuration)) for _ in range(3))
        group = Sentinels((master, replica), (first, second, third))
        for sentinel in group.sentinels:
            # Known since Redis 7; without it, they take some seconds longer to find each other.
            with suppress(ResponseError):
                sentinel.command("SENTINEL", "DEBUG", "INFO-PERIOD", 200, "PUBLISH-PERIOD", 200)
        until(lambda: all(map(_is_acquainted, group.sentinels)), "the sentinels to know each other")
        # Who has not heard of a failover for four of these periods makes the new master a replica again; 800 ms are
        # soon over on a busy machine. The first sentinel, which orders failovers, knows; it soon makes the old master
        # the replica.
        for sentinel in group.sentinels[1:]:
            with suppress(ResponseError):
                sentinel.command("SENTINEL", "DEBUG", "PUBLISH-PERIOD", 20_000)
        yield group


def _role(server: RedisServer) -> str:
    try:
        return str(server.command("ROLE")[0])
    except ConnectionError:  # a server whose role changes closes all connections
        return "changing"


def _is_acquainted(sentinel: RedisServer) -> bool:
    flat = sentinel.command("SENTINEL", "MASTER", MASTER_NAME)
    said: dict[str, str] = dict(zip(flat[::2], flat[1::2], strict=True))
    return said["num-slaves"] == "1" and said["num-other-sentinels"] == "2"
