"""An HTTP client alone: CPU time and latency of the call that the token-injection case makes.

Run as a process of its own, so that only the client is counted: ``python -m bench.client KIND URL CALLS AT_ONCE``
prints ``{"cpu_us": ..., "p50_us": ..., "calls_per_s": ...}``. Kinds: ``transport`` (this package's),
``geventhttpclient``, ``requests``.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import gevent

BODY = b'{"grant_type":"client_credentials","client_secret":"0123456789abcdef"}'
_HEADERS = [("Content-Type", "application/json"), ("User-Agent", "kong/request-callout")]


def caller(kind: str, url: str) -> Callable[[], object]:
    """A function that makes one call."""
    if kind == "transport":
        from request_callout.config.settings import TransportSettings
        from request_callout.transport import OutgoingRequest, Transport

        transport = Transport(TransportSettings())
        return lambda: transport.send(
            OutgoingRequest("POST", url, _HEADERS, BODY, 60.0, 60.0, 60.0, time.monotonic() + 55.0)
        )
    if kind == "geventhttpclient":
        from geventhttpclient import HTTPClient

        parts = urlsplit(url)
        client = HTTPClient(parts.hostname or "", parts.port, concurrency=64)

        def call() -> None:
            response = client.post(parts.path, body=BODY, headers=dict(_HEADERS))
            response.read()
            response.release()

        return call
    import requests

    session = requests.Session()
    return lambda: session.post(url, data=BODY, headers=dict(_HEADERS), timeout=60).content


def main(kind: str, url: str, calls: int, at_once: int) -> None:
    """Measure and print."""
    call = caller(kind, url)
    times: list[float] = []

    def several() -> None:
        for _ in range(calls // at_once):
            started = time.perf_counter()
            call()
            times.append(time.perf_counter() - started)

    def all_at_once() -> None:
        gevent.joinall([gevent.spawn(several) for _ in range(at_once)], raise_error=True)

    all_at_once()
    times.clear()
    cpu, started = time.process_time(), time.perf_counter()
    all_at_once()
    cpu, took = time.process_time() - cpu, time.perf_counter() - started
    figures = {
        "cpu_us": cpu / len(times) * 1e6,
        "p50_us": statistics.median(times) * 1e6,
        "calls_per_s": len(times) / took,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
