"""A collector, a callee, an upstream, and a gateway whose plugin server sends spans."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from request_callout.cli.demo.process import GatewayProcess
from tests.conformance.callee import Callee, reply_json
from tests.conformance.site import Gateway, Site, default_upstream
from tests.telemetry.collector import Collector

EXPORT_AT_ONCE = {"OTEL_BSP_SCHEDULE_DELAY": "20"}

Observed = Callable[..., Site]


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


@pytest.fixture
def observed(tmp_path: Path, collector: Collector, callee: Callee, upstream: Callee) -> Iterator[Observed]:
    """Starts the embedded gateway with ``--otel`` and these options and variables, and ends it."""
    file = tmp_path / "kong.yml"
    file.write_text('_format_version: "3.0"\n')
    with ExitStack() as stack:

        def start(*options: str, protocol: str = "protobuf", **variables: str) -> Site:
            given = ["--protocol", protocol, *(f"--serve-option={one}" for one in ("--otel", *options))]
            environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, **EXPORT_AT_ONCE, **variables}
            process = stack.enter_context(GatewayProcess(file, given, environment))
            return Site(Gateway(protocol, process.proxy, process.admin, process.log), callee, upstream)

        yield start
