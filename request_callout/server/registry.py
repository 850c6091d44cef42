"""Which plugin configuration has which id: what all workers of a server have to agree on.

Kong goes on using ids that it got from a server which has been restarted since, and an event may reach any worker. So
an id is a hash of the configuration and of the plugin's version: the same in every process, for every worker of Kong,
and never that of another configuration. ``Configurations`` lives in the supervisor; workers ask it over their link, in
the form of ``Registry``. Configurations hold resolved secrets: they are kept in memory only.

An id ends by its last use in any worker, never by the close of one worker of Kong: others may use it still. A close
only shortens the wait. Whoever uses the id later finds no instance, and Kong starts it anew.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

CLOSED_IDLE_S = 600.0
"""After this time without use a closed configuration is dropped."""
ABANDONED_IDLE_S = 24 * 3600.0
"""After this time without use any configuration is dropped: its Kong may be gone without having closed it."""
_SWEEP_S = 60.0
_PER_START = frozenset({"__seq__", "__key__"})


@dataclass(frozen=True, slots=True)
class Registered:
    """A configuration that was started: its id, the digest the id comes from, since when (epoch, in seconds).

    ``config`` is JSON without what differs from worker to worker of Kong (or as it came, if it was no JSON object).
    """

    instance_id: int
    digest: str
    started_at: int
    config: bytes


class Registry(Protocol):
    """The configurations of all workers."""

    def start(self, config: bytes) -> Registered:
        """Register a configuration, as Kong sends it (JSON); a known one gives what it gave before."""

    def find(self, instance_id: int) -> Registered | None:
        """The configuration of an id; None if there is none."""

    def close(self, instance_id: int) -> None:
        """One worker of Kong is done with this id; unknown ids are none of our business."""

    def sweep(self, used: Mapping[int, float]) -> Iterable[int]:
        """Tell when ids were last used (monotonic time, in seconds); gives the ids that have ended since."""


@dataclass(slots=True)
class _Kept:
    registered: Registered
    last_used: float
    closed: bool = False


class Configurations:
    """The registry itself. ``version`` is the plugin's: another version gives other ids."""

    def __init__(self, version: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._version = version
        self._clock = clock
        self._by_id: dict[int, _Kept] = {}
        # Digests outlive their configurations: an id once given is never given to another configuration.
        self._digests: dict[int, str] = {}
        self._next_sweep = clock() + _SWEEP_S

    def __len__(self) -> int:
        return len(self._by_id)

    def start(self, config: bytes) -> Registered:
        """See ``Registry.start``."""
        canonical = _canonical(config)
        digest = hashlib.blake2b(canonical, digest_size=16, key=self._version.encode()).hexdigest()
        instance_id = _first_id(digest)
        while self._digests.setdefault(instance_id, digest) != digest:
            instance_id = instance_id % 0x7FFFFFFF + 1
        kept = self._by_id.get(instance_id)
        if kept is None:
            kept = _Kept(Registered(instance_id, digest, int(time.time()), canonical), self._clock())
            self._by_id[instance_id] = kept
        kept.closed = False
        kept.last_used = self._clock()
        return kept.registered

    def find(self, instance_id: int) -> Registered | None:
        """See ``Registry.find``."""
        kept = self._by_id.get(instance_id)
        return None if kept is None else kept.registered

    def close(self, instance_id: int) -> None:
        """See ``Registry.close``."""
        kept = self._by_id.get(instance_id)
        if kept is not None:
            kept.closed = True

    def sweep(self, used: Mapping[int, float]) -> Iterable[int]:
        """See ``Registry.sweep``; looks for what has ended once a minute."""
        for instance_id, last_used in used.items():
            kept = self._by_id.get(instance_id)
            if kept is not None and kept.last_used < last_used:
                kept.last_used = last_used
        now = self._clock()
        if now < self._next_sweep:
            return ()
        self._next_sweep = now + _SWEEP_S
        ended = [
            instance_id
            for instance_id, kept in self._by_id.items()
            if now - kept.last_used > (CLOSED_IDLE_S if kept.closed else ABANDONED_IDLE_S)
        ]
        for instance_id in ended:
            del self._by_id[instance_id]
        return ended


def _canonical(config: bytes) -> bytes:
    """A configuration without what differs from worker to worker; Kong sends its keys in any order."""
    try:
        raw = json.loads(config)
    except (ValueError, RecursionError):
        return config
    if not isinstance(raw, dict):
        return config
    kept = {name: value for name, value in raw.items() if name not in _PER_START}
    return json.dumps(kept, sort_keys=True, separators=(",", ":")).encode()


def _first_id(digest: str) -> int:
    return int(digest[:8], 16) % 0x7FFFFFFF + 1
