"""Batches of spans over real HTTP: what a collector gets, what is tried again, and what is not."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import pytest
from opentelemetry.sdk.trace.export import SpanExportResult

from request_callout.telemetry import otlp
from request_callout.telemetry.otlp import Batches
from request_callout.telemetry.otlp_sending import Collector, Target
from tests.conformance.callee import Callee, Reply

BATCHES = Batches({"service.name": "shop"}, "", ("request_callout", "1"))
SPAN = otlp.Span(b"1" * 16, b"2" * 8, "", None, otlp.named("a", otlp.INTERNAL), 1, 2).packed()
DONE, FAILED = SpanExportResult.SUCCESS, SpanExportResult.FAILURE


def target(callee: Callee, timeout_s: float = 30.0, compression: str = "none") -> Target:
    return Target(f"{callee.url}/v1/traces", {"api-key": "mine"}, timeout_s, compression)


@pytest.mark.parametrize(
    ("compression", "unpacked"), [("none", bytes), ("gzip", gzip.decompress), ("deflate", zlib.decompress)]
)
def test_a_batch_is_one_request(callee: Callee, compression: str, unpacked: Callable[[bytes], bytes]) -> None:
    """Its body is the batch, compressed as wanted, and it has the headers of OTLP and those of the variables."""
    assert Collector(target(callee, compression=compression), BATCHES).export([SPAN, SPAN]) is DONE
    request = callee.one("/v1/traces")
    assert unpacked(request.body) == BATCHES.packed([SPAN, SPAN])
    assert (request.header("content-type"), request.header("api-key")) == ("application/x-protobuf", "mine")
    assert request.header("content-encoding") == (None if compression == "none" else compression)


@pytest.mark.parametrize("passing", [Reply(503), Reply(429), Reply(drop=True)], ids=["503", "429", "no answer"])
def test_what_may_pass_is_tried_again(callee: Callee, caplog: pytest.LogCaptureFixture, passing: Reply) -> None:
    """A collector that is restarted, or busy for a moment, loses nothing, and nobody hears of it."""
    callee.on("/v1/traces", passing, passing, Reply(200))
    assert Collector(target(callee), BATCHES, first_pause_s=0.001).export([SPAN]) is DONE
    assert len(callee.received("/v1/traces")) == 3
    assert caplog.records == []


@pytest.mark.parametrize("status", [400, 401, 307])
def test_what_does_not_pass_is_told(callee: Callee, caplog: pytest.LogCaptureFixture, status: int) -> None:
    """A refusal is final, and a redirection is one: the headers are for this collector only. The log has the status."""
    callee.on("/v1/traces", Reply(status, headers=(("Location", f"{callee.url}/other"),)))
    collector = Collector(target(callee), BATCHES)
    assert [collector.export([SPAN]) for _ in range(3)] == [FAILED] * 3
    assert len(callee.received()) == 3
    assert [record.getMessage() for record in caplog.records] == [
        f"the collector did not take a batch of spans: status {status}"
    ]


def test_there_is_no_further_attempt_than_there_is_time_for(callee: Callee) -> None:
    """A collector that asks to wait longer than a batch may take has refused it."""
    callee.on("/v1/traces", Reply(503, headers=(("Retry-After", "60"),)))
    assert Collector(target(callee), BATCHES).export([SPAN]) is FAILED
    assert len(callee.received()) == 1


def test_of_an_answer_without_end_only_the_beginning_is_read(callee: Callee) -> None:
    """What is no collector, but a stream, can't fill the memory: the status is all that is wanted."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n"
    callee.on("/v1/traces", Reply(raw=head + b"x" * (1 << 20)))
    assert Collector(target(callee, timeout_s=1.0), BATCHES).export([SPAN]) is DONE
    assert len(callee.received()) == 1
