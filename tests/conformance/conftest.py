"""The gateways, and the fixtures that one test gets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from request_callout.cli.demo.process import GatewayProcess
from tests.conformance.callee import Callee, reply_json
from tests.conformance.site import Gateway, Site, default_upstream

BODY_BUFFER = 16 * 1024 * 1024
"""As a Kong with this plugin should have it, so that no client body of these tests goes to a file."""

EMPTY = '_format_version: "3.0"\n'
ENVIRONMENT = {"CONFORMANCE_SECRET": "s3cr3t"}
"""Variables of the embedded gateway, for ``{vault://env/...}``."""

Starting = Callable[..., Gateway]
SiteWith = Callable[..., Site]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test on both protocols of the embedded gateway, or on the Kong that the options name."""
    if "gateway_kind" in metafunc.fixturenames:
        kinds = ["kong"] if metafunc.config.getoption("--kong-proxy") else ["protobuf", "msgpack"]
        only = metafunc.definition.get_closest_marker("embedded")
        if only and kinds == ["kong"]:
            mark = pytest.mark.skip(reason=f"on the embedded gateway only: {only.args[0]}")
            metafunc.parametrize("gateway_kind", [pytest.param("kong", marks=mark)], scope="session")
        else:
            metafunc.parametrize("gateway_kind", kinds, scope="session")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "embedded(reason): a rule that can't be tested on any Kong")


@pytest.fixture(scope="session")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Starting]:
    """Starts embedded gateways, one for each protocol and set of the plugin server's options, and ends them."""
    started: dict[tuple[str, ...], GatewayProcess] = {}
    configuration = tmp_path_factory.mktemp("gateway") / "kong.yml"
    Path(configuration).write_text(EMPTY)
    with ExitStack() as stack:

        def start(kind: str, *options: str) -> Gateway:
            key = (kind, *options)
            if key not in started:
                given = [
                    "--protocol",
                    kind,
                    "--client-body-buffer-size",
                    str(BODY_BUFFER),
                    *(f"--serve-option={option}" for option in options),
                ]
                started[key] = stack.enter_context(GatewayProcess(configuration, given, ENVIRONMENT))
            return Gateway(kind, started[key].proxy, started[key].admin, started[key].log)

        yield start


@pytest.fixture(scope="session")
def gateway(gateway_kind: str, processes: Starting, request: pytest.FixtureRequest) -> Gateway:
    """The gateway under test."""
    if gateway_kind == "kong":
        proxy, admin = request.config.getoption("--kong-proxy"), request.config.getoption("--kong-admin")
        if not admin or hasattr(request.config, "workerinput"):
            pytest.exit("--kong-proxy needs --kong-admin, and one process (-n 0): a Kong has one configuration", 4)
        return Gateway("kong", proxy.rstrip("/"), admin.rstrip("/"))
    return processes(gateway_kind)


@pytest.fixture
def callee() -> Iterator[Callee]:
    """The service that callouts go to: 200 and a small JSON object unless told otherwise."""
    callee = Callee(reply_json({"id": 7, "name": "callee"}))
    yield callee
    callee.close()


@pytest.fixture
def upstream() -> Iterator[Callee]:
    """The service that the gateway proxies to."""
    upstream = Callee(default_upstream())
    yield upstream
    upstream.close()


@pytest.fixture
def site(gateway: Gateway, callee: Callee, upstream: Callee) -> Site:
    """A gateway, a callee and an upstream."""
    return Site(gateway, callee, upstream)


@pytest.fixture
def site_with(gateway_kind: str, processes: Starting, callee: Callee, upstream: Callee) -> SiteWith:
    """Makes a site whose plugin server runs with options of its own (embedded gateway only)."""

    def make(*options: str) -> Site:
        return Site(processes(gateway_kind, *options), callee, upstream)

    return make
