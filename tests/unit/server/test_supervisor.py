"""The supervisor and its workers, as processes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from request_callout.pdk.protobuf import GetInstanceStatus, InstanceStatus, StartInstance, encode_call
from tests.failures.stage import children
from tests.processors import Queued
from tests.unit.server.kong_side import Called, Closed, KongSide
from tests.unit.server.processes import ROOT, Start, connect, fake_server

BROKEN = (Closed, ConnectionError)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "plugin.sock")


def headers(calls: list[Called]) -> dict[str, str]:
    """The headers that an event set on the upstream request."""
    return dict(args for name, args in calls if name == "kong.service.request.set_header")


def event(kong: KongSide, instance_id: int, path: str = "/who") -> dict[str, str]:
    return headers(kong.event(instance_id, {"kong.request.get_path": path}))


def worker_of(kong: KongSide) -> int:
    """The process that serves this connection."""
    return int(event(kong, kong.start({}))["X-Worker"])


def one_connection_a_worker(path: str, workers: int = 2) -> dict[int, KongSide]:
    """Connections by the process that serves them, one for each."""
    found: dict[int, KongSide] = {}
    others = []
    while len(found) < workers:
        kong = connect(path)
        others.append(kong)  # stays open, so that the next one is another worker's turn
        found.setdefault(worker_of(kong), kong)
    return found


def wait_for_end(pid: int) -> None:
    """Wait until this process, which need not be a child, has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([descriptor], [], [], 20)[0], f"{pid} goes on"
    finally:
        os.close(descriptor)


