"""The commands serve and dump as a user or Kong calls them."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from request_callout import __version__
from request_callout.cli import main
from request_callout.cli.serve import _OPTIONS, _settings
from request_callout.config.settings import LuaSettings, Settings, TransportSettings

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
    assert {(option.group, option.field) for option in _OPTIONS} == fields - {
        (Settings, "lua"),
        (Settings, "transport"),
    }
    command: Any = main.get_command(None, "serve")  # type: ignore[arg-type]
    with command.make_context("serve", ["--socket", "/s"]) as context:
        assert _settings(context.params) == Settings()


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
            settings = _settings(context.params)
    assert settings.deadline_ms == 7
    assert settings.lua.sandbox_requires == ("a.b", "c")
    assert (settings.transport.pool_idle_s, settings.transport.pool_size) == (0.5, 3)


@pytest.mark.parametrize("options", [["--socket-mode", "9"], ["--socket-mode", "7777"], ["--deadline-ms", "0"], []])
def test_wrong_options_are_refused_before_anything_starts(options: list[str]) -> None:
    """A wrong or missing option is status 2 and a message, without a traceback."""
    result = CliRunner(env={"REQUEST_CALLOUT_SOCKET": None}).invoke(
        main, ["serve", *(["--socket", "/s"] if options else []), *options]
    )
    assert result.exit_code == 2
    assert "Error" in result.output


def test_help_and_version_import_no_command() -> None:
    """The list of commands is there without loading any of them."""
    result = CliRunner().invoke(main, ["--help"])
    assert all(name in result.output for name in ("serve", "dump", "validate", "gateway", "demo"))
    assert CliRunner().invoke(main, ["--version"]).output == f"request-callout, version {__version__}\n"
    assert CliRunner().invoke(main, ["no-such"]).exit_code == 2
