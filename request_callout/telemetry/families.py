"""The metrics there are, in the order in which they are shown. Their names and labels are a promise to dashboards.

``plugin`` is the id of the plugin's configuration, ``callout`` the name of a callout, ``target`` a scheme, host and
port; their values come from configurations, so a process keeps a bounded number of them apart.
"""

from __future__ import annotations

from request_callout.telemetry.shared_values import Family

_CALLOUT = ("plugin", "callout")

EVENTS = Family(
    "request_callout_events_total",
    "counter",
    "Requests of Kong: proxied, answered by the plugin, failed with an error of the plugin, or misconfigured.",
    ("plugin", "outcome"),
    open=("plugin",),
)
EVENT_SECONDS = Family(
    "request_callout_event_duration_seconds",
    "histogram",
    "What the plugin adds to a request: from its first read to its last write.",
    ("plugin",),
    open=("plugin",),
)
EVENTS_IN_FLIGHT = Family("request_callout_events_in_flight", "gauge", "Requests of Kong under way.")
CALLOUTS = Family(
    "request_callout_callouts_total",
    "counter",
    "Callouts, by what became of them and by the class of the last status (none: no response).",
    (*_CALLOUT, "result", "status"),
    open=_CALLOUT,
)
ELEMENTS = Family(
    "request_callout_elements_total",
    "counter",
    "Calls for elements of a list (for_each), by what became of them.",
    (*_CALLOUT, "result"),
    open=_CALLOUT,
)
CALLOUT_SECONDS = Family(
    "request_callout_callout_duration_seconds",
    "histogram",
    "Callouts as the request waits for them: with retries, pauses and the cache; not those that are skipped.",
    _CALLOUT,
    open=_CALLOUT,
)
ATTEMPTS = Family(
    "request_callout_attempts_total",
    "counter",
    "Requests sent for callouts, with retries, hedges and refreshes, by the class of the status or what went wrong.",
    (*_CALLOUT, "outcome"),
    open=_CALLOUT,
)
ATTEMPT_SECONDS = Family(
    "request_callout_attempt_duration_seconds",
    "histogram",
    "Attempts that were answered or failed: how quick the service is.",
    _CALLOUT,
    open=_CALLOUT,
)
ATTEMPTS_IN_FLIGHT = Family("request_callout_attempts_in_flight", "gauge", "Attempts under way.")
LOST = Family(
    "request_callout_lost_total",
    "counter",
    "Events and attempts that were under way when their worker died; no other counter has them.",
    ("what",),
)
RETRIES = Family("request_callout_retries_total", "counter", "Attempts made after an error.", _CALLOUT, open=_CALLOUT)
CACHE = Family(
    "request_callout_cache_lookups_total",
    "counter",
    "Callouts with a cache, by what it did: hit, miss, stale, coalesced, bypass.",
    (*_CALLOUT, "outcome"),
    open=_CALLOUT,
)
REFRESHES = Family(
    "request_callout_refreshes_total",
    "counter",
    "Stale responses fetched anew in the background, by what became of it.",
    (*_CALLOUT, "result"),
    open=_CALLOUT,
)
SCRIPT_ERRORS = Family(
    "request_callout_script_errors_total",
    "counter",
    "Scripts and expressions that failed, in a callout or in what makes the upstream request.",
    ("plugin", "place"),
    open=("plugin",),
)
CIRCUITS = Family(
    "request_callout_circuits",
    "gauge",
    "Circuit breakers by state; each worker has its own for a target.",
    ("target", "state"),
    open=("target",),
)
CIRCUIT_CHANGES = Family(
    "request_callout_circuit_changes_total",
    "counter",
    "Changes of circuit breakers to this state.",
    ("target", "state"),
    open=("target",),
)
TOKEN_REQUESTS = Family(
    "request_callout_token_requests_total",
    "counter",
    "Requests for OAuth 2.0 tokens, by outcome.",
    ("target", "outcome"),
    open=("target",),
)
REDIS_FAILURES = Family(
    "request_callout_redis_failures_total",
    "counter",
    "What went wrong with a Redis: down, writes (it takes none), command, value (one that can't be used).",
    ("target", "kind"),
    open=("target",),
)
REDIS_DOWN = Family(
    "request_callout_redis_down",
    "gauge",
    "Workers in which a Redis is not used because it failed.",
    ("target",),
    open=("target",),
)
WORKERS = Family("request_callout_workers", "gauge", "Workers that take requests.")
WORKERS_WANTED = Family("request_callout_workers_wanted", "gauge", "Workers there should be (--workers).")
WORKER_RESTARTS = Family(
    "request_callout_worker_restarts_total", "counter", "Workers that ended without being told to, and were replaced."
)
WORKER_CPU = Family("request_callout_worker_cpu_seconds_total", "counter", "CPU time of a worker.", ("worker",))
WORKER_MEMORY = Family("request_callout_worker_resident_memory_bytes", "gauge", "Memory of a worker.", ("worker",))
CONFIGURATIONS = Family(
    "request_callout_configurations", "gauge", "Plugin configurations that Kong has started and may still use."
)
TRACES_DROPPED = Family(
    "request_callout_trace_records_dropped_total", "counter", "Traces that were not taken because too many came."
)
START_TIME = Family(
    "request_callout_start_time_seconds", "gauge", "When the server was started, in seconds since the epoch."
)
BUILD = Family("request_callout_build_info", "gauge", "Which version runs.", ("version", "python", "compiled"))

FAMILIES = {
    family.name: family
    for family in (
        *(EVENTS, EVENT_SECONDS, EVENTS_IN_FLIGHT, CALLOUTS, ELEMENTS, CALLOUT_SECONDS),
        *(ATTEMPTS, ATTEMPT_SECONDS, ATTEMPTS_IN_FLIGHT, RETRIES, CACHE, REFRESHES),
        *(SCRIPT_ERRORS, CIRCUITS, CIRCUIT_CHANGES, TOKEN_REQUESTS, REDIS_FAILURES, REDIS_DOWN),
        *(WORKERS, WORKERS_WANTED, WORKER_RESTARTS, LOST, WORKER_CPU, WORKER_MEMORY),
        *(CONFIGURATIONS, TRACES_DROPPED, START_TIME, BUILD),
    )
}