class KongWorkers:
    """Connections that make one event after another, as Kong's workers do: what is broken is repeated on a new one.

    Between two events a connection is idle for a while, as in Kong's pool.
    """

    def __init__(self, path: str, connections: int, pause_s: float) -> None:
        self.path = path
        self.pause_s = pause_s
        self.rest = threading.Event()
        self.stopped = False
        self.broken: list[int] = []
        self.refused: list[str] = []
        self.answered: dict[int, float] = {}
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self._run, daemon=True) for _ in range(connections)]
        for thread in self.threads:
            thread.start()

    def _run(self) -> None:
        while not self.stopped:
            worker = 0
            try:
                kong = connect(self.path)
                instance_id = kong.start({"name": "load"})
                while not self.stopped:
                    found = event(kong, instance_id)
                    assert found["X-Configuration"] == "load"
                    worker = int(found["X-Worker"])
                    with self.lock:
                        self.answered[worker] = time.monotonic()
                    self.rest.wait(self.pause_s)
                    # nginx drops a connection that ends while nobody uses it.
                    if select.select([kong.sock], [], [], 0)[0]:
                        break
                kong.sock.close()
            except BrokenPipeError:
                self.refused.append("Kong could not write: its client gets 500")
            except BROKEN:
                self.broken.append(worker)
            except OSError as error:
                self.refused.append(str(error))

    def wait_for_workers(self, wanted: int, without: frozenset[int] = frozenset()) -> dict[int, float]:
        """Wait until so many workers other than these have answered; gives all that did, and when."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with self.lock:
                if len(set(self.answered) - without) >= wanted:
                    return dict(self.answered)
            time.sleep(0.005)
        raise AssertionError(f"workers: {self.answered}, broken: {self.broken}, refused: {self.refused}")

    def stop(self) -> None:
        self.stopped = True
        self.rest.set()
        for thread in self.threads:
            thread.join(20)
            assert not thread.is_alive()


@contextlib.contextmanager
def load(path: str, connections: int, pause_s: float = 0.01) -> Iterator[KongWorkers]:
    workers = KongWorkers(path, connections, pause_s)
    try:
        yield workers
    finally:
        workers.stop()


def test_an_instance_started_in_one_worker_is_served_by_another(start: Start, path: str) -> None:
    """When START is answered by one worker, all others serve the id at once, with its configuration."""
    fake_server(start, path, workers=2)
    first, second = one_connection_a_worker(path).values()
    for number in range(20):
        instance_id = first.start({"name": f"c{number}"})
        assert event(second, instance_id)["X-Configuration"] == f"c{number}"
        status = second.command(GetInstanceStatus(1, instance_id))
        assert isinstance(status, InstanceStatus)
        assert status.instance_id == instance_id


def test_a_close_in_one_worker_ends_nothing_in_another(start: Start, path: str) -> None:
    """After a worker of Kong has closed an id, the others go on with it."""
    from request_callout.pdk.protobuf import CloseInstance

    fake_server(start, path, workers=2)
    first, second = one_connection_a_worker(path).values()
    instance_id = first.start({"name": "both"})
    first.command(CloseInstance(1, instance_id))
    assert event(second, instance_id)["X-Configuration"] == "both"
    assert event(first, instance_id)["X-Configuration"] == "both"


def test_instances_outlive_a_worker(start: Start, path: str) -> None:
    """A worker that replaces a dead one serves the ids that were given before."""
    server = fake_server(start, path)
    kong = connect(path)
    instance_id = kong.start({"name": "kept"})
    os.kill(int(event(kong, instance_id)["X-Worker"]), signal.SIGKILL)
    server.wait_for("was killed by SIGKILL; it is replaced now")
    assert event(connect(path), instance_id)["X-Configuration"] == "kept"


def test_a_killed_worker_harms_nobody_else_and_is_replaced(start: Start, path: str) -> None:
    """Kill -9 of one of two workers under load: only its own connections break, and two serve within 2 seconds.

    What the machine was busy with other things does not count.
    """
    server = fake_server(start, path, workers=2)
    with load(path, 16) as kong:
        before = set(kong.wait_for_workers(2))
        killed = min(before)
        queued = Queued([server.process.pid])
        at = time.monotonic()
        os.kill(killed, signal.SIGKILL)
        answered = kong.wait_for_workers(1, frozenset(before))
        took_s = time.monotonic() - at
        queued_s = queued.so_far_s(started=set(answered) - before)
        print(f"{took_s:.2f} s, of which {queued_s:.2f} s were the machine's")
        assert took_s - queued_s < 2
        assert answered[max(before)] > at
    # Idle ones of the dead worker are dropped unseen; one that was not served yet has no worker.
    assert set(kong.broken) <= {killed, 0}


def test_connections_spread_over_the_workers_again(start: Start, path: str) -> None:
    """A worker that replaced another gets its share of the open connections, between two events, and none is closed."""
    server = fake_server(start, path, workers=2)
    first, second = one_connection_a_worker(path)
    os.kill(first, signal.SIGKILL)
    server.wait_for("it is replaced now")
    connections = [connect(path) for _ in range(8)]
    instance_id = connections[0].start({"name": "spread"})
    deadline = time.monotonic() + 20
    places: list[str] = []
    while time.monotonic() < deadline:
        found = [event(kong, instance_id) for kong in connections]
        assert {one["X-Configuration"] for one in found} == {"spread"}
        places = [one["X-Worker"] for one in found]
        if 3 <= places.count(str(second)) <= 5:
            return
    raise AssertionError(places)


def test_a_worker_that_dies_again_and_again_is_restarted_with_growing_pauses(start: Start, path: str) -> None:
    """The second death in a row waits half a second, the third a second, each with a line of level CRITICAL."""
    server = fake_server(start, path)
    for words in ("it is replaced now", "replaced in 0.5 s", "replaced in 1 s"):
        kong = connect(path)
        instance_id = kong.start({})
        with pytest.raises(BROKEN):
            event(kong, instance_id, "/die")
        server.wait_for(words)
    assert len(re.findall(r"CRITICAL worker 1 .* was killed by SIGABRT AGAIN, death \d in a row", server.log)) == 2
    assert worker_of(connect(path))


def test_a_worker_that_stands_still_is_replaced_with_its_stack_in_the_log(start: Start, path: str) -> None:
    """A loop that does not turn for the watchdog's time: the log shows where, a new worker comes, others serve."""
    server = fake_server(start, path, workers=2, watchdog_s=3.0)
    (first, stuck), (other_pid, other) = one_connection_a_worker(path).items()
    stuck.begin_event(stuck.start({}))
    assert stuck.frame() == b"kong.request.get_path"
    stuck.frame()
    stuck.send(b"\x0a\x0c/stand-still")
    assert worker_of(other) == other_pid
    server.wait_for("has not turned its loop for")
    server.wait_for("in stand_still")
    with pytest.raises(BROKEN):
        stuck.frame()
    server.wait_for("was killed by SIGKILL; it is replaced now")
    assert f"(pid {first})" in server.log
    assert worker_of(other) == other_pid
    assert first not in one_connection_a_worker(path)


