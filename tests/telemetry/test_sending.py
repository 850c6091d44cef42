"""Batches of spans over real HTTP: what a collector gets, what is tried again, and what is not."""

from __future__ import annotations

import gzip
import itertools
import logging
import ssl
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import gevent
import pytest
import trustme
from gevent import monkey
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)

from request_callout.telemetry import otlp, otlp_sending
from request_callout.telemetry.otlp import Batches
from request_callout.telemetry.otlp_sending import COMPRESSIONS, Collector, Target
from request_callout.telemetry.span_export import SdkLog
from tests.conformance.callee import PATIENCE_S, Callee, Reply

PROTOBUF = (("Content-Type", "application/x-protobuf"),)
BATCHES = Batches({"service.name": "shop"}, "", ("request_callout", "1"))
SPAN = otlp.Span(b"1" * 16, b"2" * 8, "", None, otlp.named("a", otlp.INTERNAL), 1, 2).packed()


def target(callee: Callee, timeout_s: float = 30.0, compression: str = "none") -> Target:
    return Target(f"{callee.url}/v1/traces", {"api-key": b"mine"}, timeout_s, compression)


@pytest.mark.parametrize(
    ("compression", "unpacked"), [("none", bytes), ("gzip", gzip.decompress), ("deflate", zlib.decompress)]
)
def test_a_batch_is_one_request(callee: Callee, compression: str, unpacked: Callable[[bytes], bytes]) -> None:
    """Its body is the batch, compressed as wanted, and it has the headers of OTLP and those of the variables."""
    assert Collector(target(callee, compression=compression), BATCHES).export([SPAN, SPAN]) == 0
    request = callee.one("/v1/traces")
    assert unpacked(request.body) == BATCHES.packed([SPAN, SPAN])
    assert (request.header("content-type"), request.header("api-key")) == ("application/x-protobuf", "mine")
    assert request.header("content-encoding") == (None if compression == "none" else compression)


@pytest.mark.parametrize(
    "passing", [*map(Reply, (429, 502, 503, 504)), Reply(drop=True)], ids=["429", "502", "503", "504", "no answer"]
)
def test_what_may_pass_is_tried_again(callee: Callee, caplog: pytest.LogCaptureFixture, passing: Reply) -> None:
    """A collector that is restarted, or busy for a moment, loses nothing, and nobody hears of it."""
    callee.on("/v1/traces", passing, passing, Reply(200))
    assert Collector(target(callee), BATCHES, first_pause_s=0.001).export([SPAN]) == 0
    assert len(callee.received("/v1/traces")) == 3
    assert caplog.records == []


def test_pauses_grow_unless_the_collector_asks_for_another(callee: Callee, monkeypatch: pytest.MonkeyPatch) -> None:
    """About 1 s, 2 s, 4 s, each worker's a little different; ``Retry-After`` counts instead."""
    asking = Reply(429, headers=(("Retry-After", "7"),))
    callee.on("/v1/traces", Reply(503), Reply(drop=True), asking, Reply(503), Reply(200))
    pauses: list[float] = []
    monkeypatch.setattr(otlp_sending, "gevent", SimpleNamespace(sleep=pauses.append, Timeout=gevent.Timeout))
    assert Collector(target(callee), BATCHES).export([SPAN]) == 0
    assert pauses[2] == 7
    assert pauses == pytest.approx([1, 2, 7, 8], rel=0.2)


@pytest.mark.parametrize("status", [400, 401, 307])
def test_what_does_not_pass_is_told(callee: Callee, caplog: pytest.LogCaptureFixture, status: int) -> None:
    """A refusal is final, and a redirection is one: the headers are for this collector only. The log has the status."""
    callee.on("/v1/traces", Reply(status, headers=(("Location", f"{callee.url}/other"),)))
    collector = Collector(target(callee), BATCHES)
    assert [collector.export([SPAN, SPAN]) for _ in range(3)] == [2] * 3
    assert len(callee.received()) == 3
    assert [record.getMessage() for record in caplog.records] == [
        f"the collector did not take 2 of 2 spans: status {status}"
    ]


def test_there_is_no_further_attempt_than_there_is_time_for(callee: Callee) -> None:
    """A collector that asks to wait longer than a batch may take has refused it."""
    callee.on("/v1/traces", Reply(503, headers=(("Retry-After", "60"),)))
    assert Collector(target(callee), BATCHES).export([SPAN]) == 1
    assert len(callee.received()) == 1


