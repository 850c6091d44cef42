"""``request-callout demo``: every scenario of the documents, run on this machine and checked."""

from __future__ import annotations

import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from types import FrameType

import click
import requests
from rich.console import Console

from request_callout.cli import server_options
from request_callout.cli.demo.presentation import Presentation
from request_callout.cli.demo.process import GatewayFailed, GatewayProcess
from request_callout.cli.demo.promises import Answer, Promise, Run
from request_callout.cli.demo.scenarios import SCENARIOS, Scenario, declarative
from request_callout.cli.demo.services import CLIENT_ID, CLIENT_SECRET, FIXED_PORTS, StandIns

_LATENCY_S = 0.05
_TIMEOUT_S = 30.0
_PLAIN_WIDTH = 120
_HEADERS = {"User-Agent": "request-callout-demo", "Accept-Encoding": None, "Connection": None}
"""Not more than curl sends."""


def environment(addresses: Mapping[str, str]) -> dict[str, str]:
    """The variables that the vault references of the examples name."""
    return {
        "KCS_TOKEN_URL": f"{addresses['auth']}/oauth/token",
        "KCS_CLIENT_ID": CLIENT_ID,
        "KCS_CLIENT_SECRET": CLIENT_SECRET,
    }


@click.command()
@click.option("--keep", is_flag=True, help="Leave everything running afterwards, with the addresses to curl.")
@click.option(
    "--services-only",
    is_flag=True,
    help="Only the stand-ins, on the ports that the files in examples/ name; no gateway, no scenarios.",
)
@click.option(
    "--services-host",
    metavar="ADDRESS",
    help="With --services-only: the address they listen on, such as 0.0.0.0 in a container; else 127.0.0.1.",
)
@server_options.protocol
def demo(keep: bool, services_only: bool, services_host: str | None, protocol: str) -> None:
    """Run every scenario of the documents against local stand-ins of their services.

    Needs no internet. Ends with status 0 only if every answer is what the documents promise.
    """
    if services_host is not None and not services_only:
        raise click.UsageError("--services-host goes with --services-only.")
    signal.signal(signal.SIGTERM, _end)
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_PLAIN_WIDTH)
    try:
        kept = _serve(console, services_host or "127.0.0.1") if services_only else _run(console, keep, protocol)
    except KeyboardInterrupt:
        kept = True
    except (GatewayFailed, OSError) as error:
        # OSError: a port that is taken; requests' errors are of this class too.
        raise click.ClickException(str(error)) from None
    sys.exit(0 if kept else 1)


def _end(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _serve(console: Console, host: str) -> bool:
    with StandIns(FIXED_PORTS, host=host) as stand_ins:
        for name, address in stand_ins.addresses.items():
            console.print(f"{name:15} {address}")
        console.print("Ctrl-C ends them.")
        threading.Event().wait()
    return True


def _run(console: Console, keep: bool, protocol: str) -> bool:
    presentation = Presentation(console)
    ports = {name: _free(port) for name, port in FIXED_PORTS.items()} if keep else {}
    listen = [f"127.0.0.1:{_free(port) if keep else 0}" for port in (8000, 8001)]
    with StandIns(ports, latency_s=_LATENCY_S) as stand_ins, tempfile.TemporaryDirectory() as folder:
        configuration = Path(folder, "kong.yml")
        configuration.write_text(declarative(SCENARIOS, stand_ins.addresses), encoding="utf-8")
        options = ["--protocol", protocol]
        with GatewayProcess(configuration, options, environment(stand_ins.addresses), *listen) as gateway:
            results: list[tuple[Scenario, list[Promise]]] = []
            for number, scenario in enumerate(SCENARIOS, 1):
                happened = perform(scenario, gateway.proxy, stand_ins)
                results.append((scenario, presentation.scenario(number, scenario, gateway.proxy, happened)))
            presentation.summary(results)
            kept = all(holds for _, promises in results for _, holds in promises)
            if not kept:
                console.print("\nWhat the gateway wrote:", style="bold red")
                console.print(gateway.log(), markup=False, soft_wrap=True)
            if keep:
                _keep(console, gateway, stand_ins)
    return kept


def perform(scenario: Scenario, proxy: str, stand_ins: StandIns) -> Run:
    """Make the requests of a scenario, one after the other, and collect what happened."""
    stand_ins.take_arrivals()
    answers = []
    for path in scenario.paths:
        response = requests.get(proxy + path, headers=_HEADERS, timeout=_TIMEOUT_S, allow_redirects=False)
        answers.append(Answer(response.status_code, response.headers.get("Content-Type", ""), response.content))
    arrivals = stand_ins.take_arrivals()
    upstream = tuple(arrival for arrival in arrivals if arrival.service == scenario.upstream_stand_in)
    callees = tuple(arrival for arrival in arrivals if arrival.service != scenario.upstream_stand_in)
    return Run(tuple(answers), callees, upstream, stand_ins.addresses)


def _keep(console: Console, gateway: GatewayProcess, stand_ins: StandIns) -> None:
    console.print("\nLeft running until Ctrl-C:", style="bold")
    for scenario in SCENARIOS:
        for path in dict.fromkeys(scenario.paths):
            console.print(f"  curl '{gateway.proxy}{path}'", soft_wrap=True)
    console.print(f"  admin API        {gateway.admin}")
    for name, address in stand_ins.addresses.items():
        console.print(f"  {name:15}  {address}")
    threading.Event().wait()


def _free(port: int) -> int:
    """The port, or 0 (any) if someone listens there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return 0
    return port
