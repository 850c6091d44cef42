"""Running steps side by side, each as soon as what it waits for is done: those of a plan, or those of a list.

If one ends the request, the later ones in the sequence are ended with it, and the earlier ones are brought to their
end first: the client gets the answer that a sequence would have given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice

import gevent
from gevent.queue import SimpleQueue

from request_callout.engine.answer import ScriptExit
from request_callout.engine.compiled import CompiledCallout
from request_callout.engine.kong import ConnectionLost
from request_callout.engine.plan import Plan

Perform = Callable[[CompiledCallout], None]


def run_steps(plan: Plan, perform: Perform) -> None:
    """Perform every step; raises what the first one in the sequence that failed has raised."""
    if plan.one_by_one:
        for step in plan.steps:
            perform(step.callout)
    else:
        side_by_side([step.waits_for for step in plan.steps], lambda place: perform(plan.steps[place].callout))


def side_by_side(
    waits_for: Sequence[frozenset[int]], perform: Callable[[int], None], most_at_once: int | None = None
) -> None:
    """Perform a step for each place, after those it waits for; raises what the first one that failed has raised."""
    if most_at_once == 1 or len(waits_for) == 1:
        for place in range(len(waits_for)):
            perform(place)
    else:
        _SideBySide(waits_for, perform, most_at_once or len(waits_for)).run()


class _SideBySide:
    """The steps that are waiting, running and done, by their places in the sequence."""

    def __init__(self, waits_for: Sequence[frozenset[int]], perform: Callable[[int], None], most_at_once: int) -> None:
        self._perform = perform
        self._most_at_once = most_at_once
        self._waiting = dict(enumerate(waits_for))
        self._running: dict[int, gevent.Greenlet[..., None]] = {}
        self._ended: SimpleQueue[tuple[int, BaseException | None]] = SimpleQueue()
        self._done: set[int] = set()
        self._failed_at = len(waits_for)
        self._failure: BaseException | None = None

    def run(self) -> None:
        try:
            self._start_ready()
            while self._running:
                place, error = self._ended.get()
                if self._running.pop(place, None) is None:
                    continue  # ended by us
                if error is None:
                    self._done.add(place)
                else:
                    self._fail(place, error)
                self._start_ready()
        finally:
            gevent.killall(list(self._running.values()))
        if self._failure is not None:
            raise self._failure

    def _start_ready(self) -> None:
        ready = (place for place, awaited in self._waiting.items() if place < self._failed_at and awaited <= self._done)
        for place in list(islice(ready, self._most_at_once - len(self._running))):
            del self._waiting[place]
            # Bound to what it needs: a kill takes a greenlet's arguments from it, which compiled functions only borrow.
            self._running[place] = gevent.spawn(partial(self._run_one, place))

    def _run_one(self, place: int) -> None:
        try:
            self._perform(place)
        except Exception as error:  # handed to the greenlet that waits for it
            self._ended.put((place, error))
        else:
            self._ended.put((place, None))

    def _fail(self, place: int, error: BaseException) -> None:
        if isinstance(error, (ScriptExit, ConnectionLost)):
            raise error
        if place < self._failed_at:
            self._failed_at, self._failure = place, error
            later = [self._running.pop(other) for other in list(self._running) if other > place]
            gevent.killall(later)
