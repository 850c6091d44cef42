"""A collector, a callee, an upstream, and a gateway whose plugin server sends spans."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from request_callout.cli.demo.process import GatewayProcess
from tests.conformance.callee import Callee, reply_json
from tests.conformance.client import Answer
from tests.conformance.site import Gateway, Site, default_upstream
from tests.telemetry.collector import CLIENT, Collector, Span
from tests.unit.server.processes import start

__all__ = ["start"]

EMPTY = '_format_version: "3.0"\n'
EXPORT_AT_ONCE = {"OTEL_BSP_SCHEDULE_DELAY": "20"}

Observed = Callable[..., Site]


class Traced:
    """A gateway that sends spans, and one trace: requests that belong to it, and the spans that come of them."""

    def __init__(self, site: Site, collector: Collector) -> None:
        self.site = site
        self.collector = collector
        self.trace = secrets.token_hex(16)
        self.parent = secrets.token_hex(8)
        self.parent_header = f"00-{self.trace}-{self.parent}-01"

    def get(self, path: str = "", **headers: str) -> Answer:
        return self.site.get(path, {"traceparent": self.parent_header, **headers})

    def spans(self, requests: int = 1) -> list[Span]:
        """The spans of the trace, once so many requests have ended; each request's own comes last."""

        def mine(spans: list[Span]) -> list[Span]:
            return [span for span in spans if span.trace == self.trace]

        return mine(
            self.collector.wait_for(lambda all: [span.name for span in mine(all)].count("request-callout") >= requests)
        )

    def request(self) -> Span:
        """The only request's span."""
        return self.spans()[-1]

    def attempts(self) -> list[Span]:
        """The spans of the only request's attempts, in the order in which they began."""
        return sorted((span for span in self.spans() if span.kind == CLIENT), key=lambda span: span.began_ns)


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


@pytest.fixture
def callee() -> Iterator[Callee]:
    callee = Callee(reply_json({"id": 7}))
    yield callee
    callee.close()


@pytest.fixture
def upstream() -> Iterator[Callee]:
    upstream = Callee(default_upstream())
    yield upstream
    upstream.close()


@pytest.fixture(scope="session", params=["protobuf", "msgpack"])
def tracing(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Gateway, Collector]]:
    """A gateway with ``--otel`` and no other options, and its collector."""
    collector = Collector()
    file = tmp_path_factory.mktemp("tracing") / "kong.yml"
    file.write_text(EMPTY)
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, **EXPORT_AT_ONCE}
    given = ["--protocol", request.param, "--serve-option=--otel"]
    with GatewayProcess(file, given, environment) as process:
        yield Gateway(request.param, process.proxy, process.admin, process.log), collector
    collector.close()


@pytest.fixture
def traced(tracing: tuple[Gateway, Collector], callee: Callee, upstream: Callee) -> Traced:
    """A route of this test's own on that gateway."""
    gateway, collector = tracing
    return Traced(Site(gateway, callee, upstream), collector)


@pytest.fixture
def observed(tmp_path: Path, collector: Collector, callee: Callee, upstream: Callee) -> Iterator[Observed]:
    """Starts the embedded gateway with ``--otel`` and these options and variables, and ends it."""
    file = tmp_path / "kong.yml"
    file.write_text(EMPTY)
    with ExitStack() as stack:

        def start(*options: str, otel: bool = True, protocol: str = "protobuf", **variables: str) -> Site:
            given = ["--protocol", protocol, *(f"--serve-option={one}" for one in (("--otel",) * otel + options))]
            environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, **EXPORT_AT_ONCE, **variables}
            process = stack.enter_context(GatewayProcess(file, given, environment))
            return Site(Gateway(protocol, process.proxy, process.admin, process.log), callee, upstream)

        yield start
