"""The options of ``serve`` for the settings of the engine, of Lua and of the transport: one for each field."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import click

from request_callout.cli.seconds import Seconds
from request_callout.config import destinations
from request_callout.config.settings import LuaSettings, Settings, TransportSettings


class _Option(NamedTuple):
    """An option for one field of the settings; its default is the field's, in units of ``unit``."""

    name: str
    group: type[Settings] | type[LuaSettings] | type[TransportSettings]
    field: str
    type: Any
    help: str
    unit: int = 1


class _List(click.ParamType):  # type: ignore[type-arg,unused-ignore] # generic in later versions of click only
    """Texts separated by commas, each of which ``check`` takes or refuses with ``ValueError``."""

    name = "text"

    def __init__(self, check: Callable[[str], object]) -> None:
        self._check = check

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        for text in str(value).split(","):
            try:
                if text.strip():
                    self._check(text.strip())
            except ValueError as error:
                self.fail(f"{text.strip()}: {error}", param, ctx)
        return str(value)


_SIZE = click.IntRange(min=1)
_INSTRUCTIONS = click.IntRange(1, 2**31 - 1)  # LuaJIT counts with a C int
_MEMORY = click.IntRange(1, 2**40)
OPTIONS = (
    _Option("kong-version", Settings, "kong_version", str, "Kong's version, told in the User-Agent of callouts."),
    _Option(
        "share",
        Settings,
        "share",
        click.Choice(["full", "meta", "off"]),
        "How much of the callouts' results other plugins of the request see: all, all but bodies, or nothing.",
    ),
    _Option("share-max-bytes", Settings, "share_max_bytes", click.IntRange(min=0), "A longer body is not shared."),
    _Option(
        "kong-log",
        Settings,
        "kong_log",
        click.Choice(["on", "off"]),
        "Whether Kong's log record, for http-log and the like, gets fields about the callouts.",
    ),
    _Option("deadline-ms", Settings, "deadline_ms", _SIZE, "For all callouts of a request; Kong gives up at 60000."),
    _Option(
        "default-connect-timeout-ms", Settings, "default_connect_timeout_ms", _SIZE, "For callouts without `timeouts`."
    ),
    _Option("default-read-timeout-ms", Settings, "default_read_timeout_ms", _SIZE, "For callouts without `timeouts`."),
    _Option(
        "default-write-timeout-ms", Settings, "default_write_timeout_ms", _SIZE, "For callouts without `timeouts`."
    ),
    _Option(
        "memory-cache-mb",
        Settings,
        "memory_cache_bytes",
        _SIZE,
        "Megabytes the memory cache may hold, in each worker.",
        1 << 20,
    ),
    _Option(
        "memory-cache-entries",
        Settings,
        "memory_cache_entries",
        _SIZE,
        "Responses the memory cache may hold, in each worker.",
    ),
    _Option(
        "untrusted-lua",
        LuaSettings,
        "untrusted_lua",
        click.Choice(["on", "sandbox", "off"]),
        "Whether scripts and expressions run, and in a sandbox, as in kong.conf.",
    ),
    _Option(
        "untrusted-lua-sandbox-requires",
        LuaSettings,
        "sandbox_requires",
        str,
        "Modules that scripts may require, separated by commas, as in kong.conf.",
    ),
    _Option(
        "untrusted-lua-sandbox-environment",
        LuaSettings,
        "sandbox_environment",
        str,
        "Further globals for scripts, separated by commas, as in kong.conf.",
    ),
    _Option(
        "lua-max-instructions", LuaSettings, "max_instructions", _INSTRUCTIONS, "For one run of a script or expression."
    ),
    _Option("lua-max-time-ms", LuaSettings, "max_time_ms", _SIZE, "For one run, with the PDK calls that it makes."),
    _Option("lua-max-memory-bytes", LuaSettings, "max_memory_bytes", _MEMORY, "What one run may allocate."),
    _Option(
        "ca-file",
        TransportSettings,
        "ca_file",
        click.Path(exists=True, dir_okay=False),
        "Certificates (PEM) to verify callouts' servers with, instead of the system's.",
    ),
    _Option(
        "max-header-bytes", TransportSettings, "max_header_bytes", _SIZE, "For the headers of a callout's response."
    ),
    _Option("max-body-bytes", TransportSettings, "max_body_bytes", _SIZE, "For the body of a callout's response."),
    _Option("pool-size", TransportSettings, "pool_size", _SIZE, "Connections kept for one origin, in each worker."),
    _Option(
        "pool-idle-s",
        TransportSettings,
        "pool_idle_s",
        Seconds(),
        "How many seconds an idle one is kept.",
    ),
    _Option(
        "allow-hosts",
        TransportSettings,
        "allow_hosts",
        _List(destinations.host_pattern),
        "Hosts and patterns (*.example.com), separated by commas, that callouts may go to; without it any.",
    ),
    _Option(
        "deny-networks",
        TransportSettings,
        "deny_networks",
        _List(destinations.network),
        "Networks (CIDR), separated by commas, that callouts may not go to.",
    ),
)


def settings_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add an option for every field of the settings."""
    for option in reversed(OPTIONS):
        default = option.group.__dataclass_fields__[option.field].default
        if option.unit > 1:
            default //= option.unit
        command = click.option(
            f"--{option.name}",
            type=option.type,
            default=",".join(default) if isinstance(default, tuple) else default,
            show_default=default not in (None, ()),
            envvar=variable(option.name),
            show_envvar=True,
            help=option.help,
        )(command)
    return command


def variable(option: str) -> str:
    """The variable of the environment for an option of this name."""
    return "REQUEST_CALLOUT_" + option.upper().replace("-", "_")


def settings_of(values: dict[str, Any]) -> Settings:
    """The settings from the options' values."""
    groups: dict[type, dict[str, Any]] = {Settings: {}, LuaSettings: {}, TransportSettings: {}}
    for option in OPTIONS:
        value = values[option.name.replace("-", "_")]
        if isinstance(option.group.__dataclass_fields__[option.field].default, tuple):
            value = tuple(name.strip() for name in value.split(",") if name.strip())
        groups[option.group][option.field] = value if option.unit == 1 else value * option.unit
    return Settings(
        **groups[Settings],
        lua=LuaSettings(**groups[LuaSettings]),
        transport=TransportSettings(**groups[TransportSettings]),
    )
