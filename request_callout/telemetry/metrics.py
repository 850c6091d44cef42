"""Counting what the engine does, in memory that the reporter reads: see ``shared_values`` and ``families``.

Where something is counted is looked up once for each callout of each plugin; after that each count is an addition.
"""

from __future__ import annotations

import os
import resource
import time
from typing import TYPE_CHECKING

from request_callout.engine.observing import Result
from request_callout.telemetry import families
from request_callout.telemetry.shared_values import Family, SharedValues
from request_callout.transport import IncomingResponse, TransportError

if TYPE_CHECKING:
    from request_callout.engine import Engine
    from request_callout.engine.answer import Answer
    from request_callout.engine.call import Call
    from request_callout.engine.circuits import State
    from request_callout.engine.client import Part
    from request_callout.engine.run import Run
    from request_callout.transport import OutgoingRequest

_MOST_CALLOUTS = 4000
_CLASSES = {first: f"{first}xx" for first in range(1, 10)}
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Metrics:
    """An observer (``engine.observing``) that counts in ``values``; ``place`` is the worker's, from 0."""

    reads: tuple[Part, ...] = ()

    def __init__(self, values: SharedValues, place: int = 0) -> None:
        before = values.take_over(families.FAMILIES)
        self.values = values
        self.cells = values.cells
        for what, gauge in (("event", families.EVENTS_IN_FLIGHT), ("attempt", families.ATTEMPTS_IN_FLIGHT)):
            self.cells[values.cell(families.LOST, what)] += before.get(gauge.name, 0.0)
        self.events_in_flight = values.cell(families.EVENTS_IN_FLIGHT)
        self.attempts_in_flight = values.cell(families.ATTEMPTS_IN_FLIGHT)
        worker = str(place + 1)
        self._cpu = values.cell(families.WORKER_CPU, worker)
        self._cpu_before = self.cells[self._cpu]
        self._memory = values.cell(families.WORKER_MEMORY, worker)
        self._plugins: dict[str, _Plugin] = {}

    def follow(self, engine: Engine) -> None:
        """Count what belongs to no one request, too."""
        engine.follow(self)

    def begin(self, run: Run) -> _Request | None:
        """See ``Observer.begin``."""
        plugin_id = run.instance.config.plugin_id
        plugin = self._plugins.get(plugin_id)
        if plugin is None:
            if len(self._plugins) >= _MOST_CALLOUTS:
                self._plugins.clear()  # they are found again in the values
            plugin = self._plugins[plugin_id] = _Plugin(self.values, plugin_id)
        return _Refresh(self, run, plugin) if run.is_detached else _Request(self, run, plugin)

    def close(self) -> None:
        """Nothing is kept here."""

    def sweep(self) -> None:
        """Note what the process itself uses; to be called every now and then."""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        self.cells[self._cpu] = self._cpu_before + usage.ru_utime + usage.ru_stime
        try:
            with open("/proc/self/statm", "rb") as file:
                self.cells[self._memory] = int(file.read().split()[1]) * _PAGE_BYTES
        except (OSError, ValueError, IndexError):
            self.cells[self._memory] = usage.ru_maxrss * 1024

    # What belongs to no one request: see ``engine.observing.Watch``

    def circuit(self, target: str, before: State | None, after: State | None) -> None:
        """A circuit is new, has changed, or is forgotten."""
        if before is not None:
            self.cells[self.values.cell(families.CIRCUITS, target, before)] -= 1.0
        if after is not None:
            self.cells[self.values.cell(families.CIRCUITS, target, after)] += 1.0
        if before is not None and after is not None:
            self._count(families.CIRCUIT_CHANGES, target, after)

    def token(self, target: str, *, got: bool) -> None:
        """A token was asked for."""
        self._count(families.TOKEN_REQUESTS, target, "ok" if got else "failed")

    def misconfigured(self, plugin_id: str) -> None:
        """A request met a configuration that can't be used."""
        self._count(families.EVENTS, plugin_id, "misconfigured")

    def redis_failed(self, target: str, kind: str) -> None:
        """Something went wrong with a Redis."""
        self._count(families.REDIS_FAILURES, target, kind)
        if kind == "down":
            self.cells[self.values.cell(families.REDIS_DOWN, target)] = 1.0

    def redis_answers(self, target: str) -> None:
        """A Redis can be used, or nobody uses it any more."""
        self.cells[self.values.cell(families.REDIS_DOWN, target)] = 0.0

    def _count(self, family: Family, *labels: str) -> None:
        self.cells[self.values.cell(family, *labels)] += 1.0


class _Plugin:
    """Where what one plugin configuration does is counted."""

    __slots__ = ("_values", "callouts", "events", "id", "seconds")

    def __init__(self, values: SharedValues, plugin_id: str) -> None:
        self._values = values
        self.id = plugin_id
        self.events = {
            outcome: values.cell(families.EVENTS, plugin_id, outcome) for outcome in ("proxied", "answered", "failed")
        }
        self.seconds = values.cell(families.EVENT_SECONDS, plugin_id)
        self.callouts: dict[str, _Callout] = {}

    def callout(self, name: str) -> _Callout:
        found = self.callouts.get(name)
        if found is None:
            found = self.callouts[name] = _Callout(self._values, self.id, name)
        return found


