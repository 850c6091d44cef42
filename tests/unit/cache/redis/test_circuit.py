from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from collections.abc import Iterable

import gevent
import pytest
from gevent.event import Event

from request_callout.cache.redis.circuit import FIRST_PAUSE_S, LONGEST_PAUSE_S, Circuit

LIMIT_S = 30


class Probed:
    """Something that answers probes as it is told to: for each a failure, or None; then it answers for good."""

    def __init__(self, *outcomes: Exception | None) -> None:
        self.outcomes = list(outcomes)
        self.pauses_s: list[float] = []
        self.failures: list[Exception] = []
        self.mended = Event()
        self.circuit = Circuit(self.probe, self.failures.append, self.mended.set, self.wait)

    def wait(self, pause_s: float) -> None:
        self.pauses_s.append(pause_s)
        gevent.sleep(0)

    def probe(self) -> None:
        outcome = self.outcomes.pop(0) if self.outcomes else None
        if outcome is not None:
            raise outcome

    def opened_and_mended(self) -> list[float]:
        """Open the circuit and wait until it is closed again; gives the pauses."""
        self.mended.clear()
        self.pauses_s.clear()
        assert self.circuit.open(self.circuit.turn)
        assert self.mended.wait(LIMIT_S)
        return self.pauses_s


def test_it_is_closed_until_a_failure() -> None:
    """A new circuit lets commands through; one that fails opens it."""
    circuit = Probed().circuit
    assert circuit.closed
    assert circuit.open(circuit.turn)
    assert not circuit.closed
    circuit.stop()


def test_a_probe_that_succeeds_closes_it() -> None:
    """After a pause the circuit is closed by an answered probe, not before."""
    probed = Probed()
    assert probed.opened_and_mended() == [FIRST_PAUSE_S]
    assert probed.circuit.closed
    assert probed.failures == []


def test_the_pause_grows_up_to_a_limit() -> None:
    """Each probe that fails doubles the pause before the next, up to the longest."""
    failures = [OSError(str(number)) for number in range(8)]
    probed = Probed(*failures)
    assert probed.opened_and_mended() == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, LONGEST_PAUSE_S, LONGEST_PAUSE_S, 5.0]
    assert probed.failures == failures


def test_one_that_answers_probes_only_is_asked_less_and_less() -> None:
    """Openings that follow each other begin with longer and longer pauses."""
    probed = Probed()
    assert [probed.opened_and_mended()[0] for _ in range(8)] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_the_pauses_are_short_again_after_a_steady_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A circuit that stayed closed for a while is opened as if for the first time."""
    probed = Probed()
    first = [probed.opened_and_mended()[0] for _ in range(3)]
    monkeypatch.setattr("request_callout.cache.redis.circuit._STEADY_S", 0.0)
    assert (first, probed.opened_and_mended()[0]) == ([0.1, 0.2, 0.4], FIRST_PAUSE_S)


def test_many_failures_open_it_once() -> None:
    """Commands that fail together open the circuit once: one probe at a time."""
    probed = Probed()
    turn = probed.circuit.turn
    assert [probed.circuit.open(turn) for _ in range(3)] == [True, False, False]
    assert probed.mended.wait(LIMIT_S)
    assert probed.pauses_s == [FIRST_PAUSE_S]


def test_a_late_failure_does_not_open_it_again() -> None:
    """A command that was begun before the circuit was opened says nothing of the Redis after it answered."""
    probed = Probed()
    turn = probed.circuit.turn
    probed.opened_and_mended()
    assert not probed.circuit.open(turn)
    assert probed.circuit.closed


def test_a_stopped_one_stays_open_and_keeps_nothing() -> None:
    """After stop nothing is probed, and no greenlet holds what was probed."""
    probed = Probed()
    circuit = probed.circuit
    probing = Event()

    def wait(pause_s: float, owner: Probed = probed) -> None:
        owner.pauses_s.append(pause_s)
        probing.set()
        gevent.sleep(3600)

    circuit._wait = wait
    del wait
    assert circuit.open(circuit.turn)
    assert probing.wait(LIMIT_S)
    circuit.stop()
    pauses_s, gone, failed = probed.pauses_s, weakref.ref(probed), circuit.turn
    del probed
    gevent.sleep(0)
    assert not circuit.closed
    assert not circuit.open(failed)
    assert pauses_s == [FIRST_PAUSE_S]
    del circuit
    gevent.sleep(0)
    gc.collect()
    assert gone() is None


def test_a_probe_that_ends_as_it_is_stopped_changes_nothing() -> None:
    """A circuit that is stopped by the time a probe succeeds stays open."""
    told: list[str] = []
    circuit = Circuit(lambda: circuit.stop(), lambda error: told.append("failed"), lambda: told.append("mended"))
    circuit._wait = lambda pause_s: None
    assert circuit.open(circuit.turn)
    for _ in range(3):
        gevent.sleep(0)
    assert not circuit.closed
    assert told == []


def run_to_its_end(lines: Iterable[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], timeout=60, capture_output=True, text=True, check=False
    )


def test_the_pause_does_not_keep_a_process_alive() -> None:
    """A process whose work is done ends while a probe is waited for."""
    ended = run_to_its_end(
        (
            "import gevent",
            "from request_callout.cache.redis.circuit import Circuit",
            "def fail(): raise OSError",
            "circuit = Circuit(fail, lambda error: None, lambda: None)",
            "circuit.open(circuit.turn)",
            "gevent.wait()",  # for everything that keeps the loop running
            "print('ended', circuit.closed)",
        )
    )
    assert (ended.stdout, ended.returncode) == ("ended False\n", 0), ended.stderr
