"""What it costs to watch requests: each way alone against none of them, within one run.

A way is a line of ``_WAYS``: options of ``request-callout serve`` (``{folder}`` is one for its files), variables of its
environment, and what Kong answers beside the usual.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from tempfile import TemporaryDirectory
from typing import NamedTuple

from bench import cases
from bench.load import Driver
from bench.parts import in_turns
from bench.processes import plugin_server, service
from bench.report import Part

_NOTHING = "nothing"


class _Way(NamedTuple):
    options: tuple[str, ...] = ()
    variables: Mapping[str, str] = {}
    results: Mapping[str, str] = {}


_SAMPLED_1 = {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.01"}
_SECRET = "not-so-secret-in-a-bench"
_DEBUG = {"REQUEST_CALLOUT_DEBUG_SECRET": _SECRET}
_WAYS = {
    _NOTHING: _Way(),
    "no record for Kong's log": _Way(("--kong-log", "off")),
    "log at info": _Way(("--log-level", "info")),
    "log at info, JSON": _Way(("--log-level", "info", "--log-format", "json")),
    "metrics": _Way(("--metrics", "127.0.0.1:0")),
    "debug secret, no request with it": _Way(variables=_DEBUG),
    "debug secret, each request traced": _Way(
        ("--trace-socket", "{folder}/trace.sock"), _DEBUG, {"kong.request.get_header": _SECRET}
    ),
    "otel, all sampled": _Way(("--otel",)),
    "otel, 1 % sampled": _Way(("--otel",), _SAMPLED_1),
}


def measure(rounds: int) -> Part:
    """The token injection in each of these ways; the log goes nowhere, spans to a service that answers at once."""
    part = Part("l. Watching requests: a callout, each way against none")
    with ExitStack() as stack:
        called, collector = (stack.enter_context(service()) for _ in range(2))
        folder = stack.enter_context(TemporaryDirectory())
        endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.address}
        servers = {}
        for name, way in _WAYS.items():
            options = [option.format(folder=folder) for option in way.options]
            server = plugin_server(*options, quiet=True, variables=endpoint | dict(way.variables))
            servers[name] = stack.enter_context(server)
        for connections in (1, 16):
            config = cases.token_injection(called.address)
            drivers = {
                name: (Driver(server, [config], connections, cases.RESULTS | dict(_WAYS[name].results)), 3000)
                for name, server in servers.items()
            }
            loads, _ = in_turns(drivers, rounds)
            none = loads[_NOTHING]
            for name, load in loads.items():
                part.add(
                    f"{name}, {connections} connection{'s' if connections > 1 else ''}",
                    events_per_s=load.events_per_s,
                    cpu_us=load.cpu_us,
                    p50_us=load.p50_us,
                    p99_us=load.p99_us,
                    cpu_ratio=load.cpu_us / none.cpu_us,
                    p50_ratio=load.p50_us / none.p50_us,
                )
    part.note = "CPU is that of the plugin server, with the sending of spans."
    return part
