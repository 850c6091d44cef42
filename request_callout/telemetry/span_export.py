"""Spans on their way to a collector (OTLP over HTTP): a queue of bounded length, and a greenlet that empties it.

OpenTelemetry's own batch processor does this with threads of its own; here nothing may hold up the loop that requests
run on. A request never waits: what finds the queue full is counted and dropped. What goes wrong is told once a minute,
without the exporter's headers and credentials.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from typing import Protocol

import gevent
from gevent.event import Event

from request_callout.engine.occasional import Occasional

LONGEST_FLUSH_S = 1.5
"""How long the end of a worker may take for what is still in the queue; the supervisor grants 2 seconds."""

_log = logging.getLogger(__name__)


class Exporter(Protocol):
    """Takes batches of packed spans to where they are wanted."""

    def export(self, spans: Sequence[bytes]) -> int:
        """Bring a batch away; may wait. Gives how many of its spans are lost."""

    def shutdown(self) -> None:
        """Nothing follows."""


class SpanQueue:
    """Takes spans that have ended and exports them: a full batch at once, any other after ``delay_s``."""

    def __init__(self, exporter: Exporter, longest: int, batch: int, delay_s: float) -> None:
        self._exporter = exporter
        self._longest = longest
        self._batch = batch
        self._delay_s = delay_s
        self._waiting: deque[bytes] = deque()
        self._wake = Event()
        self._closing = False
        self._lost = 0
        self._under_way = 0
        self._lines = Occasional()
        self._worker: gevent.Greenlet[[], None] | None = None

    def on_end(self, span: bytes) -> None:
        """Queue a span."""
        waiting = self._waiting
        if len(waiting) >= self._longest:
            self._lost += 1
            if self._lines.due("full"):
                _log.warning(
                    "the queue of %d spans is full, %d spans are lost so far: the collector is too slow or not there",
                    *(self._longest, self._lost),
                )
            return
        waiting.append(span)
        if self._worker is None:
            self._worker = gevent.spawn(self._run)
        if len(waiting) >= self._batch:
            self._wake.set()

    def shutdown(self) -> None:
        """Export what is left, within ``LONGEST_FLUSH_S``."""
        self._closing = True
        self._wake.set()
        worker = self._worker
        if worker is not None:
            worker.join(LONGEST_FLUSH_S)
            if not worker.ready():
                worker.kill(block=False)
        left = len(self._waiting) + self._under_way
        if left:
            _log.warning("ended with %d spans that could not be exported", left)
        self._exporter.shutdown()

    def _run(self) -> None:
        while True:
            if len(self._waiting) < self._batch and not self._closing:
                self._wake.clear()
                self._wake.wait(self._delay_s)
            if self._waiting:
                self._export()
            elif self._closing:
                return

    def _export(self) -> None:
        waiting = self._waiting
        spans = [waiting.popleft() for _ in range(min(self._batch, len(waiting)))]
        self._under_way = len(spans)
        try:
            lost = self._exporter.export(spans)
        except Exception as error:  # an exporter that raises is a collector that is not there
            _log.debug("the exporter raised %s", type(error).__name__)
            lost = len(spans)
        self._under_way = 0
        if lost:
            self._lost += lost
            if self._lines.due("failed"):
                _log.warning("spans could not be exported, %d spans are lost so far", self._lost)
        gevent.sleep(0)


class SdkLog(logging.Handler):
    """What OpenTelemetry's own code has to say: each kind of line once a minute, without ``secrets``."""

    def __init__(self, secrets: Sequence[str]) -> None:
        super().__init__(logging.WARNING)
        self._secrets = secrets
        self._lines = Occasional()

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a line on."""
        if self._lines.due(str(record.msg)[:100]):
            line = record.getMessage()
            for secret in self._secrets:
                line = line.replace(secret, "***")
            _log.warning("OpenTelemetry: %s", line)

    def take_over(self) -> None:
        """Be the only handler of OpenTelemetry's lines; those of the HTTP client, which have URLs, go nowhere.

        Nor do those about headers that make no sense: they quote them, and clients write them.
        """
        logger = logging.getLogger("opentelemetry")
        logger.handlers[:] = [self]
        logger.propagate = False
        for name in ("trace", "baggage", "propagators"):
            logger.getChild(name).setLevel(logging.ERROR)
        logging.getLogger("urllib3").setLevel(logging.ERROR)
