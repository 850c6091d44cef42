"""Values in shared memory: what is counted is read elsewhere, outlives its process, and is bounded."""

from __future__ import annotations

import os

import pytest

from request_callout.telemetry.shared_values import BUCKETS_S, MOST_SERIES, OTHER, Family, Series, SharedValues

COUNTER = Family("c_total", "counter", "C.", ("plugin", "result"), open=("plugin",))
GAUGE = Family("g", "gauge", "G.")
TIMES = Family("t_seconds", "histogram", "T.", ("plugin",), open=("plugin",))
FAMILIES = {family.name: family for family in (COUNTER, GAUGE, TIMES)}


def count(values: SharedValues, *labels: str) -> None:
    values.cells[values.cell(COUNTER, *labels)] += 1.0


def read(values: SharedValues) -> dict[tuple[str, ...], tuple[float, ...]]:
    return {(series.family, *series.labels): series.values for series in values.read(FAMILIES)}


def test_what_a_child_counts_its_parent_reads() -> None:
    """Counted in a process that was forked and died, it is there."""
    values = SharedValues()
    pid = os.fork()
    if pid == 0:
        count(values, "p", "ok")
        values.cells[values.cell(GAUGE)] = 7.0
        os._exit(0)
    os.waitpid(pid, 0)
    assert list(values.read(FAMILIES)) == [Series("c_total", ("p", "ok"), (1.0,)), Series("g", (), (7.0,))]


def test_a_successor_counts_on_and_its_gauges_begin_at_zero() -> None:
    """Counters and histograms go on at the same places; gauges, which told of the one before, are given back."""
    values = SharedValues()
    for _ in range(2):
        gauges = values.take_over(FAMILIES)
        count(values, "p", "ok")
        values.observe(values.cell(TIMES, "p"), 0.2)
        values.cells[values.cell(GAUGE)] += 3.0
        count(values, "q", "ok")
    assert gauges == {"g": 3.0}
    assert read(values)["c_total", "p", "ok"] == read(values)["c_total", "q", "ok"] == (2.0,)
    assert read(values)["g",] == (3.0,)
    assert len(read(values)) == 4
    assert sum(read(values)["t_seconds", "p"][:-1]) == 2


def test_a_time_is_counted_in_the_first_bucket_that_holds_it() -> None:
    """A bound belongs to its bucket; beyond the last there is one more; the sum comes last."""
    values = SharedValues()
    place = values.cell(TIMES, "p")
    for seconds in (0.0, BUCKETS_S[0], BUCKETS_S[0] + 1e-6, BUCKETS_S[-1], BUCKETS_S[-1] + 1):
        values.observe(place, seconds)
    found = read(values)["t_seconds", "p"]
    assert len(found) == len(BUCKETS_S) + 2
    assert found[:2] == (2.0, 1.0)
    assert found[-3:-1] == (1.0, 1.0)
    assert found[-1] == 0.0 + BUCKETS_S[0] + (BUCKETS_S[0] + 1e-6) + BUCKETS_S[-1] + (BUCKETS_S[-1] + 1)


def test_too_many_names_are_counted_as_other(caplog: pytest.LogCaptureFixture) -> None:
    """Beyond the bound only labels whose values are few keep their value; nothing is lost or grows; it is told."""
    values = SharedValues()
    for number in range(MOST_SERIES + 100):
        count(values, f"p{number}", "ok" if number % 2 else "failed")
    found = read(values)
    assert len(found) == MOST_SERIES + 2
    assert found["c_total", OTHER, "ok"] == found["c_total", OTHER, "failed"] == (50.0,)
    assert sum(value for (value,) in found.values()) == MOST_SERIES + 100
    values.take_over(FAMILIES)
    count(values, "p0", "failed")
    count(values, "one more", "ok")
    assert read(values)["c_total", "p0", "failed"] == (2.0,)
    assert read(values)["c_total", OTHER, "ok"] == (51.0,)
    assert caplog.messages == [
        f"there are {MOST_SERIES} metrics in this process: new plugins, callouts and targets are counted as 'other'; "
        "a restart of the server begins anew"
    ]


def test_histograms_of_too_many_names_fit_too() -> None:
    """As many histograms as there may be series have room, with the longest names that are kept."""
    values = SharedValues()
    for number in range(MOST_SERIES + 10):
        values.observe(values.cell(TIMES, f"{number:05}" + "é" * 1000), 1.0)
    assert sum(sum(series.values[:-1]) for series in values.read(FAMILIES)) == MOST_SERIES + 10