def test_ids_never_run_another_configuration_after_a_restart(start: Start, path: str) -> None:
    """Ids of a server that was restarted are refused or run their own configuration, whatever was started meanwhile."""
    names = [f"route-{number}" for number in range(30)]
    server = fake_server(start, path, workers=2)
    kong = connect(path)
    ids = {name: kong.start({"name": name}) for name in names}
    server.signal(signal.SIGKILL)
    server.end()
    fake_server(start, path, workers=2)
    kong = connect(path)
    again = {name: kong.start({"name": name}) for name in reversed(names[15:])}
    for name, instance_id in ids.items():
        kong = connect(path)
        if name in again:
            assert event(kong, instance_id)["X-Configuration"] == name
        else:
            with pytest.raises(Closed):
                event(kong, instance_id)


def test_sigterm_finishes_what_is_in_flight_in_every_worker(start: Start, path: str) -> None:
    """Events that wait for Kong in each worker when SIGTERM comes are finished, and then the processes end."""
    server = fake_server(start, path, workers=2)
    workers = one_connection_a_worker(path)
    for kong in workers.values():
        kong.begin_event(kong.start({}))
        kong.frame()
        kong.frame()
    server.signal(signal.SIGTERM)
    server.wait_for("stopping")
    for kong in workers.values():
        kong.send(b"\x0a\x02/p")
        assert headers(list(kong.calls({}))) == {"X-Path": "/p"}
    assert server.end() == 0
    assert "in flight" not in server.log
    for pid in workers:
        wait_for_end(pid)


def test_sigterm_to_a_worker_replaces_it_after_what_is_in_flight(start: Start, path: str) -> None:
    """A worker that gets SIGTERM itself finishes its event and ends; another takes its place."""
    server = fake_server(start, path)
    kong = connect(path)
    pid = worker_of(kong)
    kong.begin_event(kong.start({}))
    kong.frame()
    kong.frame()
    os.kill(pid, signal.SIGTERM)
    waiting = connect(path)
    kong.send(b"\x0a\x02/p")
    assert headers(list(kong.calls({}))) == {"X-Path": "/p"}
    server.wait_for("ended with status 0; it is replaced now")
    with contextlib.suppress(*BROKEN):
        assert worker_of(waiting) != pid
    assert worker_of(connect(path)) != pid


def test_workers_end_when_the_supervisor_is_killed(start: Start, path: str) -> None:
    """Kill -9 of the supervisor: nobody listens any more, what is in flight is finished, and the workers end."""
    server = fake_server(start, path, workers=2)
    workers = one_connection_a_worker(path)
    (_, busy), (idle_pid, _) = workers.items()
    busy.begin_event(busy.start({}))
    busy.frame()
    busy.frame()
    server.signal(signal.SIGKILL)
    server.wait_for("the supervisor is gone")
    wait_for_end(idle_pid)
    busy.send(b"\x0a\x02/p")
    assert headers(list(busy.calls({}))) == {"X-Path": "/p"}
    for pid in workers:
        wait_for_end(pid)
    server.end()
    fake_server(start, path)
    assert worker_of(connect(path))


def test_a_hang_up_ends_nothing(start: Start, path: str) -> None:
    """SIGHUP, to all processes as when a terminal is closed, is told in the log; the same worker goes on serving."""
    server = start("request_callout", "serve", "--socket", path)
    server.wait_for("listening on")
    os.killpg(server.process.pid, signal.SIGHUP)
    server.wait_for("SIGHUP has no effect")
    kong = connect(path)
    assert kong.start({}) >= 0
    server.signal(signal.SIGTERM)
    assert server.end() == 0
    assert "was killed by" not in server.log


def test_a_socket_that_somebody_removed_is_made_anew(start: Start, path: str) -> None:
    """Whoever connects is served by the same workers, as often as it is removed; who had connected goes on."""
    server = fake_server(start, path, workers=2)
    mode = os.stat(path).st_mode
    before = one_connection_a_worker(path)
    for _ in range(2):
        os.unlink(path)
        server.wait_for(f"ERROR somebody removed the socket {path}; it is there again")
        assert os.stat(path).st_mode == mode
        after = one_connection_a_worker(path)
        assert after.keys() == before.keys()
        for pid, kong in before.items():
            assert worker_of(kong) == pid
    first, second = after
    os.kill(first, signal.SIGKILL)
    server.wait_for("it is replaced now")
    assert second in one_connection_a_worker(path)
    server.signal(signal.SIGTERM)
    assert server.end() == 0
    assert server.log.count("somebody removed") == 2
    assert os.listdir(os.path.dirname(path)) == []


