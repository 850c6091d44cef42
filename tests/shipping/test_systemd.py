"""The systemd unit and the two kong.conf files: they agree, and the unit's command line is one of ours."""

from __future__ import annotations

import ctypes
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.shipping.commands import DESCRIPTION, PLUGINSERVER, ROOT, SOCKET, command, parse, settings

UNIT = ROOT / "deploy" / "systemd" / "request-callout.service"
_PR_SET_MDWE, _REFUSE_EXEC_GAIN = 65, 1


def unit() -> dict[str, list[str]]:
    """The unit's settings: names may come again."""
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text(encoding="utf-8").splitlines():
        if line and line[0] not in "#[":
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def exec_start() -> list[str]:
    (line,) = unit()["ExecStart"]
    return shlex.split(line)


def test_the_unit_serves_where_kong_conf_looks() -> None:
    """ExecStart is one of our command lines; its files are in the runtime directory, and kong.conf names them too."""
    binary, *arguments = exec_start()
    assert binary == "/opt/request-callout/bin/request-callout"
    served = parse(arguments)
    assert (served["path"], served["dump_file"]) == (SOCKET, DESCRIPTION)
    assert unit()["RuntimeDirectory"] == [Path(SOCKET).parent.name]
    assert settings("kong.conf").items() >= PLUGINSERVER.items()


def test_requests_in_flight_have_their_time() -> None:
    """The supervisor alone is told to end, and has longer than the requests in flight get."""
    assert unit()["KillMode"] == ["mixed"]
    (grace_s,) = [option.default for option in command("serve").params if option.name == "grace_s"]
    assert isinstance(grace_s, float)
    assert int(unit()["TimeoutStopSec"][0]) > grace_s + 2


def test_a_kong_that_starts_the_server_is_told_the_same() -> None:
    """deploy/kong-started.conf differs from kong.conf only in who starts the server, and by command lines of ours."""
    beside, started = settings("kong.conf"), settings("deploy/kong-started.conf")
    start = shlex.split(started.pop("pluginserver_request_callout_start_cmd"))
    query = shlex.split(started.pop("pluginserver_request_callout_query_cmd"))
    beside.pop("pluginserver_request_callout_query_cmd")
    assert started == beside
    served = parse(start[1:])
    assert served["path"] == SOCKET
    assert served["replace"]
    assert served["exit_with_parent"]
    assert query[1:] == ["dump"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    """``systemd-analyze verify`` finds nothing, once the command is one that is installed here."""
    copied = tmp_path / UNIT.name
    here = sys.executable.replace("%", "%%")
    copied.write_text(UNIT.read_text("utf-8").replace(exec_start()[0], f'"{here}"'), encoding="utf-8")
    done = subprocess.run(["systemd-analyze", "verify", copied], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_systemd_is_told_when_it_serves(tmp_path: Path) -> None:
    """Type=notify: the unit's command says READY when the socket is there, though no memory may become executable."""
    assert unit()["Type"] == ["notify"]
    assert unit()["MemoryDenyWriteExecute"] == ["yes"]

    def deny_write_execute() -> None:
        # Linux 6.3 and later; where it is missing the rest of the test still counts.
        ctypes.CDLL(None).prctl(_PR_SET_MDWE, _REFUSE_EXEC_GAIN, 0, 0, 0)

    arguments = [text.replace(str(Path(SOCKET).parent), str(tmp_path)) for text in exec_start()[1:]]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(60)
        server = subprocess.Popen(
            [sys.executable, "-m", "request_callout", *arguments],
            env={**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")},
            cwd=ROOT,
            preexec_fn=deny_write_execute,
        )
        try:
            state = dict(line.split("=", 1) for line in systemd.recv(4096).decode().splitlines())
            assert state == {"READY": "1", "MAINPID": str(server.pid)}
            assert (tmp_path / "kong.sock").is_socket()
        finally:
            server.send_signal(signal.SIGTERM)
            status = server.wait(60)
        assert systemd.recv(4096) == b"STOPPING=1"
    assert status == 0
