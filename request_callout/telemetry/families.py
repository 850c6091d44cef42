"""The metrics there are, in the order in which they are shown. Their names and labels are a promise to dashboards."""

from __future__ import annotations

from request_callout.telemetry.shared_values import Family

WORKERS = Family("request_callout_workers", "gauge", "Workers that take requests.")
WORKERS_WANTED = Family("request_callout_workers_wanted", "gauge", "Workers there should be (--workers).")
WORKER_RESTARTS = Family(
    "request_callout_worker_restarts_total", "counter", "Workers that ended without being told to, and were replaced."
)
START_TIME = Family(
    "request_callout_start_time_seconds", "gauge", "When the server was started, in seconds since the epoch."
)

FAMILIES = {family.name: family for family in (WORKERS, WORKERS_WANTED, WORKER_RESTARTS, START_TIME)}
