"""``request-callout gateway`` as a process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from click.testing import CliRunner

from request_callout.cli import main
from tests.unit.gateway.stand_ins import Upstream

COMMAND = [sys.executable, "-m", "request_callout", "gateway", "--proxy", "127.0.0.1:0", "--admin", "127.0.0.1:0"]


def configured(tmp_path: Path, text: str) -> str:
    file = tmp_path / "kong.yml"
    file.write_text(text)
    return str(file)


GOOD = """
_format_version: "3.0"
services:
- name: s
  url: {url}
  routes:
  - name: r
    paths: [/a]
    plugins:
    - name: request-callout
      config:
        callouts:
        - name: one
          request: {{url: "{url}/callout"}}
        upstream: {{headers: {{custom: {{X-Status: "$(callouts.one.response.status)"}}}}}}
"""


@pytest.mark.parametrize("protocol", ["protobuf", "msgpack"])
def test_serves_until_told_to_end(tmp_path: Path, short_path: Path, up: Upstream, protocol: str) -> None:
    """It prints where it listens, serves with a plugin server of its own, and ends both on SIGTERM with status 0."""
    file = configured(tmp_path, GOOD.format(url=up.url))
    process = subprocess.Popen(
        [*COMMAND, file, "--protocol", protocol],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(short_path)},
    )
    try:
        assert process.stdout is not None
        proxy, admin = process.stdout.readline().split(), process.stdout.readline().split()
        assert (proxy[0], admin[0]) == ("proxy", "admin")
        assert requests.get(f"{proxy[1]}/a/x", timeout=20).status_code == 200
        assert [one.target for one in up.requests] == ["/callout", "/x"]
        assert up.requests[1].header("X-Status") == "200"
        assert requests.get(admin[1], timeout=20).json()["version"] == "3.9.1"
    finally:
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "for trying out and tests only" in log
    assert "Traceback" not in log
    assert list(short_path.iterdir()) == []


def test_every_problem_and_no_traceback(tmp_path: Path) -> None:
    """A wrong file ends it with status 1 and every problem, those that Kong can't see too, by line and column."""
    file = configured(
        tmp_path,
        """
        _format_version: "3.0"
        routes:
        - name: r
          paths: [/a]
          plugins:
          - name: request-callout
            config:
              callouts:
              - {name: a, request: {url: "http://h/$(1 +)"}}
              - {name: a, request: {url: "http://h", by_lua: "this is not lua"}}
        """,
    )
    ended = subprocess.run([*COMMAND, file], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    at = "routes[1].plugins[1].config.callouts"
    assert f"{file}:10:54: {at}[1].request.url" in ended.stderr
    assert f"{file}:11:24: {at}[2].name" in ended.stderr
    assert f"{at}[2].request.by_lua" in ended.stderr
    assert ended.stderr.endswith("3 problems in 1 file\n")
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""


def test_kongs_own_problems(tmp_path: Path) -> None:
    """What Kong's rules refuse is told in the same way, and once if the plugin refuses it too."""
    text = "_format_version: '3.0'\nservices: [{name: s}]\nplugins: [{name: rate-limiting}, {name: request-callout}]"
    file = configured(tmp_path, text)
    ended = subprocess.run([*COMMAND, file], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert f"{file}:2:12: services[1].host: required field missing" in ended.stderr
    assert f"{file}:3:18: plugins[1].name: plugin 'rate-limiting' not enabled" in ended.stderr
    assert ended.stderr.count("plugins[2]") == 1
    assert "Traceback" not in ended.stderr


def test_a_file_that_is_no_yaml(tmp_path: Path) -> None:
    """Where a file can't be read any more is told by line and column."""
    file = configured(tmp_path, "_format_version: '3.0'\nroutes: [\n")
    ended = subprocess.run([*COMMAND, file], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert f"{file}:3:1: " in ended.stderr
    assert ended.stderr.endswith("1 problem in 1 file\n")


def test_what_only_shows_in_a_vault(tmp_path: Path) -> None:
    """A value that a vault does not have, or not right, is told with the route and the place of the reference."""
    text = GOOD.format(url="http://h").replace('"http://h/callout"', '"{vault://env/callout-url}"')
    file = configured(tmp_path, text)
    before = text[: text.index("{vault://")]
    place = f"{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10)) - 1}"  # of the quote before it
    for added in ({"CALLOUT_URL": "ftp://h"}, {}):
        environment = {**os.environ, **added}
        ended = subprocess.run(
            [*COMMAND, file], capture_output=True, text=True, timeout=60, check=False, env=environment
        )
        assert ended.returncode == 1
        assert f"{file}:{place}: request-callout (route r): config.callouts[1].request.url" in ended.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("services:\n\t- name: s\n", ":2:1: while scanning for the next token, found character '\\t'"),
        ("services:\n\t- name: s\n", "; indent with spaces instead of tabs"),
        ("a: b: c\n", ":1:5: mapping values are not allowed here; put a value that holds ': ' into quotes"),
        ("[" * 5000, "nested too deep"),
        ('{"a":' * 100_000, "nested too deep"),
        ('_format_version: "3.0"\nservices:\n- name: s\n  uri: http://a\n', ":4:3: services[1].uri: unknown field"),
        ('_format_version: "9.9"\n', ":1:18: _format_version: expected one of"),
        ("_format_version: 3.0\n", ":1:18: _format_version: expected a string"),
        ('_format_version: "3.0"\nservices:\n  name: s\n', ":3:3: services: expected "),
    ],
)
def test_each_problem_has_its_line_and_a_remedy(tmp_path: Path, text: str, said: str) -> None:
    """What is wrong is told behind FILE:LINE:COLUMN, as validate tells it; no text ends in a traceback."""
    file = configured(tmp_path, text)
    result = CliRunner().invoke(main, ["gateway", file])
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert said in result.output


DECK = "this is decK's format, which is more than Kong reads; deck file render --populate-env-vars makes Kong's of it"
MANIFEST = "this is a manifest of Kubernetes; put its config into a declarative file of Kong's, below a route"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("_format_version: '3.0'\nservices:\n- name: s\n  url: ${{ env \"DECK_URL\" }}\n", DECK),
        ("_format_version: '3.0'\n_info: {select_tags: [shop]}\n", DECK),
        ("_format_version: '3.0'\nplugins:\n- name: request-callout\n  _config: shared\n", DECK),
        ('{"_format_version": "3.0", "_info": {}}', DECK),
        ("apiVersion: configuration.konghq.com/v1\nkind: KongPlugin\nplugin: request-callout\n", MANIFEST),
        ('{"apiVersion": "v1", "kind": "KongClusterPlugin"}', MANIFEST),
        ("_format_version: '3.0'\nplugins:\n- name: no-such\n", None),
    ],
)
@pytest.mark.parametrize("command", [["gateway"], ["try", "--request", "http://h/"]], ids=["gateway", "try"])
def test_what_validate_reads_and_kong_does_not_has_a_remedy(
    tmp_path: Path, command: list[str], text: str, said: str | None
) -> None:
    """A file for decK or Kubernetes that is refused is told to be one, in the last line; no other file is."""
    file = configured(tmp_path, text)
    result = CliRunner().invoke(main, [*command, file])
    assert result.exit_code == 1
    last = result.output.splitlines()[-1]
    assert last == f"{file}: {said}" if said else not last.startswith(f"{file}: ")


