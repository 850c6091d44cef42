"""A cluster of three masters without replicas, each with a third of the slots."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from tests.servers.redis_server import HOST, RedisServer, running, until

_SLOTS = 16384
FIRST_SLOTS = (0, _SLOTS // 3 - 1)
"""The first and the last slot of the first node."""
_BUS = 10000


@dataclass(frozen=True)
class Cluster:
    """Its three masters; the first has the lowest slots."""

    nodes: tuple[RedisServer, RedisServer, RedisServer]

    def slot_of(self, key: str) -> int:
        """The slot of a key."""
        return int(self.nodes[0].command("CLUSTER", "KEYSLOT", key))

    def owner_of(self, slot: int) -> RedisServer:
        """The master that has a slot."""
        for node in self.nodes:
            for line in node.command("CLUSTER", "NODES").splitlines():
                fields = line.split()
                if "myself" in fields[2] and any(_is_within(slot, part) for part in fields[8:]):
                    return node
        raise AssertionError(f"no node has slot {slot}")

    def begin_move(self, slot: int, source: RedisServer, target: RedisServer) -> None:
        """From now on the source answers ASK for keys of the slot that it does not have."""
        target.command("CLUSTER", "SETSLOT", slot, "IMPORTING", _id(source))
        source.command("CLUSTER", "SETSLOT", slot, "MIGRATING", _id(target))

    def move_keys(self, slot: int, source: RedisServer, target: RedisServer) -> None:
        """Carry all keys of a slot over."""
        while keys := source.command("CLUSTER", "GETKEYSINSLOT", slot, 100):
            source.command("MIGRATE", HOST, target.port, "", 0, 5000, "KEYS", *keys)

    def finish_move(self, slot: int, target: RedisServer) -> None:
        """From now on the others answer MOVED for the slot."""
        for node in sorted(self.nodes, key=lambda node: node is not target):
            node.command("CLUSTER", "SETSLOT", slot, "NODE", _id(target))

    def move(self, slot: int, target: RedisServer) -> None:
        """Move a slot with its keys from its owner to another node."""
        source = self.owner_of(slot)
        self.begin_move(slot, source, target)
        self.move_keys(slot, source, target)
        self.finish_move(slot, target)


@contextmanager
def cluster() -> Iterator[Cluster]:
    """All three, started and in agreement; the slots of a node that dies are out of use, the others stay in use."""
    options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-require-full-coverage", "no")
    with ExitStack() as stack:
        first, second, third = (stack.enter_context(running(*options)) for _ in range(3))
        group = Cluster((first, second, third))
        bounds = [_SLOTS * part // 3 for part in range(4)]
        for epoch, (node, start, end) in enumerate(zip(group.nodes, bounds[:-1], bounds[1:], strict=True), 1):
            node.command("CLUSTER", "ADDSLOTS", *range(start, end))
            node.command("CLUSTER", "SET-CONFIG-EPOCH", epoch)
        for node in (second, third):
            first.command("CLUSTER", "MEET", HOST, node.port, node.port + _BUS)
        until(lambda: all(map(_is_complete, group.nodes)), "the nodes to agree")
        yield group


def _id(node: RedisServer) -> str:
    return str(node.command("CLUSTER", "MYID"))


def _is_complete(node: RedisServer) -> bool:
    said = node.command("CLUSTER", "INFO")
    return "cluster_state:ok" in said and "cluster_slots_ok:16384" in said and "cluster_known_nodes:3" in said


def _is_within(slot: int, part: str) -> bool:
    if part.startswith("["):  # one that is on its way
        return False
    first, _, last = part.partition("-")
    return int(first) <= slot <= int(last or first)
