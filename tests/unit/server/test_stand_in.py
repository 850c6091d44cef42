"""A server started by Kong: a worker of nginx kills what it started when it ends, its master process may go on."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.server.processes import ROOT, Start, connect, fake_server
from tests.unit.server.test_supervisor import event, wait_for_end, worker_of

NGINX_WORKER = """
import signal, subprocess, sys, time
options = [sys.argv[1], "exit_with_parent", "stand_in", "take_over"]
server = subprocess.Popen([sys.executable, "-m", "tests.unit.server.fake_server", *options])
sys.stdin.buffer.raw.read(1)
server.send_signal(signal.SIGTERM)
time.sleep(0.02)
server.kill()
"""
NGINX_MASTER = """
import subprocess, sys
subprocess.Popen([sys.executable, "-c", *sys.argv[1:]]).wait()
print("the worker has ended", flush=True)
sys.stdin.buffer.raw.read(1)
"""


class Nginx:
    """A master process with a worker, which has started a server."""

    def __init__(self, path: str) -> None:
        self.master = subprocess.Popen(
            [sys.executable, "-c", NGINX_MASTER, NGINX_WORKER, path],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self.master.stderr is not None
        assert any("listening on" in line for line in self.master.stderr)

    def end_worker(self) -> None:
        assert self.master.stdin is not None
        assert self.master.stdout is not None
        self.master.stdin.write("x")
        self.master.stdin.flush()
        assert "has ended" in self.master.stdout.readline()

    def end_master(self) -> None:
        assert self.master.stdin is not None
        self.master.stdin.close()
        self.master.wait(20)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "plugin.sock")


@pytest.fixture
def nginx(path: str) -> Iterator[Nginx]:
    found = Nginx(path)
    yield found
    with contextlib.suppress(ProcessLookupError):
        os.killpg(found.master.pid, signal.SIGKILL)
    found.master.wait()
    for stream in (found.master.stdin, found.master.stdout, found.master.stderr):
        assert stream is not None
        stream.close()


def test_the_server_serves_until_its_successor_has_the_path(nginx: Nginx, start: Start, path: str) -> None:
    kong = connect(path)
    old = worker_of(kong)
    nginx.end_worker()
    assert worker_of(connect(path)) == old
    fake_server(start, path, "take_over")
    wait_for_end(old)
    assert worker_of(connect(path)) != old


def test_the_server_ends_with_kong(nginx: Nginx, path: str) -> None:
    old = worker_of(connect(path))
    nginx.end_worker()
    nginx.end_master()
    wait_for_end(old)
    assert not os.path.exists(path)


def test_the_server_ends_when_only_what_kong_started_is_told_to(path: str) -> None:
    """Kong's worker runs on, and starts another server as soon as the output of this one has ended.

    What only asks for the stacks is passed on, too, and ends neither.
    """
    options = ["exit_with_parent", "stand_in"]
    stand_in = subprocess.Popen(
        [sys.executable, "-m", "tests.unit.server.fake_server", path, *options],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert stand_in.stderr is not None
    with stand_in.stderr as log:
        assert any("listening on" in line for line in log)
        kong = connect(path)
        instance_id = kong.start({})
        stand_in.send_signal(signal.SIGUSR1)
        assert any("the supervisor's stack" in line for line in log)
        stand_in.send_signal(signal.SIGTERM)
        assert stand_in.wait(20) == 0
        assert event(kong, instance_id)
        assert log.read().rstrip().endswith("stopped")
    assert not os.path.exists(path)


def test_a_server_that_cannot_start_says_so_by_its_status(path: str) -> None:
    command = [sys.executable, "-m", "tests.unit.server.fake_server", path, "exit_with_parent", "stand_in", "refuse"]
    assert subprocess.run(command, cwd=ROOT, stderr=subprocess.DEVNULL, timeout=20, check=False).returncode == 1
