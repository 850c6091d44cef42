"""How spans get to the collector: all of them, from every worker, and never in the way of requests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import gevent
import pytest
from gevent.event import Event

from request_callout.cli.demo.process import GatewayProcess
from request_callout.engine.occasional import Occasional
from request_callout.telemetry import span_export
from request_callout.telemetry.span_export import SpanQueue
from tests.conformance.callee import PATIENCE_S, Callee, Reply
from tests.conformance.site import Gateway, Site, callout
from tests.failures.stage import children, until
from tests.telemetry.collector import CLIENT, Collector
from tests.telemetry.conftest import EMPTY, Observed
from tests.unit.server.processes import Start

EVENTS = 400
WITHOUT_OPENTELEMETRY = """
import sys

class Missing:
    @staticmethod
    def find_spec(name, *_):
        if name.startswith("opentelemetry"):
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, Missing)
"""


def test_counts_are_what_the_callee_saw(observed: Observed, collector: Collector, callee: Callee) -> None:
    """Under load on two workers every request and every attempt has its span, once, whatever became of it."""
    numbers = iter(range(10**9))
    callee.on("/a", lambda request: Reply(503 if next(numbers) % 5 == 0 else 200))
    site = observed("--workers=2")
    error = {"on_error": "retry", "retries": 1, "http_statuses": [503]}
    site.configure([callout("a", "/a", error=error), callout("b", "/b")])
    clients = 8

    def ask() -> None:
        for _ in range(EVENTS // clients):
            site.get()

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told = [(request.header("traceparent") or "").split("-") for request in callee.received()]
    spans = collector.wait_for(lambda all: len(all) >= EVENTS + len(told))
    attempts = {span.id: span for span in spans if span.kind == CLIENT}
    requests = {span.id: span for span in spans if span.name == "request-callout"}
    assert len(spans) == len(attempts) + len(requests) == len(told) + EVENTS
    assert {(trace, parent) for _, trace, parent, _ in told} == {(one.trace, one.id) for one in attempts.values()}
    assert {one.parent for one in attempts.values()} == set(requests)
    assert all(one.trace == requests[one.parent].trace for one in attempts.values())
    failed = [one for one in attempts.values() if one.attributes["http.response.status_code"] == 503]
    assert len(failed) == sum(1 for at in range(len(callee.received("/a"))) if at % 5 == 0)
    assert len({span.resource["service.instance.id"] for span in spans}) == 2


def test_what_waits_is_exported_at_the_end(
    tmp_path: Path, collector: Collector, callee: Callee, upstream: Callee
) -> None:
    """SIGTERM brings away what no batch has taken yet."""
    with gateway(tmp_path, {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "3600000"}) as one:
        site = Site(Gateway("protobuf", one.proxy, one.admin, one.log), callee, upstream)
        site.configure([callout("a", "/a")])
        site.get()
        assert collector.spans() == []
    assert [span.name for span in collector.spans()] == ["GET a", "request-callout"]


def gateway(folder: Path, variables: dict[str, str], *options: str) -> GatewayProcess:
    file = folder / "kong.yml"
    file.write_text(EMPTY)
    return GatewayProcess(file, [f"--serve-option={one}" for one in ("--otel", *options)], variables)


def test_a_collector_that_never_answers_holds_nothing_up(
    tmp_path: Path,
    callee: Callee,
    upstream: Callee,
    start: Start,
) -> None:
    """Requests are answered as ever while an export hangs, and so is SIGTERM; the loss is told."""
    hang = threading.Event()
    collector = Collector(lambda: hang.wait(PATIENCE_S * 3))
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "2"}
    with gateway(tmp_path, variables) as one:
        site = Site(Gateway("protobuf", one.proxy, one.admin, one.log), callee, upstream)
        site.configure([callout("a", "/a")])
        site.get()
        collector.asked(1)
        assert [site.get().status for _ in range(20)] == [200] * 20
        (server,) = children(one.pid)
        os.kill(server, signal.SIGTERM)
        until(lambda: "stopped" in one.log(), "the end of the plugin server")
        assert "spans that could not be exported" in one.log()
    hang.set()
    collector.close()


def test_a_collector_that_is_not_there_is_one_line(tmp_path: Path, callee: Callee, upstream: Callee) -> None:
    """Spans are dropped when the queue is full; requests go on, and the log is not filled."""
    variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "1",
        "OTEL_BSP_MAX_QUEUE_SIZE": "8",
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "8",
        "OTEL_EXPORTER_OTLP_HEADERS": "api-key=SECRETKEY",
    }
    with gateway(tmp_path, variables) as one:
        site = Site(Gateway("protobuf", one.proxy, one.admin, one.log), callee, upstream)
        site.configure([callout("a", "/a")])
        for _ in range(50):
            assert site.get().status == 200
        until(lambda: "could not be exported" in one.log(), "the loss is told")
        log = one.log()
    assert log.count("the queue of 8 spans is full") == 1
    assert log.count("spans could not be exported") == 1
    assert "SECRETKEY" not in log


class Holding:
    """Exports when it is let, and keeps what it got."""

    def __init__(self) -> None:
        self.may_export = Event()
        self.is_shut_down = False
        self.got: list[bytes] = []

    def export(self, spans: Sequence[bytes]) -> int:
        self.may_export.wait(PATIENCE_S)
        self.got += spans
        return 0

    def shutdown(self) -> None:
        self.is_shut_down = True


def test_a_full_batch_is_exported_at_once() -> None:
    """Whatever is left of the delay; a batch that is not full, at the end."""
    exporter = Holding()
    exporter.may_export.set()
    queue = SpanQueue(exporter, longest=10, batch=3, delay_s=3600)
    for number in range(3):
        assert exporter.got == []
        queue.on_end(b"%d" % number)
        gevent.sleep(0.001)  # it waits now
    with gevent.Timeout(PATIENCE_S):
        while not exporter.got:
            gevent.sleep(0.001)
    queue.on_end(b"3")
    gevent.sleep(0.001)
    queue.shutdown()
    assert exporter.got == [b"0", b"1", b"2", b"3"]
    assert exporter.is_shut_down


def test_the_queue_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    """While the collector takes nothing, no more than the queue's length is kept, the oldest."""
    exporter = Holding()
    queue = SpanQueue(exporter, longest=10, batch=4, delay_s=60)
    spans = [str(number).encode() for number in range(100)]
    for span in spans[:4]:
        queue.on_end(span)
    gevent.sleep(0)  # these are being exported now
    for span in spans[4:]:
        queue.on_end(span)
    exporter.may_export.set()
    queue.shutdown()
    assert exporter.got == spans[:14]
    assert "1 spans are lost so far" in caplog.text
    assert len(caplog.records) == 1


