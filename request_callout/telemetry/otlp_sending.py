"""Batches of spans on their way by HTTP, as OTLP wants it: what may pass is tried again, as long as there is time.

https://opentelemetry.io/docs/specs/otlp/#otlphttp
"""

from __future__ import annotations

import gzip
import logging
import random
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import gevent
import requests
from opentelemetry.sdk.trace.export import SpanExportResult
from urllib3.exceptions import HTTPError

from request_callout import __version__
from request_callout.engine.occasional import Occasional
from request_callout.engine.retrying import retry_after_s
from request_callout.telemetry.otlp import Batches

COMPRESSIONS: Mapping[str, Callable[[bytes], bytes] | None] = {
    "none": None,
    "gzip": gzip.compress,
    "deflate": zlib.compress,
}

_HEADERS = {"Content-Type": "application/x-protobuf", "User-Agent": f"kong-request-callout/{__version__}"}
_MOST_OF_AN_ANSWER = 65536
_PASSING = frozenset({429, 502, 503, 504})
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Target:
    """Where a collector is and how it is reached; the names are those of files, ``verify`` True: what is usual."""

    url: str
    headers: Mapping[str, str]
    timeout_s: float
    compression: str = "none"
    verify: str | bool = True
    certificate: str | tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why an attempt failed, whether another may not, and after which time the collector wants it (0: not said)."""

    what: str
    may_pass: bool
    asked_s: float = 0.0


class Collector:
    """Sends packed spans; the pause before a further attempt is twice that before the last."""

    def __init__(self, target: Target, batches: Batches, first_pause_s: float = 1.0) -> None:
        self._target = target
        self._first_pause_s = first_pause_s
        self._batches = batches
        self._compress = COMPRESSIONS[target.compression]
        self._headers = {**_HEADERS, **target.headers}
        if self._compress is not None:
            self._headers["Content-Encoding"] = target.compression
        self._session = requests.Session()
        self._lines = Occasional()

    def export(self, spans: Sequence[bytes]) -> SpanExportResult:
        """Send a batch; takes no longer than the time for one."""
        data = self._batches.packed(spans)
        if self._compress is not None:
            data = self._compress(data)
        deadline = time.monotonic() + self._target.timeout_s
        pause_s = self._first_pause_s
        while True:
            failure = self._post(data, deadline - time.monotonic())
            if failure is None:
                return SpanExportResult.SUCCESS
            wait_s = failure.asked_s or pause_s * random.uniform(0.8, 1.2)  # noqa: S311 (no secret)
            if not failure.may_pass or time.monotonic() + wait_s >= deadline:
                if self._lines.due(failure.what):
                    _log.warning("the collector did not take a batch of spans: %s", failure.what)
                return SpanExportResult.FAILURE
            gevent.sleep(wait_s)
            pause_s *= 2

    def shutdown(self) -> None:
        """Nothing more is sent."""
        self._session.close()

    def _post(self, data: bytes, timeout_s: float) -> _Failure | None:
        """Try once; None: it got there."""
        target = self._target
        try:
            # The one of requests is for each piece that comes; what is no collector may send pieces without end.
            with gevent.Timeout(timeout_s, requests.Timeout):
                answer = self._session.post(
                    target.url,
                    data,
                    headers=self._headers,
                    timeout=timeout_s,
                    allow_redirects=False,
                    verify=target.verify,
                    cert=target.certificate,
                    stream=True,
                )
                with answer:
                    answer.raw.read(_MOST_OF_AN_ANSWER)  # to the end, as a rule: the connection is kept then
        except (requests.RequestException, HTTPError, OSError) as error:
            may_pass = isinstance(error, (requests.ConnectionError, requests.Timeout))
            return _Failure(type(error).__name__, may_pass=may_pass)
        if 200 <= answer.status_code < 300:
            return None
        asked_s = retry_after_s({"retry-after": answer.headers.get("Retry-After", "")}, time.time())
        return _Failure(f"status {answer.status_code}", answer.status_code in _PASSING, asked_s)
