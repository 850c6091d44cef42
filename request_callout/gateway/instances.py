"""Instances of plugin configurations in the plugin server, as Kong keeps account of them.

After ``kong/runloop/plugin_servers/plugin.lua``: one instance for each plugin id, started when first needed; while one
request starts it the others wait; all are forgotten together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

CLAIM_WAIT_S = 10.0
"""How long a request waits for another one that is starting the instance."""


class StartFailed(Exception):
    """An instance could not be started: the request ends with 500."""


class RpcError(Exception):
    """What Kong's RPC returns as an error, in its words."""


class NotClaimed(Exception):
    """Another request took too long to start the instance."""


@dataclass(frozen=True, slots=True)
class Handed:
    """A plugin configuration as it is handed to the server: ``seq`` changes with each new one of the same plugin."""

    plugin_id: str
    seq: int
    config: Mapping[str, Any]


@dataclass(slots=True)
class _Instance:
    seq: int
    id: int | None = None
    started: asyncio.Event = field(default_factory=asyncio.Event)


class Instances:
    """Which configurations the server knows under which ids."""

    def __init__(
        self, start: Callable[[Handed], Awaitable[int | None]], close: Callable[[int], Awaitable[None]]
    ) -> None:
        """``start`` gives the id of a new instance, None if the server's answer held none (then the claim stays)."""
        self._start = start
        self._close = close
        self._running: dict[str, _Instance] = {}

    async def id_of(self, handed: Handed) -> int:
        """The id of this configuration's instance, which is started if there is none yet.

        Raises StartFailed or NotClaimed.
        """
        while True:
            known = self._running.get(handed.plugin_id)
            if known is None or known.id is not None:
                break
            try:
                await asyncio.wait_for(known.started.wait(), CLAIM_WAIT_S)
            except asyncio.TimeoutError:
                if self._running.get(handed.plugin_id) is known:
                    del self._running[handed.plugin_id]
                message = f"Could not claim instance_id for request-callout (key: {handed.plugin_id})"
                raise NotClaimed(message) from None
        if known is not None and known.seq == handed.seq and known.id is not None:
            return known.id
        claim = _Instance(handed.seq)
        self._running[handed.plugin_id] = claim
        try:
            new_id = await self._start(handed)
        except BaseException:
            self._forget(handed.plugin_id, claim)
            raise
        if new_id is None:
            raise StartFailed("the answer to start_instance has no instance_status")
        claim.id = new_id
        claim.started.set()
        if known is not None and known.id is not None:
            await self._close(known.id)
        return new_id

    def _forget(self, plugin_id: str, claim: _Instance) -> None:
        if self._running.get(plugin_id) is claim:
            del self._running[plugin_id]
        claim.started.set()

    def reset(self) -> None:
        """Forget all instances; the server is not told."""
        running, self._running = self._running, {}
        for instance in running.values():
            instance.started.set()

    async def close_others(self, plugin_ids: frozenset[str]) -> None:
        """Close the instances of plugins that are not configured any more."""
        for plugin_id in [one for one in self._running if one not in plugin_ids]:
            instance = self._running.pop(plugin_id)
            if instance.id is not None:
                await self._close(instance.id)