@pytest.mark.parametrize(("option", "what"), [("--proxy", "proxy"), ("--admin", "Admin API")])
def test_a_port_that_is_taken_is_told_with_the_option(option: str, what: str) -> None:
    """Another program has the port: the message names the address, and what chooses another one."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [*COMMAND, option, f"127.0.0.1:{port}"]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    last = ended.stderr.splitlines()[-1]
    assert last.startswith(f"Error: the {what} can't listen: ")
    assert str(port) in last
    assert last.endswith("choose other addresses with --proxy and --admin")


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.1:²", "127.0.0.1:65536", ":80"])
def test_a_wrong_address_is_refused(address: str) -> None:
    """What is no HOST:PORT is an error of the command line."""
    result = CliRunner().invoke(main, ["gateway", "--proxy", address])
    assert result.exit_code == 2
    assert "is not HOST:PORT" in result.output


def test_bytes_that_are_no_utf_8_are_told(tmp_path: Path) -> None:
    """A file in another encoding is told to be one, with the place of the first such byte."""
    file = tmp_path / "kong.yml"
    file.write_bytes('_format_version: "3.0"\n# \u00e9\n'.encode("latin-1"))
    result = CliRunner().invoke(main, ["gateway", str(file)])
    assert result.exit_code == 1
    assert f"{file}:2:3: is no UTF-8 text; save it as UTF-8" in result.output