def test_of_an_answer_without_end_only_the_beginning_is_read(callee: Callee) -> None:
    """What is no collector, but a stream, can't fill the memory: the status is all that is wanted."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n"
    callee.on("/v1/traces", Reply(raw=head + b"x" * (1 << 20)))
    assert Collector(target(callee, timeout_s=1.0), BATCHES).export([SPAN]) == 0
    assert len(callee.received()) == 1


@pytest.mark.parametrize(("rejected", "lost"), [(2, 2), (1 << 40, 3), (-1, 3)], ids=["some", "too many", "negative"])
def test_what_a_collector_takes_in_part_is_told(
    callee: Callee, caplog: pytest.LogCaptureFixture, rejected: int, lost: int
) -> None:
    """A 200 may reject some of the spans: they are lost, and nothing that the answer says gets into the log."""
    partial = ExportTracePartialSuccess(rejected_spans=rejected, error_message="SECRETKEY is over its quota")
    callee.on("/v1/traces", answer_of(partial))
    assert Collector(target(callee), BATCHES).export([SPAN] * 3) == lost
    assert len(callee.received()) == 1
    assert [record.getMessage() for record in caplog.records] == [
        f"the collector did not take {lost} of 3 spans: its own log may say why"
    ]


@pytest.mark.parametrize(
    "answer",
    [
        Reply(200, b"", PROTOBUF),
        Reply(
            200, ExportTraceServiceResponse(partial_success=ExportTracePartialSuccess()).SerializeToString(), PROTOBUF
        ),
        Reply(200, b"\x0a\xff", PROTOBUF),
        Reply(200, b"\x0a\x02\x08\x02", (("Content-Type", "application/json"),)),
        Reply(raw=b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 9\r\n\r\n\x0a\x02\x08"),
    ],
    ids=["empty", "nothing rejected", "garbage", "json", "cut off"],
)
def test_a_200_without_rejected_spans_is_a_success(
    callee: Callee, caplog: pytest.LogCaptureFixture, answer: Reply
) -> None:
    """The status counts: what else there is in the answer, or is missing in it, loses no span and sends none twice."""
    callee.on("/v1/traces", answer)
    assert Collector(target(callee), BATCHES).export([SPAN]) == 0
    assert len(callee.received()) == 1
    assert caplog.records == []


def answer_of(partial: ExportTracePartialSuccess) -> Reply:
    return Reply(200, ExportTraceServiceResponse(partial_success=partial).SerializeToString(), PROTOBUF)


def test_batches_share_a_connection(callee: Callee) -> None:
    """Answers are read to their end, so that the next batch need not connect anew."""
    callee.on("/v1/traces", Reply(200, b"{}"), Reply(400, b"x" * 9000), Reply(200))
    collector = Collector(target(callee), BATCHES)
    assert [collector.export([SPAN]) for _ in range(3)] == [0, 1, 0]
    assert len({request.connection for request in callee.received()}) == 1


def test_a_batch_is_compressed_beside_the_loop(callee: Callee, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests go on meanwhile: a large batch takes a tenth of a second."""
    held = monkey.get_original("_thread", "allocate_lock")()
    held.acquire()
    went_on: list[bool] = []

    def compress(data: bytes) -> bytes:
        went_on.append(held.acquire(timeout=PATIENCE_S))
        return data

    monkeypatch.setitem(cast("dict[str, object]", COMPRESSIONS), "gzip", compress)
    gevent.spawn(held.release)
    assert Collector(target(callee, compression="gzip"), BATCHES).export([SPAN]) == 0
    assert went_on == [True]


