"""``serve --dump-file``: what Kong has to know of the plugin, where Kong can read it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from request_callout.cli import main
from tests.unit.server.processes import Start, start

__all__ = ["start"]


def refused(*arguments: str) -> str:
    """What a server says that can't start; it is a process of its own, since it sets up the log of all of it."""
    command = [sys.executable, "-m", "request_callout", "serve", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    return " ".join(done.stderr.split())


@pytest.mark.parametrize("protocol", ["protobuf", "msgpack"])
def test_the_file_says_what_dump_prints(start: Start, tmp_path: Path, protocol: str) -> None:
    """Once the server listens the file is there, whole, for the protocol that it speaks; it outlives the server."""
    file = tmp_path / "request-callout.json"
    file.write_text("of an older server")
    server = start(
        "request_callout", "serve", "--socket", str(tmp_path / "s"), "--dump-file", str(file), "--protocol", protocol
    )
    server.wait_for("listening on")
    printed = CliRunner().invoke(main, ["dump", "--protocol", protocol]).output
    assert json.loads(file.read_bytes()) == json.loads(printed)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["request-callout.json", "s"]
    server.signal(signal.SIGTERM)
    assert server.end() == 0
    assert file.read_text() == printed


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """Without its folder the server does not start: status 1, the option and the remedy, and no socket is left."""
    file = tmp_path / "missing" / "request-callout.json"
    said = refused("--socket", str(tmp_path / "s"), "--dump-file", str(file))
    assert f"can't write the file {file} of --dump-file: No such file or directory" in said
    assert "its folder has to exist" in said
    assert list(tmp_path.iterdir()) == []


def test_the_file_of_a_server_that_runs_is_left_alone(start: Start, tmp_path: Path) -> None:
    """A second server that finds the socket taken does not change what Kong is told."""
    file = tmp_path / "request-callout.json"
    server = start("request_callout", "serve", "--socket", str(tmp_path / "s"), "--dump-file", str(file))
    server.wait_for("listening on")
    said = refused("--socket", str(tmp_path / "s"), "--dump-file", str(file), "--protocol", "msgpack")
    assert "another server listens" in said
    assert json.loads(file.read_bytes())["Protocol"] == "ProtoBuf:1"
