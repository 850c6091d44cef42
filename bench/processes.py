"""The processes that are measured, and what the system counts of them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Measured:
    """A running process with its children: its id, and the path or address where it listens."""

    pid: int
    address: str

    def pids(self) -> list[int]:
        """The process and its living children."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [self.pid, *map(int, children)]

    def cpu_s(self) -> float:
        """CPU time so far, in seconds."""
        return sum(_cpu_s(pid) for pid in self.pids())

    def resident_kib(self) -> int:
        """Resident memory."""
        statuses = [Path(f"/proc/{pid}/status").read_text() for pid in self.pids()]
        lines = [line for status in statuses for line in status.splitlines() if line.startswith("VmRSS")]
        return sum(int(line.split()[1]) for line in lines)

    def descriptors(self) -> int:
        """Open file descriptors."""
        return sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in self.pids())


def _cpu_s(pid: int) -> float:
    """By the CPU-time clock that Linux has for every process (see ``clock_getcpuclockid``), in nanoseconds."""
    return time.clock_gettime(~pid << 3 | 2)


@contextmanager
def running(
    command: Sequence[str], *, quiet: bool = False, variables: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """A process that is ended with the block; ``quiet``: without its errors, with these ``variables`` too."""
    environment = {**os.environ, **(variables or {})}
    errors = subprocess.DEVNULL if quiet else None
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=ROOT, env=environment)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def service() -> Iterator[Measured]:
    """The service that callouts call; its address is a URL."""
    with running([sys.executable, "-m", "bench.service"]) as process:
        assert process.stdout is not None
        yield Measured(process.pid, f"http://127.0.0.1:{process.stdout.readline().strip()}")


@contextmanager
def plugin_server(*options: str, quiet: bool = False, variables: Mapping[str, str] | None = None) -> Iterator[Measured]:
    """``request-callout serve``; its address is the socket's path."""
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        path = f"{folder}/kong.sock"
        command = [sys.executable, "-m", "request_callout", "serve", "--socket", path, "--log-level", "error", *options]
        with running(command, quiet=quiet, variables=variables) as process:
            _await_socket(path, process)
            yield Measured(process.pid, path)


@contextmanager
def naive_server() -> Iterator[Measured]:
    """The naive plugin in kong-pdk's server with its defaults; its address is the socket's path."""
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        command = [sys.executable, "-m", "bench.naive_plugin", "--kong-prefix", folder, "--socket-name", "naive.sock"]
        with running([*command, "--no-lua-style"]) as process:
            _await_socket(f"{folder}/naive.sock", process)
            yield Measured(process.pid, f"{folder}/naive.sock")


def _await_socket(path: str, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(path)
            except OSError:
                time.sleep(0.02)
            else:
                return
    raise RuntimeError(f"nothing listens at {path}")
