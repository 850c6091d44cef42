"""Steps side by side: order, failures and ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent
import pytest
from gevent.event import Event

from request_callout.config.settings import Settings
from request_callout.engine import Engine, Instance
from request_callout.engine.answer import INTERNAL_ERROR, Ended, ScriptExit
from request_callout.engine.plan import Plan, Step
from request_callout.engine.schedule import run_steps


def plan(*waits_for: set[int]) -> Plan:
    """Steps named by their places, which wait for these others."""
    callouts = [{"name": str(place), "request": {"url": "http://h/"}} for place in range(len(waits_for))]
    instance = Engine(Settings()).instance({"callouts": callouts})
    assert isinstance(instance, Instance), instance.problems
    steps = tuple(
        Step(known.callout, frozenset(waits), ()) for known, waits in zip(instance.plan.steps, waits_for, strict=True)
    )
    return Plan(steps, one_by_one=False, reads=())


class Steps:
    """Records what each step did; a step may be given something to do."""

    def __init__(self, **actions: Callable[[], Any]) -> None:
        self.actions = {name.lstrip("s"): action for name, action in actions.items()}
        self.events: list[str] = []

    def __call__(self, callout: Any) -> None:
        self.events.append(f"{callout.name} starts")
        try:
            self.actions.get(callout.name, lambda: None)()
        except gevent.GreenletExit:
            self.events.append(f"{callout.name} killed")
            raise
        self.events.append(f"{callout.name} done")


def one_after_the_other(*actions: Callable[[], Any]) -> Callable[[], None]:
    def act() -> None:
        for action in actions:
            action()

    return act


def wait() -> None:
    """Until ended, or until the test has clearly failed."""
    Event().wait(5)


def failing(reason: str) -> Callable[[], None]:
    def fail() -> None:
        raise Ended(INTERNAL_ERROR, reason)

    return fail


def test_independent_steps_overlap() -> None:
    """Steps that wait for nothing are all started before any is done."""
    both = Event()
    steps = Steps(s0=lambda: both.wait(5), s1=both.set)
    run_steps(plan(set(), set()), steps)
    assert steps.events == ["0 starts", "1 starts", "1 done", "0 done"]


def test_a_step_starts_when_what_it_waits_for_is_done() -> None:
    """A step starts after those it waits for, whatever else is running."""
    steps = Steps(s0=lambda: gevent.sleep(0))
    run_steps(plan(set(), set(), {0}), steps)
    assert steps.events.index("0 done") < steps.events.index("2 starts")


def test_a_failure_ends_the_later_ones() -> None:
    """The later steps in flight are ended, those not started never start."""
    steps = Steps(s0=one_after_the_other(lambda: gevent.sleep(0), failing("first")), s1=wait)
    with pytest.raises(Ended, match="first"):
        run_steps(plan(set(), set(), {1}), steps)
    assert steps.events[-1] == "1 killed"
    assert "2 starts" not in steps.events


def test_the_first_in_the_sequence_answers() -> None:
    """If several fail, the answer is that of the first in the sequence, though it fails last."""
    late = Event()
    steps = Steps(
        s0=one_after_the_other(lambda: late.wait(5), failing("first")),
        s1=one_after_the_other(late.set, failing("second")),
    )
    with pytest.raises(Ended, match="first"):
        run_steps(plan(set(), set()), steps)


def test_earlier_steps_are_brought_to_their_end() -> None:
    """What a sequence would have done before the failure is done, also what had not started yet."""
    steps = Steps(s0=lambda: gevent.sleep(0), s2=failing("third"))
    with pytest.raises(Ended, match="third"):
        run_steps(plan(set(), {0}, set()), steps)
    assert {"0 done", "1 done"} <= set(steps.events)


def test_an_exit_ends_everything_at_once() -> None:
    """A script's exit does not wait for earlier steps."""

    def leave() -> None:
        raise ScriptExit(INTERNAL_ERROR)

    steps = Steps(s0=wait, s1=leave)
    with pytest.raises(ScriptExit):
        run_steps(plan(set(), set()), steps)
    assert steps.events[-1] == "0 killed"


def test_a_killed_event_leaves_no_step_behind() -> None:
    """When the event itself is ended, so are its steps."""
    started = Event()
    steps = Steps(s0=wait, s1=one_after_the_other(started.set, wait))
    event = gevent.spawn(run_steps, plan(set(), set()), steps)
    started.wait(5)
    event.kill()
    assert {"0 killed", "1 killed"} <= set(steps.events)


def test_nothing_later_starts_after_a_failure() -> None:
    """While earlier steps are brought to their end, a later one that waited for them does not start any more."""
    steps = Steps(s0=one_after_the_other(*[lambda: gevent.sleep(0)] * 5), s1=failing("second"))
    with pytest.raises(Ended, match="second"):
        run_steps(plan(set(), set(), {0}), steps)
    assert "0 done" in steps.events
    assert "2 starts" not in steps.events
