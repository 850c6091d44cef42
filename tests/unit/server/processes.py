"""Server processes for tests, and connections to them from a process without gevent."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.unit.server.kong_side import KongSide

ROOT = Path(__file__).parents[3]


class Process:
    """A server process whose log is read as it comes."""

    def __init__(self, *command: str, env: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
            env={**os.environ, **(env or {})},
        )
        self.log = ""

    def wait_for(self, words: str) -> None:
        """Read the log until these words come."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log += line
            if words in line:
                return
        raise AssertionError(f"{words!r} never came:\n{self.log}")

    def end(self) -> int:
        """Wait for the end; gives the exit status."""
        assert self.process.stderr is not None
        self.log += self.process.stderr.read()
        return self.process.wait(20)

    def signal(self, number: int) -> None:
        self.process.send_signal(number)


Start = Callable[..., Process]


@pytest.fixture
def start() -> Iterator[Start]:
    started = []

    def start_one(*command: str, env: dict[str, str] | None = None) -> Process:
        process = Process(*command, env=env)
        started.append(process)
        return process

    yield start_one
    for process in started:
        # Its workers too, should one of them stand still.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.process.pid, signal.SIGKILL)
        process.process.wait()
        assert process.process.stderr is not None
        process.process.stderr.close()


def fake_server(start: Start, path: str, *options: str, env: dict[str, str] | None = None, **fields: object) -> Process:
    """A server of ``fake_server`` that listens; ``fields`` are those of its options."""
    given = [f"{name}={value}" for name, value in fields.items()]
    process = start("tests.unit.server.fake_server", path, *given, *options, env=env)
    process.wait_for("listening on")
    return process


def connect(path: str) -> KongSide:
    """A connection on an ordinary socket."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(20)
    sock.connect(path)
    return KongSide(sock)
