"""``serve``: the debug secret and the socket for traces."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from request_callout.cli.debug_secret import debug_secret
from tests.unit.server.processes import Start, start

__all__ = ["start"]

VARIABLE = "REQUEST_CALLOUT_DEBUG_SECRET"


def refused(tmp_path: Path, *options: str, secret: str | None = None) -> str:
    """What the server says as it refuses to start; a process of its own, since it sets up the log of all of it."""
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
    if secret is not None:
        environment[VARIABLE] = secret
    command = [sys.executable, "-m", "request_callout", "serve", "--socket", str(tmp_path / "s"), *options]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    return " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("secret", "said"),
    [
        ("", "the secret has 0 characters, and needs at least 16"),
        ("fifteen-letters", "the secret has 15 characters, and needs at least 16"),
        ("a secret with spaces in it", "one line of printable ASCII characters without spaces"),
        ("two-lines-of-secret\nsecond", "one line of printable ASCII characters without spaces"),
        ("séééééééééééééééééé", "one line of printable ASCII characters without spaces"),
    ],
)
def test_a_bad_secret_is_refused(tmp_path: Path, secret: str, said: str) -> None:
    """The error says where the secret came from, what is wrong and how to make a good one, and not the secret."""
    file = tmp_path / "secret"
    file.write_text(secret)
    output = refused(tmp_path, "--debug-secret-file", str(file))
    assert said in output
    assert "--debug-secret-file: the secret" in output
    assert "openssl rand -hex 24" in output
    assert not secret or secret not in output


def test_a_bad_secret_in_the_environment_is_refused(tmp_path: Path) -> None:
    """The variable is checked like the file."""
    assert f"{VARIABLE}: the secret has 5 characters" in refused(tmp_path, secret="short")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """A file that is not there is named."""
    assert "no-such-file" in refused(tmp_path, "--debug-secret-file", str(tmp_path / "no-such-file"))


@pytest.mark.parametrize(
    ("mode", "verb"), [(0o600, None), (0o400, None), (0o640, None), (0o644, "read"), (0o604, "read"), (0o602, "change")]
)
def test_a_file_that_others_can_read_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: int, verb: str | None
) -> None:
    """One line names the file, what others can do with it, and the remedy; a group may read it."""
    file = tmp_path / "the secret"
    file.write_text("a-secret-of-22-letters\n")
    file.chmod(mode)
    assert debug_secret(str(file), {}) == "a-secret-of-22-letters"
    told = (
        f"--debug-secret-file: every user of this machine can {verb} {file} (mode {mode:04o}); run: chmod o-rw '{file}'"
    )
    assert caplog.messages == ([told] if verb else [])


def test_the_log_tells_of_it_at_the_start(tmp_path: Path, start: Start) -> None:
    """The line is a warning of the server's own log."""
    file = tmp_path / "secret"
    file.write_text("a-secret-of-22-letters")
    file.chmod(0o644)
    server = start("request_callout", "serve", "--socket", str(tmp_path / "s"), "--debug-secret-file", str(file))
    server.wait_for(f"WARNING --debug-secret-file: every user of this machine can read {file}")


def test_a_trace_socket_needs_a_secret(tmp_path: Path) -> None:
    """Without a secret nothing would ever be traced."""
    output = refused(tmp_path, "--trace-socket", str(tmp_path / "t"))
    assert "--debug-secret-file" in output
    assert VARIABLE in output


@pytest.mark.parametrize("option", ["--trace-socket={}", "--metrics=unix:{}"])
def test_one_path_for_two_sockets_is_refused(tmp_path: Path, option: str) -> None:
    """Two options with the same path are told by name; the server would find itself on it and call it another one."""
    said = refused(tmp_path, option.format(tmp_path / "s"), secret="a-secret-of-22-letters")
    assert f"{option.partition('=')[0]} has the same path as --socket: {tmp_path / 's'}. Choose another one" in said
    assert list(tmp_path.iterdir()) == []
