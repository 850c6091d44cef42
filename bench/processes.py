"""The processes that are measured, and what the system counts of them."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Measured:
    """A running process: its id, and the path or address where it listens."""

    pid: int
    address: str

    def cpu_s(self) -> float:
        """CPU time so far of all its threads, in seconds."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        coarse = (int(fields[11]) + int(fields[12])) / _TICKS
        try:
            tasks = list(Path(f"/proc/{self.pid}/task").iterdir())
            fine = sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
        except OSError:
            return coarse
        # The fine count is of living threads only: it is the right one where there are as many as at the start.
        return fine if len(tasks) == 1 else coarse

    def resident_kib(self) -> int:
        """Resident memory."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))

    def descriptors(self) -> int:
        """Open file descriptors."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))


@contextmanager
def running(command: Sequence[str], env: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """A process that is ended with the block."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ, **(env or {})})
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
def plugin_server(*options: str) -> Iterator[Measured]:
    """``request-callout serve``; its address is the socket's path."""
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        path = f"{folder}/kong.sock"
        command = [sys.executable, "-m", "request_callout", "serve", "--socket", path, "--log-level", "error", *options]
        with running(command) as process:
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
    import socket

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
