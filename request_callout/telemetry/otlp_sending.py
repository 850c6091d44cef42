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
from requests.utils import get_auth_from_url
from urllib3.exceptions import HTTPError

from request_callout import __version__
from request_callout.engine.occasional import Occasional
from request_callout.engine.retrying import retry_after_s
from request_callout.telemetry.otlp import Batches, rejected_spans

COMPRESSIONS: Mapping[str, Callable[[bytes], bytes] | None] = {
    "none": None,
    "gzip": gzip.compress,
    "deflate": zlib.compress,
}

_PROTOBUF = "application/x-protobuf"
_HEADERS = {
    "Content-Type": _PROTOBUF,
    "User-Agent": f"kong-request-callout/{__version__}",
    "Accept-Encoding": "identity",
}
_MOST_OF_AN_ANSWER = 65536
_SHORTEST_S = 0.001
_PASSING = frozenset({429, 502, 503, 504})
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Target:
    """Where a collector is and how it is reached; the names are those of files, ``verify`` True: what is usual."""

    url: str
    headers: Mapping[str, bytes]
    timeout_s: float
    compression: str = "none"
    verify: str | bool = True
    certificate: str | tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why an attempt failed, whether another may not, after which time the collector wants it (0: not said).

    ``lost`` is how many spans the collector did not take, None for the whole batch.
    """

    what: str
    may_pass: bool = False
    asked_s: float = 0.0
    lost: int | None = None


class Collector:
    """Sends packed spans; the pause before a further attempt is twice that before the last."""

    def __init__(self, target: Target, batches: Batches, first_pause_s: float = 1.0) -> None:
        self._target = target
        self._first_pause_s = first_pause_s
        self._batches = batches
        self._compress = COMPRESSIONS[target.compression]
        self._headers: dict[str, str | bytes] = {**_HEADERS, **target.headers}
        if self._compress is not None:
            self._headers["Content-Encoding"] = target.compression
        self._session = requests.Session()
        # Without, requests takes what ~/.netrc has for the host, in place of the header that was given.
        of_url = get_auth_from_url(target.url)
        self._session.auth = of_url if any(of_url) else lambda request: request
        self._lines = Occasional()

    def export(self, spans: Sequence[bytes]) -> int:
        """Send a batch; takes no longer than the time for one. Gives how many of its spans are lost."""
        data = self._batches.packed(spans)
        if self._compress is not None:  # takes long enough for requests to notice
            data = gevent.get_hub().threadpool.apply(self._compress, (data,))
        deadline = time.monotonic() + self._target.timeout_s
        pause_s = self._first_pause_s
        while True:
            failure = self._post(data, max(deadline - time.monotonic(), _SHORTEST_S))
            if failure is None:
                return 0
            wait_s = failure.asked_s or pause_s * random.uniform(0.8, 1.2)  # noqa: S311 (no secret)
            if not failure.may_pass or time.monotonic() + wait_s >= deadline:
                lost = len(spans) if failure.lost is None else min(failure.lost, len(spans))
                if self._lines.due(failure.what):
                    _log.warning("the collector did not take %d of %d spans: %s", lost, len(spans), failure.what)
                return lost
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
                    body = _beginning(answer)
        except (requests.RequestException, OSError) as error:
            may_pass = isinstance(error, (requests.ConnectionError, requests.Timeout))
            return _Failure(_reason(error), may_pass)
        if not 200 <= answer.status_code < 300:
            asked_s = retry_after_s({"retry-after": answer.headers.get("Retry-After", "")}, time.time())
            return _Failure(f"status {answer.status_code}", answer.status_code in _PASSING, asked_s)
        lost = rejected_spans(body) if answer.headers.get("Content-Type") == _PROTOBUF else 0
        return _Failure("its own log may say why", lost=lost) if lost else None


def _beginning(answer: requests.Response) -> bytes:
    """To the end, as a rule: the connection is kept then. The status counts, whatever comes of the rest."""
    try:
        return bytes(answer.raw.read(_MOST_OF_AN_ANSWER))
    except HTTPError:
        return b""


def _reason(error: BaseException) -> str:
    """The innermost reason, as the system says it: what is around it has the URL, and what may be in that."""
    inner = error
    while inner.__cause__ or inner.__context__:
        inner = inner.__cause__ or inner.__context__ or inner
    return getattr(inner, "strerror", None) or f"{type(error).__name__} ({type(inner).__name__})"
