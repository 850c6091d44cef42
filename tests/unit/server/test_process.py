"""The server as a process: its socket, its signals, its end."""

from __future__ import annotations

import os
import re
import signal
import stat
from pathlib import Path

import pytest

from tests.unit.server.kong_side import Closed
from tests.unit.server.processes import Start, connect, fake_server


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "plugin.sock")


PATH = {"kong.request.get_path": "/p"}
CALLS = [("kong.request.get_path", ()), ("kong.service.request.set_header", ("X-Path", "/p"))]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_an_idle_server_and_removes_its_socket(start: Start, path: str, number: int) -> None:
    """SIGTERM or SIGINT to a server with idle connections: status 0, and the socket's file is gone."""
    process = fake_server(start, path)
    kong = connect(path)
    assert kong.event(kong.start({}), PATH) == CALLS
    process.signal(number)
    assert process.end() == 0
    assert not os.path.exists(path)
    with pytest.raises(Closed):
        kong.frame()


def test_sigterm_finishes_what_is_in_flight(start: Start, path: str) -> None:
    """An event that waits for Kong when SIGTERM comes is finished, then its connection ends, and then the process."""
    process = fake_server(start, path)
    kong, other = connect(path), connect(path)
    kong.begin_event(kong.start({}))
    assert kong.frame() == b"kong.request.get_path"
    kong.frame()
    process.signal(signal.SIGTERM)
    process.wait_for("stopping")
    with pytest.raises(OSError, match=r"No such file|refused"):
        connect(path)
    with pytest.raises(Closed):
        other.frame()
    kong.send(b"\x0a\x02/p")
    assert list(kong.calls({})) == CALLS[1:]
    with pytest.raises(Closed):
        kong.frame()
    assert process.end() == 0
    assert "in flight" not in process.log


def test_what_is_in_flight_gets_no_more_than_the_grace(start: Start, path: str) -> None:
    """An event that never ends is given up after the grace time, with a line in the log and status 0."""
    process = fake_server(start, path, grace_s=0.1)
    kong = connect(path)
    kong.begin_event(kong.start({}))
    kong.frame()
    process.signal(signal.SIGTERM)
    assert process.end() == 0
    assert "ended with requests in flight: 1" in process.log


def test_a_second_signal_does_not_wait(start: Start, path: str) -> None:
    """A second SIGTERM ends the process at once, whatever is in flight."""
    process = fake_server(start, path, grace_s=1000)
    kong = connect(path)
    kong.begin_event(kong.start({}))
    kong.frame()
    process.signal(signal.SIGTERM)
    process.wait_for("stopping")
    process.signal(signal.SIGTERM)
    assert process.end() == 0


def test_instance_ids_survive_a_restart(start: Start, path: str) -> None:
    """A restarted server gives the same configuration the same id, and knows none that was not started in it."""
    first = fake_server(start, path)
    kong = connect(path)
    ids = [kong.start({"callouts": [], "n": n, "__seq__": 1}) for n in range(3)]
    first.signal(signal.SIGKILL)
    first.end()
    fake_server(start, path)
    kong = connect(path)
    assert kong.start({"__seq__": 2, "n": 1, "callouts": []}) == ids[1]
    with pytest.raises(Closed):
        kong.event(ids[0], PATH)
    assert len(set(ids)) == 3


def test_a_stale_socket_is_replaced(start: Start, path: str) -> None:
    """A socket file that a killed server left behind does not stop the next one."""
    first = fake_server(start, path)
    first.signal(signal.SIGKILL)
    first.end()
    assert os.path.exists(path)
    fake_server(start, path)
    kong = connect(path)
    assert kong.event(kong.start({}), PATH) == CALLS


def test_a_server_taken_over_leaves_the_others_socket(start: Start, path: str) -> None:
    """After a take-over the old server finishes its connections, and its end leaves the new one's socket alone."""
    old = fake_server(start, path)
    kong = connect(path)
    instance_id = kong.start({})
    fake_server(start, path, "take_over")
    assert kong.event(instance_id, PATH) == CALLS
    old.signal(signal.SIGTERM)
    assert old.end() == 0
    kong = connect(path)
    assert kong.event(kong.start({}), PATH) == CALLS


def test_log_lines_have_time_and_level(start: Start, path: str) -> None:
    """Each line on standard error starts with its time and level."""
    process = fake_server(start, path)
    process.signal(signal.SIGTERM)
    process.end()
    lines = process.log.splitlines()
    assert lines
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO ", line) for line in lines)


def test_serve_refuses_a_path_where_another_server_listens(start: Start, path: str) -> None:
    """The command ends with status 1 and one line that names the path, and the other server is left alone."""
    fake_server(start, path)
    process = start("request_callout", "serve", "--socket", path)
    assert process.end() == 1
    assert f"another server listens on {path}" in process.log
    assert "Traceback" not in process.log
    kong = connect(path)
    assert kong.event(kong.start({}), PATH) == CALLS


@pytest.mark.parametrize(("option", "mode"), [((), 0o600), (("--socket-mode", "660"), 0o660)])
def test_serve_answers_kong_with_the_real_engine(start: Start, path: str, option: tuple[str, ...], mode: int) -> None:
    """The command listens with the permissions asked for, and a header of the configuration reaches Kong."""
    process = start("request_callout", "serve", "--socket", path, *option)
    process.wait_for("listening on")
    assert stat.S_IMODE(os.stat(path).st_mode) == mode
    kong = connect(path)
    instance_id = kong.start({"callouts": [], "upstream": {"headers": {"custom": {"X-Callout": "yes"}}}})
    calls = kong.event(instance_id)
    assert ("kong.service.request.set_headers", ({"X-Callout": "yes"},)) in calls or (
        "kong.service.request.set_header",
        ("X-Callout", "yes"),
    ) in calls
    process.signal(signal.SIGTERM)
    assert process.end() == 0


def test_serve_answers_500_for_a_bad_configuration(start: Start, path: str) -> None:
    """A bad configuration is a valid instance that answers 500, and the log has the reason."""
    process = start("request_callout", "serve", "--socket", path)
    process.wait_for("listening on")
    kong = connect(path)
    ((name, args),) = kong.event(kong.start({"callouts": [{"name": "a", "request": {"url": "$("}}], "nonsense": {}}))
    assert name == "kong.response.exit"
    assert args[0] == 500
    process.signal(signal.SIGTERM)
    assert process.end() == 0
    assert "nonsense" in process.log