class _Callout:
    """Where one callout is counted."""

    __slots__ = ("_labels", "_values", "attempt_seconds", "attempts", "cache", "callouts", "retries", "seconds")

    def __init__(self, values: SharedValues, plugin_id: str, name: str) -> None:
        self._values = values
        self._labels = (plugin_id, name)
        self.callouts: dict[tuple[Result, int | None], int] = {}
        self.attempts: dict[int | str, int] = {}
        self.cache: dict[str, int] = {}
        self.seconds = values.cell(families.CALLOUT_SECONDS, plugin_id, name)
        self.attempt_seconds = values.cell(families.ATTEMPT_SECONDS, plugin_id, name)
        self.retries = values.cell(families.RETRIES, plugin_id, name)

    def of(self, family: Family, *labels: str) -> int:
        return self._values.cell(family, *self._labels, *labels)

    def result(self, call: Call) -> int:
        key = (call.result, call.status and call.status // 100)
        place = self.callouts.get(key)
        if place is None:
            status = _CLASSES.get(key[1] or 0, "none")
            place = self.callouts[key] = self.of(families.CALLOUTS, call.result, status)
        return place

    def attempt(self, outcome: int | str) -> int:
        place = self.attempts.get(outcome)
        if place is None:
            name = outcome if isinstance(outcome, str) else _CLASSES.get(outcome, "other")
            place = self.attempts[outcome] = self.of(families.ATTEMPTS, name)
        return place

    def look_up(self, outcome: str) -> int:
        place = self.cache.get(outcome)
        if place is None:
            place = self.cache[outcome] = self.of(families.CACHE, outcome)
        return place


class _Request:
    """One request that is followed."""

    __slots__ = ("_metrics", "_plugin", "_run")

    def __init__(self, metrics: Metrics, run: Run, plugin: _Plugin) -> None:
        self._metrics = metrics
        self._run = run
        self._plugin = plugin
        self._begin()

    def _begin(self) -> None:
        self._metrics.cells[self._metrics.events_in_flight] += 1.0

    def attempt(self, call: Call, request: OutgoingRequest) -> _Attempt:
        """See ``ObservedRequest.attempt``."""
        return _Attempt(self._metrics, self._plugin.callout(call.name))

    def callout(self, call: Call) -> None:
        """See ``ObservedRequest.callout``."""
        values, cells = self._metrics.values, self._metrics.cells
        counted = self._plugin.callout(call.name)
        if call.index is not None:
            cells[counted.of(families.ELEMENTS, call.result)] += 1.0
        else:
            cells[counted.result(call)] += 1.0
            if call.result != "skipped":
                values.observe(counted.seconds, call.latency_ms / 1000)
        if call.cache is not None:
            cells[counted.look_up(call.cache)] += 1.0
        if call.attempts > 1 and call.began:
            cells[counted.retries] += len(call.record.retries)
        if call.result == "script_error" and call.kept is None:  # else that of an element, which was told itself
            self._script_error("callout")

    def end(self, answer: Answer | None) -> None:
        """See ``ObservedRequest.end``."""
        run, cells, plugin = self._run, self._metrics.cells, self._plugin
        outcome = "failed" if run.failure is not None else "proxied" if answer is None else "answered"
        cells[plugin.events[outcome]] += 1.0
        cells[self._metrics.events_in_flight] -= 1.0
        self._metrics.values.observe(plugin.seconds, time.monotonic() - run.started_at)
        if run.script_failed:
            self._script_error("upstream")

    def _script_error(self, place: str) -> None:
        values = self._metrics.values
        values.cells[values.cell(families.SCRIPT_ERRORS, self._plugin.id, place)] += 1.0


class _Refresh(_Request):
    """A stale response that is fetched anew: its attempts count, but no client waits for it."""

    __slots__ = ()

    def _begin(self) -> None:
        """No request of Kong's has begun."""

    def callout(self, call: Call) -> None:
        counted = self._plugin.callout(call.name)
        self._metrics.cells[counted.of(families.REFRESHES, call.result)] += 1.0
        self._metrics.cells[counted.retries] += len(call.record.retries)

    def end(self, answer: Answer | None) -> None:
        """No request of Kong's has ended."""


class _Attempt:
    """One attempt that is under way."""

    __slots__ = ("_callout", "_metrics", "_started")

    def __init__(self, metrics: Metrics, callout: _Callout) -> None:
        self._metrics = metrics
        self._callout = callout
        self._started = time.monotonic()
        metrics.cells[metrics.attempts_in_flight] += 1.0

    def ended(self, outcome: IncomingResponse | TransportError | None) -> None:
        """See ``ObservedAttempt.ended``."""
        metrics, counted = self._metrics, self._callout
        cells = metrics.cells
        cells[metrics.attempts_in_flight] -= 1.0
        if outcome is None:
            cells[counted.attempt("abandoned")] += 1.0
            return
        kind = outcome.kind if isinstance(outcome, TransportError) else outcome.status // 100
        cells[counted.attempt(kind)] += 1.0
        metrics.values.observe(counted.attempt_seconds, time.monotonic() - self._started)
