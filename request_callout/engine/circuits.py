"""Circuit breakers: what is known of the services that are called, and whether calls to them are given up for a while.

A circuit is closed, open or half open. Closed, outcomes are counted in a sliding window; enough failures open it. Open,
nothing is let through for ``open_ms``. Then it is half open: as many calls as there are probes are let through; once
all have succeeded it is closed, with the first that fails it is open again. What began before a change of state says
nothing about the state after it, and is not counted.

There is no I/O and no waiting here, so nothing has to be locked: one thread's greenlets never meet within a method.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable
from functools import partial
from typing import Literal

from request_callout.config import model

State = Literal["closed", "open", "half_open"]

Told = Callable[["State | None", "State | None"], None]
"""Is told of a change of state, before and after; None: there was no circuit, or is none any more."""

MOST_CIRCUITS = 1000
"""Circuits of a process; the one that was used longest ago is forgotten first."""

_SLICES = 10


class Circuit:
    """The circuit of one target under one set of thresholds; moments are of ``time.monotonic()``.

    ``period`` counts the changes of state. ``open_until`` is the end of the last time it was open.
    """

    __slots__ = ("_probing", "_settings", "_succeeded", "_told", "_window", "open_until", "period", "state")

    def __init__(self, settings: model.CircuitBreaker, told: Told | None = None) -> None:
        self._told = told
        self._settings = settings
        self._window = _Window(settings.window_ms / 1000)
        self._probing = 0
        self._succeeded = 0
        self.state: State = "closed"
        self.open_until = float("-inf")
        self.period = 0

    def let_through(self, now: float) -> bool:
        """Whether a call may be made; after one that may, ``succeeded``, ``failed`` or ``unknown`` has to follow."""
        if self.state == "closed":
            return True
        if self.state == "open":
            if now < self.open_until:
                return False
            self._change("half_open")
        if self._probing + self._succeeded >= self._settings.half_open_probes:
            return False
        self._probing += 1
        return True

    def succeeded(self, period: int, now: float) -> bool:
        """Count a call that was let through in a period; gives whether that closed the circuit."""
        if period != self.period:
            return False
        if self.state == "closed":
            self._window.count(now, failed=False)
            return False
        self._probing -= 1
        self._succeeded += 1
        if self._succeeded < self._settings.half_open_probes:
            return False
        self._change("closed")
        return True

    def failed(self, period: int, now: float) -> bool:
        """Count a call that was let through in a period; gives whether that opened the circuit."""
        if period != self.period:
            return False
        if self.state == "closed":
            self._window.count(now, failed=True)
            if not self._is_too_much():
                return False
        self._change("open")
        self.open_until = now + self._settings.open_ms / 1000
        return True

    def unknown(self, period: int) -> None:
        """A call that was let through ended without telling anything of its target."""
        if period == self.period and self.state == "half_open":
            self._probing -= 1

    def forgotten(self) -> None:
        """Nobody asks for this circuit again; what calls that are still under way make of it, nobody is told."""
        if self._told is not None:
            self._told(self.state, None)
            self._told = None

    def _is_too_much(self) -> bool:
        settings, window = self._settings, self._window
        if settings.failures is not None and window.failures >= settings.failures:
            return True
        return (
            settings.failure_rate is not None
            and window.calls >= settings.min_requests
            and window.failures * 100 >= settings.failure_rate * window.calls
        )

    def _change(self, state: State) -> None:
        if self._told is not None:
            self._told(self.state, state)
        self.state = state
        self.period += 1
        self._probing = self._succeeded = 0
        self._window.clear()


class _Window:
    """Calls and failures of the last ``seconds``, in slices of a tenth: its size does not depend on the rate."""

    __slots__ = ("_seconds", "_slices", "calls", "failures")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._slices: deque[list[float]] = deque()  # of each: its beginning, calls, failures
        self.calls = 0
        self.failures = 0

    def count(self, now: float, *, failed: bool) -> None:
        slices = self._slices
        while slices and slices[0][0] <= now - self._seconds:
            _, calls, failures = slices.popleft()
            self.calls -= int(calls)
            self.failures -= int(failures)
        if not slices or now - slices[-1][0] >= self._seconds / _SLICES:
            slices.append([now, 0.0, 0.0])
        slices[-1][1] += 1.0
        self.calls += 1
        if failed:
            slices[-1][2] += 1.0
            self.failures += 1

    def clear(self) -> None:
        self._slices.clear()
        self.calls = self.failures = 0


class Circuits:
    """The circuits of a process, by target (``scheme://host:port``) and thresholds.

    Callouts of all configurations that ask for the same thresholds share the circuit of a target; one that asks for
    stricter ones does not take away calls of the others. ``told`` hears of changes, by target.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic, most: int = MOST_CIRCUITS) -> None:
        self.now = now
        self._most = most
        self.told: Callable[[str, State | None, State | None], None] | None = None
        self._circuits: OrderedDict[tuple[str, model.CircuitBreaker], Circuit] = OrderedDict()

    def __len__(self) -> int:
        return len(self._circuits)

    def of(
        self, origin: str, settings: model.CircuitBreaker, shown: Callable[[str], str] = lambda origin: origin
    ) -> Circuit:
        """The circuit of a target; ``shown`` gives what the target is called where others may read it."""
        key = (origin, settings)
        circuit = self._circuits.get(key)
        if circuit is None:
            told = None if self.told is None else partial(self.told, shown(origin))
            circuit = self._circuits[key] = Circuit(settings, told)
            if told is not None:
                told(None, "closed")
            if len(self._circuits) > self._most:
                self._circuits.popitem(last=False)[1].forgotten()
        else:
            self._circuits.move_to_end(key)
        return circuit
