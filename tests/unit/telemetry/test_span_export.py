"""The queue of spans when the exporter fails or stands still, and what is told of it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import gevent
import pytest
from gevent.event import Event

from request_callout.telemetry import span_export
from request_callout.telemetry.span_export import SdkLog, SpanQueue


class Told:
    """An exporter that keeps its batches; it loses as many as it is told, and waits while it may not go on."""

    def __init__(self, answer: int | Exception = 0) -> None:
        self.answer = answer
        self.batches: list[str] = []
        self.may_go_on = Event()
        self.may_go_on.set()
        self.is_over = False

    def export(self, spans: Sequence[bytes]) -> int:
        self.batches.append(b"".join(spans).decode())
        self.may_go_on.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def shutdown(self) -> None:
        self.is_over = True


def test_full_batches_go_at_once_and_the_rest_at_the_end() -> None:
    """Nothing waits for the delay that makes a batch; the end exports what is left, in batches."""
    exporter = Told()
    queue = SpanQueue(exporter, longest=10, batch=3, delay_s=3600)
    for span in "abcd":
        queue.on_end(span.encode())
    while not exporter.batches:
        gevent.sleep(0)
    assert exporter.batches == ["abc"]
    for span in "ef":
        queue.on_end(span.encode())
    while len(exporter.batches) < 2:
        gevent.sleep(0)
    queue.on_end(b"g")
    queue.shutdown()
    assert exporter.batches == ["abc", "def", "g"]
    assert exporter.is_over


def test_an_end_without_spans() -> None:
    """A queue that never had a span ends as well."""
    exporter = Told()
    SpanQueue(exporter, longest=10, batch=3, delay_s=3600).shutdown()
    assert (exporter.batches, exporter.is_over) == ([], True)


@pytest.mark.parametrize("answer", [2, RuntimeError("s3cret")])
def test_what_could_not_be_exported_is_counted_and_told_once(
    caplog: pytest.LogCaptureFixture, answer: int | Exception
) -> None:
    """Each lost span counts, an exporter that raises loses a batch and goes on; its words are not repeated."""
    exporter = Told(answer)
    queue = SpanQueue(exporter, longest=10, batch=2, delay_s=3600)
    for span in "abcde":
        queue.on_end(span.encode())
    queue.shutdown()
    assert exporter.batches == ["ab", "cd", "e"]
    assert [record.getMessage() for record in caplog.records if record.levelno > logging.DEBUG] == [
        "spans could not be exported, 2 spans are lost so far"
    ]
    assert "s3cret" not in caplog.text


def test_the_end_waits_for_a_moment_only(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """An exporter that stands still does not hold up the end of the worker; what it leaves is counted."""
    monkeypatch.setattr(span_export, "LONGEST_FLUSH_S", 0.01)
    exporter = Told()
    exporter.may_go_on.clear()
    queue = SpanQueue(exporter, longest=10, batch=2, delay_s=3600)
    for span in "abcde":
        queue.on_end(span.encode())
    gevent.sleep(0)
    queue.shutdown()
    assert exporter.batches == ["ab"]
    assert exporter.is_over
    assert caplog.messages == ["ended with 5 spans that could not be exported"]


@pytest.fixture
def sdk() -> Iterator[logging.Logger]:
    """The logger of OpenTelemetry, as it was before, afterwards."""
    logger = logging.getLogger("opentelemetry")
    quiet = [logger.getChild(name) for name in ("trace", "baggage", "propagators")]
    before = logger.handlers[:], logger.propagate, [one.level for one in quiet]
    yield logger
    logger.handlers[:], logger.propagate = before[0], before[1]
    for one, level in zip(quiet, before[2], strict=True):
        one.setLevel(level)


def test_what_the_sdk_says(sdk: logging.Logger, caplog: pytest.LogCaptureFixture) -> None:
    """Each kind of line once, without secrets; what is about the headers of a client goes nowhere."""
    SdkLog(["s3cret"]).take_over()
    for number in range(3):
        sdk.getChild("sdk.resources").warning("wrong: %s %d", "s3cret", number)
    sdk.getChild("sdk.trace").warning("another")
    sdk.getChild("sdk.trace").info("too fine")
    for name in ("trace.span", "trace.propagation.tracecontext", "baggage.propagation", "propagators.b3"):
        sdk.getChild(name).warning("Invalid: %s", "what the client wrote")
    assert caplog.messages == ["OpenTelemetry: wrong: *** 0", "OpenTelemetry: another"]
