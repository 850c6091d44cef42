"""The plugin configurations that Kong has started, at work in this process, by their ids.

Which id a configuration has is the registry's (``request_callout.server.registry``). An instance is made when Kong
starts it here, or when an event comes for one that was started in another worker.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from request_callout.engine.kong import Kong
from request_callout.server.registry import Configurations, Registered, Registry

_log = logging.getLogger(__name__)


class Instance(Protocol):
    """One plugin configuration at work; ``request_callout.engine`` has the real ones."""

    def access(self, kong: Kong) -> None:
        """Handle one request. Raises ConnectionLost, and nothing else."""


class Engine(Protocol):
    """What makes instances of configurations."""

    def instance(self, raw: Mapping[str, Any]) -> Instance:
        """The instance of a configuration; of a bad one, an instance that answers every event with 500."""


@dataclass(frozen=True, slots=True)
class Started:
    """An instance that Kong may use, and since when (epoch)."""

    instance_id: int
    digest: str
    instance: Instance
    started_at: int


class Instances:
    """All instances of this process.

    Without a ``registry`` they have one of their own, for the plugin's ``version``.
    """

    def __init__(
        self,
        engine: Engine,
        version: str,
        clock: Callable[[], float] = time.monotonic,
        registry: Registry | None = None,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._registry: Registry = Configurations(version, clock) if registry is None else registry
        self._by_id: dict[int, Started] = {}
        self._used: dict[int, float] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def start(self, config: bytes) -> Started:
        """The instance of this configuration, as Kong sends it (JSON); always one with a valid id.

        The same configuration gives the same instance, whichever worker starts it.
        """
        self.sweep()
        return self._started(self._registry.start(config))

    def use(self, instance_id: int) -> Instance | None:
        """The instance for an event; None if there is none of this id."""
        started = self._by_id.get(instance_id) or self.get(instance_id)
        if started is None:
            return None
        self._used[instance_id] = self._clock()
        return started.instance

    def get(self, instance_id: int) -> Started | None:
        """The instance without using it; None if there is none of this id."""
        started = self._by_id.get(instance_id)
        if started is None:
            registered = self._registry.find(instance_id)
            if registered is not None:
                started = self._started(registered)
        return started

    def close(self, instance_id: int) -> None:
        """One worker of Kong is done with this instance; others may go on with it."""
        self._registry.close(instance_id)
        self.sweep()

    def sweep(self) -> None:
        """Tell the registry what was used, and drop what has ended; to be called every now and then."""
        used, self._used = self._used, {}
        for instance_id in self._registry.sweep(used):
            self._by_id.pop(instance_id, None)

    def _started(self, registered: Registered) -> Started:
        there = self._by_id.get(registered.instance_id)
        if there is None or there.digest != registered.digest:
            instance = self._instance(registered)
            there = Started(registered.instance_id, registered.digest, instance, registered.started_at)
            self._by_id[registered.instance_id] = there
        return there

    def _instance(self, registered: Registered) -> Instance:
        try:
            return self._engine.instance(_parse(registered.config))
        except Exception:
            # Kong must get a valid id all the same, or it waits ten seconds before it tries again.
            _log.exception("instance %d could not be started", registered.instance_id)
            return _Failed()


class _Failed:
    """The instance of a configuration that the engine could not even refuse."""

    def access(self, kong: Kong) -> None:
        kong.exit(*INTERNAL_ERROR)


INTERNAL_ERROR = (
    500,
    b'{"message":"Internal Server Error"}',
    {"content-type": "application/json; charset=utf-8"},
)
"""Status, body and headers of the answer when something goes wrong inside an event."""


def _parse(config: bytes) -> dict[str, Any]:
    try:
        raw = json.loads(config)
    except (ValueError, RecursionError):
        raw = None
    if not isinstance(raw, dict):
        _log.error("a configuration that is no JSON object was started")
        return {}
    return raw
