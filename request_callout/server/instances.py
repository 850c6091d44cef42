"""The plugin configurations that Kong has started, by their ids.

Kong's workers each start and close their own instances, at different moments, and go on using ids that they got from a
server that has been restarted since. So an id is a hash of the configuration: the same in every process and for every
worker, and never that of another configuration. And a close by one worker says nothing of the others: an instance is
dropped only when it was closed and then not used for a long time. Whoever comes later still finds no instance, and
Kong starts it anew.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from request_callout.engine.kong import Kong

_log = logging.getLogger(__name__)

CLOSED_IDLE_S = 600.0
"""After this time without use a closed instance is dropped."""
ABANDONED_IDLE_S = 24 * 3600.0
"""After this time without use any instance is dropped: its Kong may be gone without having closed it."""
_SWEEP_S = 60.0
_PER_START = frozenset({"__seq__", "__key__"})


class Instance(Protocol):
    """One plugin configuration at work; ``request_callout.engine`` has the real ones."""

    def access(self, kong: Kong) -> None:
        """Handle one request. Raises ConnectionLost, and nothing else."""


class Engine(Protocol):
    """What makes instances of configurations."""

    def instance(self, raw: Mapping[str, Any]) -> Instance:
        """The instance of a configuration; of a bad one, an instance that answers every event with 500."""


@dataclass(slots=True)
class Started:
    """An instance that Kong may use: since when (epoch), when it was last used (monotonic), whether it was closed."""

    instance_id: int
    digest: bytes
    instance: Instance
    started_at: int
    last_used: float
    closed: bool = False


class Instances:
    """All instances of this process. ``version`` is the plugin's: another version gives other ids."""

    def __init__(self, engine: Engine, version: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._version = version
        self._clock = clock
        self._by_id: dict[int, Started] = {}
        self._next_sweep = clock() + _SWEEP_S

    def __len__(self) -> int:
        return len(self._by_id)

    def start(self, config: bytes) -> Started:
        """The instance of this configuration, as Kong sends it (JSON); always one with a valid id.

        The same configuration gives the same instance, whichever worker starts it.
        """
        self._sweep()
        raw = _parse(config)
        digest = self._digest(config if raw is None else _canonical(raw))
        instance_id = _first_id(digest)
        while (there := self._by_id.get(instance_id)) is not None:
            if there.digest == digest:
                there.closed = False
                there.last_used = self._clock()
                return there
            instance_id = instance_id % 0x7FFFFFFF + 1
        instance = self._instance({} if raw is None else raw, instance_id)
        started = Started(instance_id, digest, instance, int(time.time()), self._clock())
        self._by_id[instance_id] = started
        return started

    def use(self, instance_id: int) -> Instance | None:
        """The instance for an event; None if there is none of this id."""
        started = self._by_id.get(instance_id)
        if started is None:
            return None
        started.last_used = self._clock()
        return started.instance

    def get(self, instance_id: int) -> Started | None:
        """What is known of an instance, without using it."""
        return self._by_id.get(instance_id)

    def close(self, instance_id: int) -> None:
        """One worker of Kong is done with this instance; unknown ids are none of our business."""
        started = self._by_id.get(instance_id)
        if started is not None:
            started.closed = True
        self._sweep()

    def _instance(self, raw: Mapping[str, Any], instance_id: int) -> Instance:
        try:
            return self._engine.instance(raw)
        except Exception:
            # Kong must get a valid id all the same, or it waits ten seconds before it tries again.
            _log.exception("instance %d could not be started", instance_id)
            return _Failed()

    def _digest(self, canonical: bytes) -> bytes:
        return hashlib.blake2b(canonical, digest_size=16, key=self._version.encode()).digest()

    def _sweep(self) -> None:
        now = self._clock()
        if now < self._next_sweep:
            return
        self._next_sweep = now + _SWEEP_S
        for started in list(self._by_id.values()):
            if now - started.last_used > (CLOSED_IDLE_S if started.closed else ABANDONED_IDLE_S):
                del self._by_id[started.instance_id]


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


def _parse(config: bytes) -> dict[str, Any] | None:
    try:
        raw = json.loads(config)
    except (ValueError, RecursionError):
        raw = None
    if not isinstance(raw, dict):
        _log.error("a configuration that is no JSON object was started")
        return None
    return raw


def _canonical(raw: Mapping[str, Any]) -> bytes:
    """A configuration without what differs from worker to worker; Kong sends its keys in any order."""
    kept = {name: value for name, value in raw.items() if name not in _PER_START}
    return json.dumps(kept, sort_keys=True, separators=(",", ":")).encode()


def _first_id(digest: bytes) -> int:
    return int.from_bytes(digest[:4], "big") % 0x7FFFFFFF + 1
