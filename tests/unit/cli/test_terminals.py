"""Commands where the terminal is not what their authors have: other encodings, pipes that close."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

CONFIGURATION = """
_format_version: "3.0"
services:
- name: s
  url: http://127.0.0.1:9
  routes:
  - name: r
    paths: [/a]
    plugins:
    - name: request-callout
      config:
        callouts:
        - name: "one"
          request:
            url: http://127.0.0.1:9/
            error: {on_error: continue}
            headers: {custom: {X-Face: "\U0001f600"}}
"""


@pytest.mark.parametrize(
    "arguments",
    [["explain"], ["try", "--no-upstream", "--request", "http://a/a"], ["validate"]],
    ids=lambda arguments: arguments[0],
)
def test_a_terminal_of_ascii_shows_what_it_can(tmp_path: Path, arguments: list[str]) -> None:
    """What the output's encoding lacks is a question mark; the command ends as elsewhere, without a traceback."""
    file = tmp_path / "kong.yml"
    file.write_text(CONFIGURATION, "utf-8")
    result = subprocess.run(
        [sys.executable, "-m", "request_callout", *arguments, str(file)],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii:strict", "COLUMNS": "40"},
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.isascii()
    assert result.stdout
    assert b"Traceback" not in result.stderr


def test_a_file_name_that_is_no_text_is_shown(tmp_path: Path) -> None:
    """The name of a file may be any bytes; it is told as well as it can be."""
    file = tmp_path / os.fsdecode(b"kong-\xff.yml")
    file.write_text(CONFIGURATION, "utf-8")
    result = subprocess.run(
        [sys.executable, "-m", "request_callout", "validate", str(file)], capture_output=True, timeout=60
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.endswith(b": ok\n")


def test_ctrl_c_is_neither_a_finding_nor_a_traceback(tmp_path: Path) -> None:
    """A command that is interrupted ends with 130, at once; validate's 1 would say that the file is wrong."""
    pipe = tmp_path / "kong.yml"
    os.mkfifo(pipe)
    process = subprocess.Popen(
        [sys.executable, "-m", "request_callout", "validate", str(pipe)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        with pipe.open("wb"):  # opens when the command reads
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "Traceback" not in said


def test_a_gateway_whose_terminal_is_closed_ends_its_plugin_server(tmp_path: Path, short_path: Path) -> None:
    """On SIGHUP the gateway ends, and no plugin server is left, though that one outlives a hang-up by itself."""
    file = tmp_path / "kong.yml"
    file.write_text(CONFIGURATION, "utf-8")
    options = ["--proxy", "127.0.0.1:0", "--admin", "127.0.0.1:0", str(file)]
    process = subprocess.Popen(
        [sys.executable, "-m", "request_callout", "gateway", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "TMPDIR": str(short_path)},
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        os.killpg(process.pid, signal.SIGHUP)
        _, log = process.communicate(timeout=20)  # to the end of the log, which the plugin server writes to, too
    finally:
        process.kill()
    assert process.returncode == 0
    assert "stopped" in log
    assert "Traceback" not in log
