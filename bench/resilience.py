"""The parts of the benchmark about services in trouble: an outage, and a long tail."""

from __future__ import annotations

import json
import statistics
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bench import cases
from bench.processes import Measured, plugin_server, running
from bench.report import Part
from bench.steady import Ended, SteadyLoad

_PER_S = 200
_BEFORE_S = 1.0
_SLICE_S = 0.25
_WELL = 0.99

_ERROR = {"http_statuses": [503], "retries": 2, "error_response_code": 502}
_BACKOFF = {"backoff": {"initial_ms": 100, "max_ms": 1000, "factor": 2}}
_BREAKER = {"failure_rate": 50, "min_requests": 20, "window_ms": 1000, "open_ms": 500, "half_open_probes": 5}
_TIMEOUTS = {"connect": 1000, "write": 1000, "read": 1000}


@contextmanager
def troubled() -> Iterator[Measured]:
    """The service in trouble; its address is a URL."""
    with running([sys.executable, "-m", "bench.troubled"]) as process:
        assert process.stdout is not None
        yield Measured(process.pid, f"http://127.0.0.1:{process.stdout.readline().strip()}")


def _config(url: str, **request: Any) -> dict[str, Any]:
    return {**cases.SCOPE, "callouts": [{"name": "a", "request": {"url": url, **request}}]}


def outage_of_callee(rounds: int, *, long: bool = False) -> Part:
    """What a service that fails for a while is asked for meanwhile, and how soon all is well after it."""
    out_s, after_s = (10.0, 12.0) if long else (3.0, 4.0)
    part = Part(f"i. A callee that fails for {out_s:.0f} s, under {_PER_S} requests/s; it can do 300/s")
    policies: dict[str, dict[str, Any]] = {
        "no retries": {"error": {**_ERROR, "retries": 0}},
        "2 retries at once": {"error": _ERROR},
        "2 retries, backoff": {"error": {**_ERROR, **_BACKOFF}},
        "2 retries, backoff, circuit breaker": {"error": {**_ERROR, **_BACKOFF}, "circuit_breaker": _BREAKER},
    }
    found: dict[str, list[dict[str, float]]] = {name: [] for name in policies}
    for _ in range(min(rounds, 3)):
        for name, policy in policies.items():
            found[name].append(_outage(policy, out_s, after_s))
    figures = {
        name: {one: statistics.median(run[one] for run in runs) for one in runs[0]} for name, runs in found.items()
    }
    for name, row in figures.items():
        part.add(name, **row, to_at_once_ratio=row["sent_while_out"] / figures["2 retries at once"]["sent_while_out"])
    part.note = (
        f"recovery: from the end of the outage until {_WELL:.0%} of the requests of each quarter of a second succeed, "
        f"for good; {after_s:.0f} s if never. failed p50: how long a client waited for its error during the outage."
    )
    return part


def _outage(policy: dict[str, Any], out_s: float, after_s: float) -> dict[str, float]:
    counts: list[dict[str, int]] = []
    with troubled() as service, plugin_server("--workers", "1", quiet=True) as ours:
        config = _config(f"{service.address}/work", http_opts={"timeouts": _TIMEOUTS}, **policy)
        load = SteadyLoad(ours, config, cases.RESULTS)
        at = {
            _BEFORE_S: lambda: _tell(f"{service.address}/outage/{out_s * 1000:.0f}"),
            _BEFORE_S + out_s: lambda: counts.append(_tell(f"{service.address}/counts")),
        }
        ended = load.run(_PER_S, _BEFORE_S + out_s + after_s, at)
        load.close()
    over_s = _BEFORE_S + out_s
    during = [one for one in ended if one.failed and _BEFORE_S <= one.due_s < over_s]
    return {
        "sent_while_out": counts[0]["while_out"],
        "sent_per_s": counts[0]["while_out"] / out_s,
        "failed_p50_ms": statistics.median(one.took_s for one in during) * 1000,
        "failed_after": sum(one.failed for one in ended if one.due_s >= over_s),
        "recovery_ms": _recovery_s(ended, over_s, after_s) * 1000,
    }


def _recovery_s(ended: list[Ended], over_s: float, after_s: float) -> float:
    """How long after the outage the last slice ended in which not all was well."""
    recovered = 0.0
    for number in range(int(after_s / _SLICE_S)):
        begins = over_s + number * _SLICE_S
        of_slice = [one for one in ended if begins <= one.due_s < begins + _SLICE_S]
        if sum(not one.failed for one in of_slice) < _WELL * len(of_slice):
            recovered = (number + 1) * _SLICE_S
    return recovered


def _tell(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


def hedging(rounds: int) -> Part:
    """A service of which one answer in a hundred takes half a second, with and without a second attempt."""
    part = Part("j. A callee with 1 % of its answers at 500 ms, 500 requests/s")
    kinds: dict[str, dict[str, Any]] = {"without hedging": {}, "hedge_after_ms: 30": {"hedge_after_ms": 30}}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in kinds}
    with troubled() as service, plugin_server("--workers", "1") as ours:
        loads = {name: SteadyLoad(ours, _config(f"{service.address}/tail", **kind), {}) for name, kind in kinds.items()}
        for load in loads.values():
            load.run(200, 1)
        for _ in range(rounds):
            for name, load in loads.items():
                before = _tell(f"{service.address}/counts")["asked"]
                times = sorted(one.took_s * 1000 for one in load.run(500, 4))
                sent = _tell(f"{service.address}/counts")["asked"] - before
                found[name].append(
                    {
                        "p50_ms": _quantile(times, 0.5),
                        "p98_5_ms": _quantile(times, 0.985),
                        "p99_ms": _quantile(times, 0.99),
                        "p99_5_ms": _quantile(times, 0.995),
                        "p99_9_ms": _quantile(times, 0.999),
                        "over_100_ms_percent": 100 * sum(one > 100 for one in times) / len(times),
                        "sent_ratio": sent / len(times),
                    }
                )
        for load in loads.values():
            load.close()
    for name, runs in found.items():
        part.add(name, **{one: statistics.median(run[one] for run in runs) for one in runs[0]})
    part.note = (
        "sent: requests that reached the callee for each of the clients'. With 1 % slow answers p99 is at the edge."
    )
    return part


def _quantile(ordered: list[float], share: float) -> float:
    """The nearest rank above."""
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]
