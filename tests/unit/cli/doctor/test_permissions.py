"""Who may not use the plugin server's socket can't tell whether the server is well, and says so."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.server.processes import ROOT

ASKS = """
import os, sys
from request_callout.cli.doctor.node import PluginServer
from request_callout.cli.doctor.server import reachable
from request_callout.cli.health import health
if os.getuid() == 0:
    os.setuid(65534)
for found in reachable(PluginServer("p", sys.argv[1], None, None, "ProtoBuf:1")):
    print(found.level, found.message)
health(["--socket", sys.argv[1]])
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that others may look into, unlike those of pytest."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)
        os.chmod(name, 0o755)


def asked(path: Path) -> tuple[list[str], str]:
    """What doctor finds and what health says, to a user who may not write to the socket."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        path.chmod(0)
        if path.name == "hidden":
            path.parent.chmod(0)
        found = subprocess.run([sys.executable, "-c", ASKS, str(path)], cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 1
    return found.stdout.splitlines(), found.stderr


def test_a_socket_that_may_not_be_written_to(folder: Path) -> None:
    """Its permissions are told, and that the server was not asked: that is no problem of the server's."""
    path = folder / "kong.sock"
    (first, second), error = asked(path)
    assert first.startswith(f"ok {path}: mode 000")
    told = f"this user may not connect to {path}; ask as the user that Kong runs as"
    assert second == f"skipped {told}"
    assert error == f"Error: {told}\n"


def test_a_folder_that_may_not_be_looked_into(folder: Path) -> None:
    """Nothing is known of the socket, so nothing is called a problem."""
    path = folder / "hidden"
    (only,), _ = asked(path)
    assert only == f"skipped {path} can't be seen by this user: ask as the user that Kong runs as"
