"""The demo as a user starts it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator

import pytest
import requests

from request_callout.cli.demo.scenarios import SCENARIOS
from request_callout.cli.demo.services import FIXED_PORTS, StandIns

DEMO = [sys.executable, "-m", "request_callout", "demo"]


@pytest.fixture
def fixed_ports() -> Iterator[None]:
    """The ports that ``demo`` prefers, for one test at a time, whichever process or checkout it runs in."""
    shared = os.open(tempfile.gettempdir(), os.O_RDONLY)  # what all of them have; the lock leaves nothing behind
    try:
        fcntl.flock(shared, fcntl.LOCK_EX)
        yield
    finally:
        os.close(shared)


@pytest.mark.parametrize("protocol", ["protobuf", "msgpack"])
def test_demo_shows_all_scenarios_and_ends_with_0(protocol: str) -> None:
    """All scenarios are shown, hold, and the demo ends with status 0."""
    done = subprocess.run([*DEMO, "--protocol", protocol], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAILED" not in done.stdout
    for number, scenario in enumerate(SCENARIOS, 1):
        assert f"{number}. {scenario.title} " in done.stdout
        assert f"{number}. ok      {scenario.title}" in done.stdout
    assert "\x1b" not in done.stdout, "no colours in a file"


def test_demo_that_fails_says_so_and_ends_with_1() -> None:
    """When an answer is not what the documents promise, that is shown, and the status is 1."""
    code = """
from dataclasses import replace
from request_callout.cli import main
from request_callout.cli.demo import command

broken = replace(command.SCENARIOS[3], check=lambda run: iter([("something else", False)]))
command.SCENARIOS = (command.SCENARIOS[0], broken)
main(["demo"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1. ok " in done.stdout
    assert "2. FAILED  A token for the upstream; something else" in done.stdout


@pytest.mark.usefixtures("fixed_ports")
def test_demo_keeps_running_until_it_is_told_to_end() -> None:
    """With --keep the addresses answer until SIGTERM (or Ctrl-C), and then nothing is left."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen([*DEMO, "--keep"], stdout=subprocess.PIPE, text=True, env=environment) as running:
        try:
            assert running.stdout is not None
            urls = []
            for line in running.stdout:
                urls += re.findall(r"^  curl '(.*)'", line)
                if line.startswith("  upstream"):
                    break
            assert len(urls) == len({path for scenario in SCENARIOS for path in scenario.paths})
            assert requests.get(urls[0], timeout=30).status_code == 200
        finally:
            running.send_signal(signal.SIGTERM)
    assert running.returncode == 0
    with pytest.raises(requests.ConnectionError):
        requests.get(urls[0], timeout=30)


@pytest.mark.usefixtures("fixed_ports")
def test_services_alone_say_when_a_port_is_taken() -> None:
    """With --services-only the ports are those of the examples; if one is taken that is said, with status 1."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):  # taken by somebody else already
            other.bind(("127.0.0.1", FIXED_PORTS["upstream"]))
            other.listen()
        done = subprocess.run([*DEMO, "--services-only"], capture_output=True, text=True, timeout=100)
    assert done.returncode == 1
    assert str(FIXED_PORTS["upstream"]) in done.stderr
    assert done.stderr.endswith("do the stand-ins run already?\n")
    assert "Traceback" not in done.stderr


def test_an_address_goes_with_services_alone() -> None:
    """--services-host says where the stand-ins listen when they run alone; with the scenarios it is refused."""
    done = subprocess.run([*DEMO, "--services-host", "0.0.0.0"], capture_output=True, text=True, timeout=100)
    assert done.returncode == 2
    assert "--services-host goes with --services-only" in done.stderr
    with StandIns(host="0.0.0.0") as running:
        port = running.addresses["upstream"].rpartition(":")[2]
        assert requests.get(f"http://127.0.0.2:{port}/", timeout=30).status_code == 200
