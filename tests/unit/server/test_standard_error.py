"""Log lines and who should read them: nobody waits for a reader."""

from __future__ import annotations

import fcntl
import os
import re
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.server.processes import ROOT, connect

LINES = 20_000
NOBODY = 65534
LOGS = f"""
import logging, os, sys
from request_callout.server.process import set_up_logging
if "another" in sys.argv:
    os.setuid({NOBODY})
set_up_logging("info")
for number in range({LINES}):
    logging.info("line %d %s", number, "x" * 200)
print("logged", flush=True)
sys.stdin.readline()
logging.info("line {LINES}")
"""
"""More lines than anything takes that is not read, and one more when it was."""
LISTS = """
import logging, os, socket
from request_callout.server.process import set_up_logging
set_up_logging("info")
logging.info("x")
print(os.readlink("/proc/self/fd/2"), socket.socket().fileno() > 2)
"""
CONTINUE = {"on_error": "continue"}
PATIENCE_S = 20


@pytest.fixture(params=["pipe", "socket"])
def ends(request: pytest.FixtureRequest) -> Iterator[tuple[int, int]]:
    """What is read from, and what a process has for its standard error."""
    if request.param == "pipe":
        reading, writing = os.pipe()
    else:
        reading, writing = (end.detach() for end in socket.socketpair())
    os.set_blocking(reading, False)
    yield reading, writing
    os.close(reading)
    os.close(writing)


def read(descriptor: int) -> bytes:
    """All that waits there."""
    found = b""
    while True:
        try:
            found += os.read(descriptor, 1 << 20)
        except BlockingIOError:
            return found


def logged(reading: int, writing: int, *options: str) -> list[str]:
    """The lines of a process that logs much to a late reader, and then one thing more."""
    command = [sys.executable, "-c", LOGS, *options]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=writing) as process:
        try:
            assert process.stdout is not None
            assert select.select([process.stdout], [], [], PATIENCE_S)[0], "it waits for its reader"
            found = read(reading)
            process.communicate(b"\n", timeout=PATIENCE_S)
            return (found + read(reading)).decode().splitlines()
        finally:
            process.kill()


def check(lines: list[str]) -> None:
    """Those that were written are whole and in order, and the last but one tells how many were not."""
    *written, told, last = lines
    assert all(re.fullmatch(r"\S+ \S+ INFO line \d+ x{200}", line) for line in written)
    assert [int(line.split()[4]) for line in written] == list(range(len(written)))
    assert f" WARNING lines of this process's log that are lost: {LINES - len(written)};" in told
    assert last.endswith(f" INFO line {LINES}")


def test_lines_that_nobody_reads_are_lost_and_counted(ends: tuple[int, int]) -> None:
    """Who logs goes on when there is no room; when there is, the next line tells how many are lost."""
    check(logged(*ends))


@pytest.mark.skipif(os.getuid() != 0, reason="only root can run a process as somebody else")
def test_a_pipe_of_another_user_is_not_waited_for() -> None:
    """One that can't be opened anew is written to only while it has room, and stays as it is for its others."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    try:
        check(logged(reading, writing, "another"))
        assert os.get_blocking(writing)
    finally:
        os.close(reading)
        os.close(writing)


def test_a_server_whose_log_nobody_reads_serves_and_ends(tmp_path: Path) -> None:
    """Requests are answered, all of them logged, by two workers; stacks can be asked for, and SIGTERM ends it."""
    path = str(tmp_path / "kong.sock")
    reading, writing = os.pipe()
    command = [sys.executable, "-m", "request_callout", "serve", "--socket", path, "--workers", "2"]
    notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notified.bind(str(tmp_path / "notify"))
    notified.settimeout(PATIENCE_S)
    environment = {**os.environ, "NOTIFY_SOCKET": notified.getsockname()}
    with notified, subprocess.Popen(command, cwd=ROOT, stderr=writing, env=environment) as process:
        try:
            assert notified.recv(100).startswith(b"READY=1")
            fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
            kong = [connect(path) for _ in range(4)]
            config = {"callouts": [{"name": "a", "request": {"url": "http://127.0.0.1:1/", "error": CONTINUE}}]}
            for one in kong:
                instance = one.start(config)
                for _ in range(20):
                    one.event(instance)
            process.send_signal(signal.SIGUSR1)
            for one in kong:
                one.event(one.start(config))
                one.sock.close()
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE_S) == 0
        finally:
            process.kill()
            os.close(reading)
            os.close(writing)


def test_a_server_without_standard_error_writes_its_log_into_nothing(tmp_path: Path) -> None:
    """The number of the closed descriptor is given to nothing that could be a connection."""
    command = f"exec 2>&-; exec '{sys.executable}' -c '{LISTS}'"
    found = subprocess.run(["sh", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S)
    assert found.stdout.split() == ["/dev/null", "True"]