def test_a_socket_whose_folder_was_removed_is_told_once_and_there_again_with_it(start: Start, path: str) -> None:
    """As long as it can't be made anew, one line of level critical says that nobody can connect, and why."""
    folder = os.path.dirname(path) + "/run"
    os.mkdir(folder)
    path = f"{folder}/kong.sock"
    server = fake_server(start, path)
    os.unlink(path)
    os.rmdir(folder)
    server.wait_for(f"CRITICAL somebody removed the socket {path}")
    assert "its folder has to exist; make it" in server.log
    os.mkdir(folder)
    server.wait_for("it is there again")
    assert worker_of(connect(path))
    assert server.log.count("CRITICAL") == 1


def test_a_path_that_another_server_has_taken_is_left_to_it(start: Start, path: str) -> None:
    """A server whose socket was removed, and whose path another one took since, makes nothing anew."""
    first = fake_server(start, path)
    first.signal(signal.SIGSTOP)
    os.unlink(path)
    other = fake_server(start, path)
    first.signal(signal.SIGCONT)
    first.signal(signal.SIGHUP)
    first.wait_for("SIGHUP has no effect")
    assert worker_of(connect(path)) in children(other.process.pid)
    assert "somebody removed" not in first.log


def test_without_descriptors_for_a_new_worker_the_others_serve_on(start: Start, path: str) -> None:
    """A supervisor that can't start a worker says why, tries again after a pause, and ends nothing."""
    server = fake_server(start, path, workers=2)
    (first, _), (_, second) = one_connection_a_worker(path).items()
    pid = server.process.pid
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = max(map(int, os.listdir(f"/proc/{pid}/fd"))) + 1
    # One is free when the link to the killed worker is closed: too few for a new one.
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (used, limits[1]))
    os.kill(first, signal.SIGKILL)
    server.wait_for("CRITICAL can't start worker")
    assert "Too many open files; tried again in 1 s" in server.log or "in 0.5 s" in server.log
    assert worker_of(second)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
    assert len(one_connection_a_worker(path)) == 2


def test_first_workers_that_cannot_start_end_the_server(start: Start, path: str, tmp_path: Path) -> None:
    """Settings that the engine refuses: status 1, one line with the reason, and no file of a socket is left."""
    (tmp_path / "ca.pem").write_text("no certificate")
    server = start(
        "request_callout", "serve", "--socket", path, "--workers", "2", "--ca-file", str(tmp_path / "ca.pem")
    )
    assert server.end() == 1
    assert "ca.pem" in server.log
    assert "Traceback" not in server.log
    assert os.listdir(tmp_path) == ["ca.pem"]


def test_a_server_that_cannot_start_takes_nothing_from_the_one_that_runs(start: Start, path: str) -> None:
    """With --replace the path is taken only when the new server serves."""
    fake_server(start, path)
    kong = connect(path)
    pid = worker_of(kong)
    refused = start("tests.unit.server.fake_server", path, "take_over", "refuse")
    assert refused.end() == 1
    assert worker_of(connect(path)) == pid


def test_replace_and_sigterm_under_load_break_no_request(start: Start, path: str) -> None:
    """The new server takes the path, the old one drains: every event is answered, none is broken."""
    old = fake_server(start, path, workers=2)
    with load(path, 8, pause_s=0.12) as kong:
        before = frozenset(kong.wait_for_workers(2))
        fake_server(start, path, "take_over", workers=2)
        old.signal(signal.SIGTERM)
        kong.wait_for_workers(1, before)
        assert old.end() == 0
    assert (kong.refused, kong.broken) == ([], [])
    assert os.path.exists(path)