@pytest.mark.parametrize(
    ("host", "is_known", "says"),
    [
        ("127.0.0.1", True, "certificate is not valid for '127.0.0.1'"),
        ("localhost", False, "certificate verify failed"),
        ("localhost", True, None),
    ],
    ids=["wrong name", "unknown", "right"],
)
def test_a_collector_is_who_its_certificate_says(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, host: str, is_known: bool, says: str | None
) -> None:
    """With the CA of the variable, else the usual ones; another gets nothing, and the log says what is wrong."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost").configure_cert(context)
    collector = Callee(Reply(200), tls=context)
    url = f"https://{host}:{collector.port}/v1/traces?key=SECRETKEY"
    wanted = Target(url, {}, timeout_s=5.0 if says is None else 0.5, verify=not is_known or str(tmp_path / "ca.pem"))
    assert Collector(wanted, BATCHES).export([SPAN]) == (0 if says is None else 1)
    assert len(collector.received()) == (1 if says is None else 0)
    assert (says or "") in caplog.text
    assert "SECRET" not in caplog.text
    collector.close()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://user:SECRETKEY@127.0.0.1:1/?key=SECRETKEY", "Connection refused"),
        ("http://collector.invalid/?key=SECRETKEY", "ame"),  # the words for a name that is not found are the system's
    ],
    ids=["nobody there", "no such name"],
)
def test_why_a_collector_is_not_reached_is_told(caplog: pytest.LogCaptureFixture, url: str, says: str) -> None:
    """In the system's words, without the URL, which may have a key in it."""
    assert Collector(Target(url, {}, timeout_s=0.5), BATCHES).export([SPAN]) == 1
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("the collector did not take 1 of 1 spans: ")
    assert says in line
    assert "SECRET" not in line


def test_a_proxys_credentials_are_not_in_the_log(
    callee: Callee, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proxy of the environment is used, and what is told of its refusal has no more than its kind."""
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:SECRETKEY@127.0.0.1:{callee.port}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    callee.on("collector.invalid:443", Reply(407))
    assert Collector(Target("https://collector.invalid/", {}, timeout_s=0.5), BATCHES).export([SPAN]) == 1
    assert callee.received()[0].header("proxy-authorization")
    assert "ProxyError" in caplog.text
    assert "SECRET" not in caplog.text


@pytest.mark.parametrize(
    ("user", "sent"), [("", "Bearer mine"), ("me:word@", "Basic bWU6d29yZA==")], ids=["header", "url"]
)
def test_a_netrc_is_for_others(
    callee: Callee, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user: str, sent: str
) -> None:
    """What the collector is told of who we are is what the variables say, whatever a file has for its host."""
    (tmp_path / "netrc").write_text("default login other password SECRETKEY\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    wanted = Target(callee.url.replace("//", f"//{user}"), {"authorization": b"Bearer mine"}, timeout_s=5.0)
    assert Collector(wanted, BATCHES).export([SPAN]) == 0
    assert callee.one().all("authorization") == [sent]


@pytest.fixture
def loggers() -> Iterator[None]:
    """Those that a test may take over, given back after it."""
    given = [logging.getLogger(name) for name in ("opentelemetry", "urllib3")]
    before = [(logger, logger.handlers[:], logger.propagate, logger.level) for logger in given]
    yield
    for logger, handlers, propagate, level in before:
        logger.handlers[:], logger.propagate = handlers, propagate
        logger.setLevel(level)


@pytest.mark.usefixtures("loggers")
def test_headers_that_are_none_are_no_traceback(callee: Callee, caplog: pytest.LogCaptureFixture) -> None:
    """What the HTTP client thinks of an answer is not for our log: it has the URL, key and all."""
    callee.on("/v1/traces", Reply(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nno header\r\na: b\r\n\r\n"))
    SdkLog([]).take_over()
    assert Collector(target(callee), BATCHES).export([SPAN]) == 0
    assert caplog.records == []


@pytest.mark.usefixtures("loggers")
def test_what_opentelemetry_says_is_told_once_without_secrets(caplog: pytest.LogCaptureFixture) -> None:
    """Each kind of line is for our log, whatever differs in it, but not those that are for debugging."""
    SdkLog(["word is SECRET", "SECRET"]).take_over()
    theirs = logging.getLogger("opentelemetry.sdk")
    for what in ("the word is SECRET, SECRET", "again"):
        theirs.warning("no such resource: %s", what)
    theirs.error("another")
    theirs.info("nothing")
    assert [record.getMessage() for record in caplog.records] == [
        "OpenTelemetry: no such resource: the ***, ***",
        "OpenTelemetry: another",
    ]


def test_a_pause_that_took_too_long_is_no_error(
    callee: Callee, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loop that had no time for it until the batch's was over: the batch is lost as any other."""
    callee.on("/v1/traces", Reply(503))
    moments = itertools.chain([0.0, 0.0, 0.0], itertools.repeat(40.0))
    monkeypatch.setattr(otlp_sending, "time", SimpleNamespace(monotonic=lambda: next(moments), time=time.time))
    assert Collector(target(callee), BATCHES, first_pause_s=0.001).export([SPAN]) == 1
    assert "did not take 1 of 1 spans" in caplog.text
