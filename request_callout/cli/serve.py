"""``request-callout serve``: the plugin server beside Kong."""

from __future__ import annotations

import grp
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from request_callout.cli.debug_secret import VARIABLE as _SECRET
from request_callout.cli.debug_secret import debug_secret
from request_callout.config import destinations
from request_callout.config.kong_schema import plugin_info
from request_callout.config.settings import LuaSettings, Settings, TransportSettings
from request_callout.server.addresses import Address, parse_address
from request_callout.server.process import GRACE_S

if TYPE_CHECKING:
    from request_callout.engine.observing import Observer
    from request_callout.server.instances import Instances
    from request_callout.server.registry import Registry
    from request_callout.server.reports import Reports, Ring
    from request_callout.server.sockets import ListeningSocket
    from request_callout.server.worker import Work
    from request_callout.telemetry.metrics import Metrics

_MOST_WORKERS = 256


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
    _Option(
        "max-header-bytes", TransportSettings, "max_header_bytes", _SIZE, "For the headers of a callout's response."
    ),
    _Option("max-body-bytes", TransportSettings, "max_body_bytes", _SIZE, "For the body of a callout's response."),
    _Option("pool-size", TransportSettings, "pool_size", _SIZE, "Connections kept for one origin, in each worker."),
    _Option(
        "pool-idle-s",
        TransportSettings,
        "pool_idle_s",
        click.FloatRange(min=0),
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


def _settings_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add an option for every field of the settings."""
    for option in reversed(_OPTIONS):
        default = option.group.__dataclass_fields__[option.field].default
        if option.unit > 1:
            default //= option.unit
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
        groups[option.group][option.field] = value if option.unit == 1 else value * option.unit
    return Settings(
        **groups[Settings],
        lua=LuaSettings(**groups[LuaSettings]),
        transport=TransportSettings(**groups[TransportSettings]),
    )


def _mode(_context: click.Context, _parameter: click.Parameter, value: str | None) -> int | None:
    if value is None:
        return None
    try:
        mode = int(value, 8)
    except ValueError:
        raise click.BadParameter("permissions are octal digits, such as 600 or 660") from None
    if not 0 <= mode <= 0o777:
        raise click.BadParameter("permissions are octal digits up to 777")
    return mode


def _group(_context: click.Context, _parameter: click.Parameter, value: str | None) -> int | None:
    if value is None or value.isdigit():
        return None if value is None else int(value)
    try:
        return grp.getgrnam(value).gr_gid
    except KeyError:
        raise click.BadParameter(f"there is no group {value}") from None


def _address(_context: click.Context, _parameter: click.Parameter, value: str | None) -> Address | None:
    try:
        return None if value is None else parse_address(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _workers(_context: click.Context, _parameter: click.Parameter, value: str) -> int:
    if value == "auto":
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not value.isdigit() or not 1 <= int(value) <= _MOST_WORKERS:
        raise click.BadParameter(f"a number from 1 to {_MOST_WORKERS}, or auto")
    return int(value)


def _process_option(name: str, *more: str, **settings: Any) -> Callable[..., Any]:
    """An option of the process itself, with its variable and its default in the help."""
    settings.setdefault("show_default", "default" in settings)
    return click.option(f"--{name}", *more, envvar=_variable(name), show_envvar=True, **settings)


@click.command()
@_process_option(
    "socket", "path", type=click.Path(), required=True, help="The unix socket to listen on (pluginserver_NAME_socket)."
)
@_process_option(
    "socket-mode",
    callback=_mode,
    show_default="600; 660 with a group",
    help="The socket's permissions; Kong's workers must be able to write to it.",
)
@_process_option(
    "socket-group", callback=_group, help="The socket's group, by name or number, when Kong runs as another user."
)
@_process_option(
    "replace",
    is_flag=True,
    help="Take the socket from a server that still listens there, as soon as this one can serve.",
)
@_process_option(
    "protocol", type=click.Choice(["protobuf", "msgpack"]), default="protobuf", help="As told to Kong by `dump`."
)
@_process_option(
    "workers",
    callback=_workers,
    default="1",
    metavar="N|auto",
    help="Processes that handle requests; auto: one for each processor. MsgPack runs in one.",
)
@_process_option(
    "watchdog-s",
    "--watchdog",
    "watchdog_s",
    type=click.FloatRange(min=0),
    default=5.0,
    help="A worker that stands still for so many seconds is replaced, with its stack in the log; 0: never.",
)
@_process_option(
    "grace-s",
    "--grace",
    "grace_s",
    type=click.FloatRange(min=0),
    default=GRACE_S,
    help="How many seconds requests in flight may take after SIGTERM.",
)
@_process_option(
    "exit-with-parent", is_flag=True, help="End when the process that started this one has ended (in start_cmd)."
)
@_process_option("ready-file", type=click.Path(dir_okay=False), help="A file that is there while requests are served.")
@_process_option(
    "dump-file",
    type=click.Path(dir_okay=False),
    help="A file to write what `dump` prints to, before the socket is there: for `query_cmd = cat FILE` of Kong.",
)
@_process_option(
    "log-level",
    type=click.Choice(["debug", "info", "warning", "error"], case_sensitive=False),
    default="info",
    help="The least level of what is logged to standard error; SIGUSR2 makes it finer while the server runs.",
)
@_process_option(
    "log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    help="How it is logged: lines of text, or a JSON object a line.",
)
@_process_option(
    "otel",
    is_flag=True,
    help="Send spans to an OpenTelemetry collector, as the OTEL_ variables of the environment say.",
)
@_process_option(
    "metrics",
    callback=_address,
    metavar="HOST:PORT|unix:PATH",
    help="Where Prometheus finds /metrics, and probes /healthz; without it nothing is counted.",
)
@_process_option(
    "debug-secret-file",
    type=click.Path(exists=True, dir_okay=False),
    help="A file with the secret for X-Callout-Debug, at least 16 characters: requests with it get Server-Timing and "
    "are traced. The secret itself may be in REQUEST_CALLOUT_DEBUG_SECRET.",
)
@_process_option(
    "trace-socket",
    type=click.Path(),
    help="The unix socket where request-callout trace finds the traced requests; for this user alone.",
)
@click.option("--tried", type=click.Path(file_okay=False), hidden=True, help="For `try`: where to tell what happens.")
@_settings_options
def serve(path: str, protocol: str, workers: int, tried: str | None, **values: Any) -> None:
    """Run the plugin server: Kong connects to its socket.

    Ends on SIGTERM or SIGINT, when the requests in flight are answered; a second signal does not wait.
    """
    if protocol == "msgpack" and workers > 1:
        raise click.UsageError("--protocol msgpack runs in one worker: Kong spreads an event over its connections.")
    # Nothing heavier than this before the workers are forked: see the module supervisor.
    from request_callout.server import process, stand_in
    from request_callout.server.reports import Reports
    from request_callout.server.sockets import ListeningSocket, SocketError
    from request_callout.server.supervisor import Options, StartFailed, Supervisor

    awaits_successor = stand_in.leave_behind() if values["exit_with_parent"] else None
    process.set_up_logging(values["log_level"], values["log_format"])
    process.allow_many_connections()
    settings = _settings(values)
    info = plugin_info()
    mode = values["socket_mode"]
    if mode is None:
        mode = 0o600 if values["socket_group"] is None else 0o660
    secret = debug_secret(values["debug_secret_file"], os.environ)
    traces = None
    if values["trace_socket"] is not None:
        if secret is None:
            raise click.UsageError(
                f"--trace-socket needs a secret that says which requests to trace: --debug-secret-file, or {_SECRET}."
            )
        traces = Address(path=os.path.abspath(values["trace_socket"]))
    _refuse_one_path_for_two(
        {"--socket": path, "--trace-socket": values["trace_socket"], "--metrics": values["metrics"]}
    )
    options = Options(
        version=info["Version"],
        workers=workers,
        watchdog_s=values["watchdog_s"],
        grace_s=values["grace_s"],
        ready_file=values["ready_file"],
        exit_with_parent=values["exit_with_parent"],
        awaits_successor=awaits_successor,
    )
    try:
        listening = ListeningSocket(
            os.path.abspath(path), mode, group=values["socket_group"], take_over=values["replace"], publish=False
        )
        try:
            reports = Reports(values["metrics"], traces, workers=workers, take_over=values["replace"], ring=_ring)
        except SocketError:
            listening.close()
            raise
        if values["dump_file"] is not None:
            _dump(values["dump_file"], protocol, listening)
        Supervisor(
            lambda registry: _work(
                protocol, settings, info, registry, reports, _observers(reports, secret, **values), tried
            ),
            listening,
            options,
            reports,
        ).run()
    except (SocketError, StartFailed) as error:
        raise click.ClickException(str(error)) from None


def _refuse_one_path_for_two(options: dict[str, str | Address | None]) -> None:
    """UsageError if two of these options name the same socket: the second would find a server on it, this one."""
    names: dict[str, str] = {}
    for name, given in options.items():
        path = given.path if isinstance(given, Address) else given
        if path is None:
            continue
        other = names.setdefault(os.path.abspath(path), name)
        if other != name:
            raise click.UsageError(f"{name} has the same path as {other}: {path}. Choose another one.")


def _dump(path: str, protocol: str, listening: ListeningSocket) -> None:
    """Write what Kong has to know, now that the socket is sure to be ours."""
    from request_callout.cli.dump import write_description

    try:
        write_description(path, protocol)
    except OSError as error:
        listening.close()
        raise click.ClickException(
            f"can't write the file {path} of --dump-file: {error.strerror}: its folder has to exist, and to let this "
            "user write"
        ) from None


def _ring() -> Ring:
    """Keeps the traces; runs in the reporter."""
    from request_callout.telemetry.trace_ring import TraceApp

    return TraceApp()


def _observers(reports: Reports, secret: str | None, *, otel: bool, **_: Any) -> list[Observer]:
    """Those that follow requests, as the options say; runs in the worker."""
    observers: list[Observer] = []
    if otel:
        observers += _spans()
    if secret is not None:
        from request_callout.telemetry.traces import Traces

        observers.append(Traces(secret, None if reports.traces is None else reports.emit))
    return observers


def _spans() -> list[Observer]:
    """The observer for OpenTelemetry, unless the environment disables it; ValueError if it can't be had."""
    try:
        from request_callout.telemetry.spans import spans
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("opentelemetry"):
            raise
        raise ValueError("--otel needs more packages: pip install 'kong-request-callout[otel]'") from None
    except ValueError as error:  # OpenTelemetry reads some variables while it is imported
        if "OTEL_" in str(error):
            raise
        raise ValueError(f"OTEL_PROPAGATORS: {error} Known are tracecontext, baggage, b3, b3multi and none") from None
    found = spans()
    return [] if found is None else [found]


def _work(
    protocol: str,
    settings: Settings,
    info: dict[str, Any],
    registry: Registry,
    reports: Reports,
    observers: list[Observer],
    tried: str | None = None,
) -> Work:
    """What a worker does; runs in the worker."""
    from request_callout.engine import Engine
    from request_callout.server.instances import Instances
    from request_callout.server.worker import Work

    metrics = _metrics(reports)
    if metrics is not None:
        observers.append(metrics)
    if tried is None:
        engine = Engine(settings, observers=observers)
    else:
        from request_callout.cli.try_.engine import tried_engine

        engine = tried_engine(settings, tried, observers)
    if metrics is not None:
        metrics.follow(engine)
    if protocol == "msgpack":
        from request_callout.server.msgpack import MsgpackServer

        msgpack = MsgpackServer(engine, info, registry=registry)
        sweep = _sweep(msgpack.instances, metrics)
        return Work(msgpack.handle, lambda grace_s, _: msgpack.stop(grace_s), sweep, engine.close)
    from request_callout.server.protobuf import ProtobufServer

    instances = Instances(engine, info["Version"], registry=registry)
    server = ProtobufServer(instances, info)
    return Work(server.handle, server.stop, _sweep(instances, metrics), engine.close, server.share)


def _metrics(reports: Reports) -> Metrics | None:
    """What counts in this worker, if anybody wants to know."""
    if reports.own is None:
        return None
    from request_callout.telemetry.metrics import Metrics

    return Metrics(reports.own, reports.place)


def _sweep(instances: Instances, metrics: Metrics | None) -> Callable[[], None]:
    def sweep() -> None:
        instances.sweep()
        if metrics is not None:
            metrics.sweep()

    return sweep