@pytest.mark.parametrize("successor", [True, False])
def test_a_command_written_to_a_connection_that_was_let_go_finds_its_end(
    start: Start, path: str, *, successor: bool
) -> None:
    """Kong repeats an event whose connection ends; one that it can't write is a 500, and ten seconds for a start."""
    old = fake_server(start, path)
    idle = [connect(path), connect(path)]
    for kong in idle:
        event(kong, kong.start({}))
    if successor:
        fake_server(start, path, "take_over")
    old.signal(signal.SIGTERM)
    for kong in idle:
        assert select.select([kong.sock], [], [], 20)[0]
        kong.send(encode_call(StartInstance(1, "request-callout", b"{}")))
        assert kong.sock.recv(1) == b""
        kong.sock.close()
    assert old.end() == 0


def test_thousands_of_connections_leave_nothing_behind(start: Start, path: str) -> None:
    """After 2,000 connections at once, ended in every way, the worker holds no descriptor and no greenlet of them."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(before[1], 8192), before[1]))
    try:
        fake_server(start, path)
        witness = connect(path)
        instance_id = witness.start({})
        clean = left(witness, instance_id)
        connections = [connect(path) for _ in range(2000)]
        for number, kong in enumerate(connections):
            match number % 5:
                case 0:
                    event(kong, instance_id)
                case 1:  # in the middle of an event
                    kong.begin_event(instance_id)
                    kong.frame()
                case 2:  # in the middle of a frame
                    kong.sock.sendall(b"\x20\x00\x00\x00\x08")
                case 3:  # in the middle of a start, whose answer nobody reads
                    kong.send(encode_call(StartInstance(1, "request-callout", b'{"n":%d}' % number)))
                case _:  # not a word
                    pass
        until(witness, instance_id, lambda now: now["descriptors"] >= clean["descriptors"] + 2000)
        for kong in connections:
            kong.sock.close()
        until(witness, instance_id, lambda now: now == clean)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def until(kong: KongSide, instance_id: int, reached: Callable[[dict[str, int]], bool]) -> None:
    deadline = time.monotonic() + 10
    while not reached(now := left(kong, instance_id)):
        assert time.monotonic() < deadline, now


def left(kong: KongSide, instance_id: int) -> dict[str, int]:
    found: dict[str, int] = json.loads(event(kong, instance_id, "/left")["X-Left"])
    return found


def test_the_ready_file_is_there_while_the_server_serves(start: Start, path: str, tmp_path: Path) -> None:
    """The file is written when requests are served, belongs to the last server that wrote it, and goes with it."""
    ready = tmp_path / "ready"
    old = fake_server(start, path, ready_file=ready)
    assert ready.read_text() == f"{old.process.pid}\n"
    new = fake_server(start, path, "take_over", ready_file=ready)
    old.signal(signal.SIGTERM)
    assert old.end() == 0
    assert ready.read_text() == f"{new.process.pid}\n"
    new.signal(signal.SIGTERM)
    assert new.end() == 0
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_told_when_the_server_serves_and_when_it_stops(start: Start, path: str, abstract: bool) -> None:
    """READY=1 comes when a worker accepts, STOPPING=1 at SIGTERM, over a socket in a file or an abstract one."""
    address = f"@{path}.notify" if abstract else f"{path}.notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.settimeout(20)
        systemd.bind(address.replace("@", "\0", 1) if abstract else address)
        server = start("tests.unit.server.fake_server", path, env={"NOTIFY_SOCKET": address})
        assert systemd.recv(4096).decode().splitlines() == ["READY=1", f"MAINPID={server.process.pid}"]
        assert worker_of(connect(path))
        server.signal(signal.SIGTERM)
        assert systemd.recv(4096) == b"STOPPING=1"
        assert server.end() == 0


PARENT = """
import subprocess, sys
subprocess.Popen([sys.executable, "-m", "tests.unit.server.fake_server", *sys.argv[1:]])
sys.stdin.read()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_server_ends_with_its_parent_if_it_is_told_to(path: str, number: int) -> None:
    """With exit_with_parent the end of the process that started it, by any signal, ends the server in good order."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, path, "exit_with_parent"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert parent.stderr is not None
    assert parent.stdin is not None
    with parent.stderr, parent.stdin:
        assert any("listening on" in line for line in parent.stderr)
        kong = connect(path)
        pid = worker_of(kong)
        parent.send_signal(number)
        parent.wait(20)
        log = parent.stderr.read()  # ends with the last process that could write to it
    assert "the process that started this one is gone" in log
    assert log.rstrip().endswith("stopped")
    wait_for_end(pid)
    assert not os.path.exists(path)
