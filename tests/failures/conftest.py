"""The parts that one test gets: a service for callouts, a plugin server, a gateway before it, and an upstream."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from request_callout.cli.demo.process import GatewayProcess
from tests.conformance.callee import Callee, Reply
from tests.failures import stage
from tests.failures.stage import PluginServer, TokenService


@pytest.fixture(params=["protobuf", "msgpack"])
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def tokens() -> Iterator[TokenService]:
    service = TokenService()
    yield service
    service.kill()


@pytest.fixture
def upstream() -> Iterator[Callee]:
    upstream = Callee(Reply(body=b"ok"))
    yield upstream
    upstream.close()


@pytest.fixture
def options() -> list[str]:
    """Options of the plugin server; a test that needs some parametrizes them."""
    return []


@pytest.fixture
def server(tmp_path: Path, protocol: str, options: list[str]) -> Iterator[PluginServer]:
    """A plugin server of the test's own, which nobody else starts again."""
    server = PluginServer(tmp_path, protocol, options)
    yield server
    server.close()


@pytest.fixture
def gateway(
    tmp_path: Path, protocol: str, tokens: TokenService, server: PluginServer, upstream: Callee
) -> Iterator[GatewayProcess]:
    """The gateway before ``server``, with one route whose callout is to ``tokens``."""
    configs = {"/": stage.injection(tokens.url)}
    with stage.gateway(tmp_path, protocol, upstream.url, configs, "--socket", server.path) as gateway:
        yield gateway
