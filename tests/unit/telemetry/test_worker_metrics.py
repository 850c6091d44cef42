"""What a worker tells of its own process."""

from __future__ import annotations

from request_callout.telemetry import families
from request_callout.telemetry.metrics import Metrics
from request_callout.telemetry.shared_values import SharedValues


def test_a_new_worker_counts_on_the_time_of_the_one_before() -> None:
    """The CPU time at a place never falls, though the process there is another; its memory is that of the new one."""
    values = SharedValues()
    Metrics(values).sweep()
    cpu, memory = values.cell(families.WORKER_CPU, "1"), values.cell(families.WORKER_MEMORY, "1")
    values.cells[cpu] = 1000.0
    values.cells[memory] = 1e15
    Metrics(values).sweep()
    assert 1000.0 < values.cells[cpu] < 2000.0
    assert values.cells[memory] < 1e15
