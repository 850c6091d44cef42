"""The stand-ins that the examples call, and a gateway for an example."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from request_callout.cli.demo.command import environment
from request_callout.cli.demo.process import GatewayProcess
from request_callout.cli.demo.services import FIXED_PORTS, StandIns

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def stand_ins() -> Iterator[StandIns]:
    """The services on free ports."""
    with StandIns() as running:
        yield running


@pytest.fixture
def options() -> list[str]:
    """What a test adds to the command line of the gateway, before it starts an example."""
    return []


@pytest.fixture
def replaced() -> dict[str, str]:
    """What a test has other words for in the file of an example, before it starts it."""
    return {}


@pytest.fixture
def example(
    stand_ins: StandIns, options: list[str], replaced: dict[str, str], tmp_path: Path
) -> Iterator[Callable[[str], str]]:
    """Starts the embedded gateway with an example and gives back where it listens.

    Only addresses are changed, from the ports in the file to those in use.
    """
    with ExitStack() as stack:

        def start(name: str) -> str:
            text = (EXAMPLES / name / "kong.yml").read_text()
            for service, port in FIXED_PORTS.items():
                text = text.replace(f"http://127.0.0.1:{port}", stand_ins.addresses[service])
            for words, others in replaced.items():
                assert words in text
                text = text.replace(words, others)
            configuration = tmp_path / "kong.yml"
            configuration.write_text(text)
            process = GatewayProcess(configuration, options, environment(stand_ins.addresses))
            return stack.enter_context(process).proxy

        yield start
