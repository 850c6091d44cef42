"""``request-callout serve``: the plugin server beside Kong."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple

import click

from request_callout.config.settings import LuaSettings, Settings, TransportSettings


class _Option(NamedTuple):
    """An option for one field of the settings; its default is the field's."""

    name: str
    group: type[Settings] | type[LuaSettings] | type[TransportSettings]
    field: str
    type: Any
    help: str


_SIZE = click.IntRange(min=1)
_OPTIONS = (
    _Option("kong-version", Settings, "kong_version", str, "Kong's version, told in the User-Agent of callouts."),
    _Option(
        "share",
        Settings,
        "share",
        click.Choice(["full", "meta", "off"]),
        "How much of the callouts' results other plugins of the request see: all, all but bodies, or nothing.",
    ),
    _Option("share-max-bytes", Settings, "share_max_bytes", click.IntRange(min=0), "A longer body is not shared."),
    _Option("deadline-ms", Settings, "deadline_ms", _SIZE, "For all callouts of a request; Kong gives up at 60000."),
    _Option(
        "default-connect-timeout-ms", Settings, "default_connect_timeout_ms", _SIZE, "For callouts without `timeouts`."
    ),
    _Option("default-read-timeout-ms", Settings, "default_read_timeout_ms", _SIZE, "For callouts without `timeouts`."),
    _Option(
        "default-write-timeout-ms", Settings, "default_write_timeout_ms", _SIZE, "For callouts without `timeouts`."
    ),
    _Option("memory-cache-bytes", Settings, "memory_cache_bytes", _SIZE, "What the memory cache may hold."),
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
    _Option("lua-max-instructions", LuaSettings, "max_instructions", _SIZE, "For one run of a script or expression."),
    _Option("lua-max-time-ms", LuaSettings, "max_time_ms", _SIZE, "For one run, with the PDK calls that it makes."),
    _Option("lua-max-memory-bytes", LuaSettings, "max_memory_bytes", _SIZE, "What one run may allocate."),
    _Option(
        "ca-file",
        TransportSettings,
        "ca_file",
        click.Path(exists=True, dir_okay=False),
        "Certificates (PEM) to verify callouts' servers with, instead of the system's.",
    ),
    _Option("max-header-bytes", TransportSettings, "max_header_bytes", _SIZE, "For the headers of a response."),
    _Option("max-body-bytes", TransportSettings, "max_body_bytes", _SIZE, "For the body of a response."),
    _Option("pool-size", TransportSettings, "pool_size", _SIZE, "Connections kept for one origin."),
    _Option("pool-idle-s", TransportSettings, "pool_idle_s", click.FloatRange(min=0), "How long an idle one is kept."),
)


def _settings_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add an option for every field of the settings."""
    for option in reversed(_OPTIONS):
        default = option.group.__dataclass_fields__[option.field].default
        command = click.option(
            f"--{option.name}",
            type=option.type,
            default=",".join(default) if isinstance(default, tuple) else default,
            show_default=default not in (None, ()),
            envvar=_variable(option.name),
            show_envvar=True,
            help=option.help,
        )(command)
    return command


def _variable(option: str) -> str:
    return "REQUEST_CALLOUT_" + option.upper().replace("-", "_")


def _settings(values: dict[str, Any]) -> Settings:
    """The settings from the options' values."""
    groups: dict[type, dict[str, Any]] = {Settings: {}, LuaSettings: {}, TransportSettings: {}}
    for option in _OPTIONS:
        value = values[option.name.replace("-", "_")]
        if isinstance(option.group.__dataclass_fields__[option.field].default, tuple):
            value = tuple(name.strip() for name in value.split(",") if name.strip())
        groups[option.group][option.field] = value
    return Settings(
        **groups[Settings],
        lua=LuaSettings(**groups[LuaSettings]),
        transport=TransportSettings(**groups[TransportSettings]),
    )


def _mode(_context: click.Context, _parameter: click.Parameter, value: str) -> int:
    try:
        mode = int(value, 8)
    except ValueError:
        raise click.BadParameter("permissions are octal digits, such as 600 or 660") from None
    if not 0 <= mode <= 0o777:
        raise click.BadParameter("permissions are octal digits up to 777")
    return mode


@click.command(context_settings={"max_content_width": 120})
@click.option(
    "--socket",
    "path",
    type=click.Path(),
    required=True,
    envvar="REQUEST_CALLOUT_SOCKET",
    show_envvar=True,
    help="The unix socket to listen on (pluginserver_NAME_socket).",
)
@click.option(
    "--socket-mode",
    callback=_mode,
    default="600",
    show_default=True,
    envvar="REQUEST_CALLOUT_SOCKET_MODE",
    show_envvar=True,
    help="The socket's permissions; Kong's workers must be able to write to it.",
)
@click.option(
    "--replace",
    is_flag=True,
    envvar="REQUEST_CALLOUT_REPLACE",
    show_envvar=True,
    help="Take the socket from a server that still listens there (when Kong starts this one).",
)
@click.option(
    "--protocol",
    type=click.Choice(["protobuf", "msgpack"]),
    default="protobuf",
    show_default=True,
    envvar="REQUEST_CALLOUT_PROTOCOL",
    show_envvar=True,
    help="As told to Kong by `dump`.",
)
@click.option(
    "--grace-s",
    "--grace",
    "grace_s",
    type=click.FloatRange(min=0),
    default=30.0,
    show_default=True,
    envvar="REQUEST_CALLOUT_GRACE_S",
    show_envvar=True,
    help="How long requests in flight may take after SIGTERM.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"], case_sensitive=False),
    default="info",
    show_default=True,
    envvar="REQUEST_CALLOUT_LOG_LEVEL",
    show_envvar=True,
    help="The least level of what is logged to standard error.",
)
@_settings_options
def serve(path: str, protocol: str, grace_s: float, **values: Any) -> None:
    """Run the plugin server: Kong connects to its socket.

    Ends on SIGTERM or SIGINT, when the requests in flight are answered.
    """
    from gevent import monkey

    monkey.patch_all()

    from request_callout.config.kong_schema import plugin_info
    from request_callout.engine import Engine
    from request_callout.server import process
    from request_callout.server.sockets import ListeningSocket, SocketError

    process.set_up_logging(values["log_level"])
    info = plugin_info()
    try:
        engine = Engine(_settings(values))
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    server: process.Server
    if protocol == "msgpack":
        from request_callout.server.msgpack import MsgpackServer

        server = MsgpackServer(engine, info)
    else:
        from request_callout.server.instances import Instances
        from request_callout.server.protobuf import ProtobufServer

        server = ProtobufServer(Instances(engine, info["Version"]), info)
    try:
        listening = ListeningSocket(os.path.abspath(path), values["socket_mode"], take_over=values["replace"])
    except SocketError as error:
        raise click.ClickException(str(error)) from None
    try:
        process.run(server, listening, grace_s)
    finally:
        engine.close()
