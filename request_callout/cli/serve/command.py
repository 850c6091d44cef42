"""``request-callout serve``: the plugin server beside Kong."""

from __future__ import annotations

import grp
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from request_callout.cli.debug_secret import VARIABLE as _SECRET
from request_callout.cli.debug_secret import debug_secret
from request_callout.cli.seconds import Seconds
from request_callout.cli.serve.settings import settings_of, settings_options, variable
from request_callout.cli.serve.work import observers, ring, work
from request_callout.config.kong_schema import plugin_info
from request_callout.server.addresses import Address, parse_address
from request_callout.server.process import GRACE_S

if TYPE_CHECKING:
    from request_callout.server.sockets import ListeningSocket

_MOST_WORKERS = 256
_LARGEST_GROUP = 2**32 - 2


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
    if value is None:
        return None
    if value.isdecimal() and int(value) <= _LARGEST_GROUP:
        return int(value)
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
    if not value.isdecimal() or not 1 <= int(value) <= _MOST_WORKERS:
        raise click.BadParameter(f"a number from 1 to {_MOST_WORKERS}, or auto")
    return int(value)


def _process_option(name: str, *more: str, **settings: Any) -> Callable[..., Any]:
    """An option of the process itself, with its variable and its default in the help."""
    settings.setdefault("show_default", "default" in settings)
    return click.option(f"--{name}", *more, envvar=variable(name), show_envvar=True, **settings)


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
    type=Seconds(),
    default=5.0,
    help="A worker that stands still for so many seconds is replaced, with its stack in the log; 0: never.",
)
@_process_option(
    "grace-s",
    "--grace",
    "grace_s",
    type=Seconds(),
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
@settings_options
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
    settings = settings_of(values)
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
            reports = Reports(values["metrics"], traces, workers=workers, take_over=values["replace"], ring=ring)
        except SocketError:
            listening.close()
            raise
        if values["dump_file"] is not None:
            _dump(values["dump_file"], protocol, listening)
        Supervisor(
            lambda registry: work(
                protocol, settings, info, registry, reports, observers(reports, secret, **values), tried
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
