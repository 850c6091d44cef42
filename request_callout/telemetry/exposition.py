"""What all processes have counted, as text for Prometheus (and OpenMetrics), and whether the server is well."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from request_callout import values as shared
from request_callout.telemetry.families import BUILD, FAMILIES, WORKERS
from request_callout.telemetry.shared_values import BUCKETS_S, Family, SharedValues

_PLAIN = [("Content-Type", "text/plain; charset=utf-8")]
_JSON = [("Content-Type", "application/json")]


class Exposition(Collector):
    """A WSGI application with ``/metrics`` and ``/healthz``; ``values`` are those of all processes."""

    def __init__(self, values: Sequence[SharedValues], version: str) -> None:
        self._values = values
        build = "no" if shared.__file__.endswith(".py") else "yes"
        self._build = (version, platform.python_version(), build)
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def describe(self) -> Iterable[Metric]:
        """Nothing: what there is comes with ``collect``."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All families, the values of all processes added up."""
        sums = self._sums()
        sums[BUILD.name] = {self._build: (1.0,)}
        for family in FAMILIES.values():
            yield _metric(family, sums[family.name])

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer a request; one with HEAD without the body."""
        status, headers, body = self._answer(environ)
        start_response(status, [*headers, ("Content-Length", str(len(body)))])
        return () if environ.get("REQUEST_METHOD") == "HEAD" else (body,)

    def _answer(self, environ: dict[str, Any]) -> tuple[str, list[tuple[str, str]], bytes]:
        path = environ.get("PATH_INFO", "")
        if path not in ("/metrics", "/healthz"):
            return "404 Not Found", _PLAIN, b"/metrics or /healthz\n"
        if environ.get("REQUEST_METHOD") not in ("GET", "HEAD"):
            return "405 Method Not Allowed", [*_PLAIN, ("Allow", "GET, HEAD")], b"GET or HEAD\n"
        if path == "/healthz":
            return self._health()
        encode, content_type = choose_encoder(environ.get("HTTP_ACCEPT", ""))
        return "200 OK", [("Content-Type", content_type)], encode(self._registry)

    def _health(self) -> tuple[str, list[tuple[str, str]], bytes]:
        workers = int(sum(self._sums()[WORKERS.name].get((), (0.0,))))
        told = json.dumps({"status": "ok" if workers else "down", "workers": workers}).encode() + b"\n"
        return "200 OK" if workers else "503 Service Unavailable", _JSON, told

    def _sums(self) -> dict[str, dict[tuple[str, ...], tuple[float, ...]]]:
        sums: dict[str, dict[tuple[str, ...], tuple[float, ...]]] = {name: {} for name in FAMILIES}
        for values in self._values:
            for series in values.read(FAMILIES):
                found = sums[series.family]
                before = found.get(series.labels)
                added = series.values if before is None else tuple(map(sum, zip(before, series.values, strict=True)))
                found[series.labels] = added
        return sums


def _metric(family: Family, found: dict[tuple[str, ...], tuple[float, ...]]) -> Metric:
    if family.kind == "histogram":
        histogram = HistogramMetricFamily(family.name, family.help, labels=family.labels)
        for labels, values in found.items():
            histogram.add_metric(labels, _buckets(values), values[-1])
        return histogram
    kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric = kind(family.name, family.help, labels=family.labels)
    for labels, values in found.items():
        metric.add_metric(labels, values[0])
    return metric


def _buckets(values: tuple[float, ...]) -> list[tuple[str, float]]:
    """The counts of all observations up to each bound."""
    count = 0.0
    buckets = []
    for bound, value in zip([*map(str, BUCKETS_S), "+Inf"], values[:-1], strict=True):
        count += value
        buckets.append((bound, count))
    return buckets
