"""The commands serve and dump as a user or Kong calls them."""

from __future__ import annotations

import dataclasses
import json
import re
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from request_callout import __version__
from request_callout.cli import main
from request_callout.cli.serve.settings import OPTIONS, settings_of
from request_callout.config.settings import LuaSettings, Settings, TransportSettings
from request_callout.pdk.protobuf import wire
from tests.unit.server.processes import Start

ROOT = Path(__file__).parents[3]
HEAVY = ("gevent", "lupa", "jsonschema", "aiohttp", "requests", "kong_pdk", "geventhttpclient", "redis", "msgpack")


@pytest.mark.parametrize(("options", "protocol"), [([], "ProtoBuf:1"), (["--protocol", "msgpack"], "MsgPack:1")])
def test_dump_prints_one_json_document_for_query_cmd(options: list[str], protocol: str) -> None:
    """Standard output is the protocol and the one plugin, with access as its phase and priority 812."""
    result = CliRunner().invoke(main, ["dump", *options])
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    (info,) = document["Plugins"]
    assert document["Protocol"] == protocol
    assert (info["Name"], info["Phases"], info["Priority"]) == ("request-callout", ["access"], 812)
    assert info["Schema"]["name"] == "request-callout"


def test_dump_imports_nothing_heavy() -> None:
    """Kong waits for the dump before it starts: it loads none of what the server needs."""
    code = (
        "import sys\nfrom request_callout.cli import main\n"
        "try:\n main(['dump'])\nfinally:\n print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    json.loads(done.stdout)
    loaded = done.stderr.split()
    assert "request_callout.config.kong_schema" in loaded
    assert [name for name in HEAVY if name in loaded] == []


def test_every_setting_is_an_option_with_its_default() -> None:
    """Each field of the settings has an option, whose default is the field's."""
    fields = {(group, field.name) for group in (Settings, LuaSettings, TransportSettings) for field in fields_of(group)}
    assert {(option.group, option.field) for option in OPTIONS} == fields - {
        (Settings, "lua"),
        (Settings, "transport"),
    }
    command: Any = main.get_command(None, "serve")  # type: ignore[arg-type]
    with command.make_context("serve", ["--socket", "/s"]) as context:
        assert settings_of(context.params) == Settings()


def fields_of(group: Any) -> tuple[Any, ...]:
    return dataclasses.fields(group)


def test_options_come_from_the_environment_too() -> None:
    """An option that is not given is taken from its variable."""
    command: Any = main.get_command(None, "serve")  # type: ignore[arg-type]
    environment = {
        "REQUEST_CALLOUT_SOCKET": "/s",
        "REQUEST_CALLOUT_DEADLINE_MS": "7",
        "REQUEST_CALLOUT_UNTRUSTED_LUA_SANDBOX_REQUIRES": "a.b, c",
        "REQUEST_CALLOUT_POOL_IDLE_S": "0.5",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        with command.make_context("serve", ["--pool-size", "3"]) as context:
            settings = settings_of(context.params)
    assert settings.deadline_ms == 7
    assert settings.lua.sandbox_requires == ("a.b", "c")
    assert (settings.transport.pool_idle_s, settings.transport.pool_size) == (0.5, 3)


@pytest.mark.parametrize(
    "options",
    [
        ["--socket-mode", "9"],
        ["--socket-mode", "7777"],
        ["--socket-group", "no-such-group"],
        ["--socket-group", "²"],
        ["--socket-group", "4294967295"],
        ["--workers", "0"],
        ["--workers", "many"],
        ["--workers", "²"],
        ["--watchdog", "-1"],
        ["--watchdog", "nan"],
        ["--grace", "inf"],
        ["--pool-idle-s", "nan"],
        ["--lua-max-instructions", "2147483648"],
        ["--lua-max-memory-bytes", "18446744073709551616"],
        ["--deadline-ms", "0"],
        [],
    ],
)
def test_wrong_options_are_refused_before_anything_starts(options: list[str]) -> None:
    """A wrong or missing option is status 2 and a message, without a traceback."""
    result = CliRunner(env={"REQUEST_CALLOUT_SOCKET": None}).invoke(
        main, ["serve", *(["--socket", "/s"] if options else []), *options]
    )
    assert result.exit_code == 2
    assert "Error" in result.output


@pytest.mark.parametrize("seconds", ["nan", "inf", "0"])
@pytest.mark.parametrize("command", [["health", "--socket", "/s"], ["doctor"]], ids=["health", "doctor"])
def test_a_time_that_no_clock_has_is_refused(command: list[str], seconds: str) -> None:
    """What can't be waited for is an error of the command line, not one of the socket or a traceback."""
    result = CliRunner().invoke(main, [*command, "--timeout-s", seconds])
    assert result.exit_code == 2
    assert "Invalid value for '--timeout-s'" in result.output


def test_help_imports_no_command() -> None:
    """The list of commands is there without loading any of them."""
    result = CliRunner().invoke(main, ["--help"])
    assert all(name in result.output for name in ("serve", "health", "dump", "validate", "gateway", "demo"))
    assert CliRunner().invoke(main, ["no-such"]).exit_code == 2


def test_the_version_tells_whether_it_is_compiled() -> None:
    """An operator sees which build it is."""
    build = "compiled" if wire.__file__.endswith(".so") else "pure Python"
    assert CliRunner().invoke(main, ["--version"]).output == f"request-callout, version {__version__} ({build})\n"


def test_the_reference_lists_every_option_of_serve_with_its_default() -> None:
    """The page of options has those of serve in their order, with the defaults that --help shows."""
    page = (ROOT / "docs" / "reference" / "options.md").read_text(encoding="utf-8")
    rows = [row.strip("| ").split(" | ") for row in page.splitlines() if row.startswith("| `--")]
    listed = {row[0].split(", ")[0].strip("`"): row[2].strip().replace("`", "") for row in rows}
    text = CliRunner().invoke(main, ["serve", "--help"], terminal_width=1000).stdout
    options = [" ".join(option.split("\n")) for option in re.split(r"\n  (?=-)", text)[1:] if "--help" not in option]
    shown = {option.split()[0].rstrip(","): default_shown(option) for option in options}
    assert list(listed) == list(shown)
    assert listed == shown


def default_shown(text: str) -> str:
    """The default in an option's part of the help; what stands for it where there is none."""
    option, _, words = text.partition("[env var: ")
    if "required" in words:
        return "(required)"
    found = re.search(r"default: \(?([^];)]*(?:; 660 with a group)?)", words)
    if found is None and re.match(r"--\S+   *[A-Z][a-z]", option):
        return "off"  # a flag: nothing stands between its name and its meaning
    return found[1] if found else ""


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "plugin.sock")


@pytest.mark.parametrize("protocol", ["protobuf", "msgpack"])
def test_health_is_status_0_when_the_server_answers(start: Start, path: str, protocol: str) -> None:
    """A running server answers on either protocol, and the line says how quickly."""
    start("request_callout", "serve", "--socket", path, "--protocol", protocol).wait_for("listening on")
    result = CliRunner().invoke(main, ["health", "--socket", path, "--protocol", protocol])
    assert result.exit_code == 0, result.output
    assert re.fullmatch(rf"ok: request-callout answered on {path} in [\d.]+ ms\n", result.output)


@pytest.mark.parametrize("protocol", ["protobuf", "msgpack"])
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (None, "no answer on .* within 0.1 s"),
        (b"", "the server closed the connection"),
        (b"\x03\x00\x00\x00\xff\xff\xff", "not of the protocol|closed the connection"),
        (b"\xff\xff\xff\xffHTTP/1.1 400", "not of the protocol"),
    ],
)
def test_health_is_status_1_and_one_line_otherwise(path: str, protocol: str, answer: bytes | None, reason: str) -> None:
    """A server that is silent, hangs up or speaks something else is unhealthy, in one line and in time."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(path)
        listening.listen()

        def serve() -> None:
            sock, _ = listening.accept()
            with sock:
                if answer is None:
                    while sock.recv(4096):
                        pass
                else:
                    sock.recv(4096)
                    sock.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        options = ["--protocol", protocol, "--timeout-s", "0.1" if answer is None else "20"]
        result = CliRunner().invoke(main, ["health", "--socket", path, *options])
        thread.join()
    assert result.exit_code == 1
    assert re.fullmatch(rf"Error: .*({reason}).*\n", result.output)


def test_health_without_a_server_says_so(path: str) -> None:
    """No file, or a stale socket, is status 1 with the path in it."""
    assert path in CliRunner().invoke(main, ["health", "--socket", path]).output
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stale:
        stale.bind(path)
    result = CliRunner().invoke(main, ["health", "--socket", path])
    assert (result.exit_code, result.output) == (1, f"Error: nobody answers on {path}: Connection refused\n")


def test_msgpack_runs_in_one_worker(path: str) -> None:
    """More workers on MsgPack are refused: an event's steps come over any connection."""
    result = CliRunner().invoke(main, ["serve", "--socket", path, "--protocol", "msgpack", "--workers", "2"])
    assert result.exit_code == 2
    assert "one worker" in result.output