def test_a_batch_that_is_not_full_waits_for_the_delay(caplog: pytest.LogCaptureFixture) -> None:
    """One span alone is exported too, when its time has come, and so is the next; where none is lost, none is told."""
    exporter = Holding()
    exporter.may_export.set()
    queue = SpanQueue(exporter, longest=10, batch=4, delay_s=0.001)
    for spans in ([b"first"], [b"first", b"second"]):
        queue.on_end(spans[-1])
        while exporter.got != spans:
            gevent.sleep(0.001)
    queue.shutdown()
    assert caplog.records == []


def test_what_is_on_its_way_at_the_end_is_told_too(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch that the collector has not answered when time is up is lost as what waits behind it: no more is done."""
    monkeypatch.setattr(span_export, "LONGEST_FLUSH_S", 0.01)
    exporter = Holding()
    queue = SpanQueue(exporter, longest=10, batch=4, delay_s=60)
    for _ in range(5):
        queue.on_end(b"span")
    queue.shutdown()
    exporter.may_export.set()
    gevent.sleep(0.001)
    assert (exporter.got, exporter.is_shut_down) == ([], True)
    assert [record.getMessage() for record in caplog.records] == ["ended with 5 spans that could not be exported"]


class Refusing(Holding):
    """Loses one span of each batch, and every batch after the first two."""

    def export(self, spans: Sequence[bytes]) -> int:
        self.got += spans
        if len(self.got) > 8:
            raise ValueError
        return 1


def test_what_is_lost_is_counted(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some spans of a batch, or a whole one, however its export ends; the next is exported all the same."""
    monkeypatch.setattr(Occasional, "due", lambda self, subject: True)
    queue = SpanQueue(Refusing(), longest=20, batch=4, delay_s=60)
    for _ in range(16):
        queue.on_end(b"span")
    queue.shutdown()
    assert [record.getMessage() for record in caplog.records] == [
        f"spans could not be exported, {lost} spans are lost so far" for lost in (1, 2, 6, 10)
    ]


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318", "must be a URL that starts with http:// or https://"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "http/protobuf only"),
        ("OTEL_TRACES_EXPORTER", "zipkin", "may be otlp or none"),
        ("OTEL_TRACES_SAMPLER", "sometimes", "may be one of always_on"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "many", "whole number above 0"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=1,SECRETKEY", "must be NAME=VALUE"),
        ("OTEL_EXPORTER_OTLP_HEADERS", 'a b="SECRETKEY"', "must be NAME=VALUE"),
        ("OTEL_PROPAGATORS", "pigeon", "pigeon not found"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd", "may be one of none, gzip, deflate"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s", "a number of seconds above 0"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "few", "must be a non-negative integer"),
        ("OTEL_SPAN_EVENT_COUNT_LIMIT", "-1", "must be a non-negative integer"),
    ],
)
def test_a_wrong_variable_is_refused_at_the_start(
    tmp_path: Path,
    start: Start,
    name: str,
    value: str,
    says: str,
) -> None:
    """The error names the variable and what may be in it."""
    process = start("request_callout", "serve", "--socket", str(tmp_path / "s"), "--otel", env={name: value})
    assert process.end() == 1
    assert f"Error: {name}" in process.log
    assert says in process.log
    assert "Traceback" not in process.log
    assert "SECRET" not in process.log


def test_a_wrong_share_is_refused_at_the_start(tmp_path: Path, start: Start) -> None:
    """The sampler's argument is checked where it counts."""
    env = {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "50%"}
    process = start("request_callout", "serve", "--socket", str(tmp_path / "s"), "--otel", env=env)
    assert process.end() == 1
    assert "Error: OTEL_TRACES_SAMPLER_ARG is '50%'; it must be a number from 0 to 1" in process.log


def test_without_the_extra_the_option_says_what_to_install(tmp_path: Path, start: Start) -> None:
    """The error at the start is the command that mends it."""
    (tmp_path / "sitecustomize.py").write_text(WITHOUT_OPENTELEMETRY)
    env = {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path[1:]])}
    process = start("request_callout", "serve", "--socket", str(tmp_path / "s"), "--otel", env=env)
    assert process.end() == 1
    assert "Error: --otel needs more packages: pip install 'kong-request-callout[otel]'" in process.log


def test_off_nothing_of_it_is_loaded() -> None:
    """Without the option the server knows nothing of OpenTelemetry."""
    script = (
        "import sys; from request_callout.cli.serve.work import observers; "
        "from request_callout.server.reports import Reports; "
        "assert observers(Reports(None, workers=1), None, otel=False) == []; "
        "import request_callout.engine, request_callout.server.worker, request_callout.server.protobuf; "
        "print([name for name in sys.modules if name.startswith(('opentelemetry', 'requests', 'google'))])"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "[]\n"
