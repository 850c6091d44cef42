"""The plugin in kong-pdk's own server, as a process, in both of its modes and styles."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from request_callout import plugin
from request_callout.config.kong_schema import plugin_info
from tests.unit.server.test_msgpack import KongSide

ROOT = Path(__file__).parents[3]
DEDICATED = """
import sys
from kong_pdk.cli import start_dedicated_server
from request_callout import plugin
start_dedicated_server("request-callout", plugin.Plugin, plugin.version, plugin.priority, plugin.Schema)
"""


def test_the_module_says_what_kong_pdk_asks() -> None:
    """Version, priority and the fields of the configuration are those of the dump."""
    info = plugin_info()
    assert (plugin.version, plugin.priority) == (info["Version"], 812)
    assert {"config": {"type": "record", "fields": plugin.Schema}} in info["Schema"]["fields"]


@pytest.mark.parametrize("options", [["--gevent"], ["--gevent", "--no-lua-style"], [], ["--no-lua-style"]])
def test_the_module_runs_in_kong_pdks_server(tmp_path: Path, options: list[str]) -> None:
    """In kong-pdk's dedicated server the plugin sets its headers and answers bad configurations with 500."""
    path = tmp_path / "request-callout.sock"
    (tmp_path / "server.py").write_text(DEDICATED, encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, "-u", str(tmp_path / "server.py"), "-p", str(tmp_path), "-v", *options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert any("started at path" in line for line in process.stdout)
        kong = connected(path)
        good = kong.start({"callouts": [], "upstream": {"headers": {"custom": {"X-Callout": "$(1 + 1)"}}}})
        bad = kong.start({"nonsense": {}})
        for _ in range(3):
            calls = kong.event(good)
            assert any("X-Callout" in str(args) and "2" in str(args) for _, args in calls), calls
            assert kong.event(bad)[-1][1][0] == 500
    finally:
        process.kill()
        process.communicate()


def connected(path: Path) -> KongSide:
    """kong-pdk writes that it listens a moment before it does."""
    while True:
        try:
            return KongSide(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            continue
