"""``request-callout trace``: requests that were sent with the debug secret, as a list, a waterfall, a page."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import click

from request_callout.cli.trace.source import NoTraces, TraceSource

_HOW_TO = 'make one with: curl -H "X-Callout-Debug: $(cat SECRET_FILE)" URL'
_PAUSE_S = 1.0


def _address(_context: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[str, int] | None:
    if value is None:
        return None
    from request_callout.cli.trace.page import is_loopback
    from request_callout.server.addresses import parse_address

    try:
        address = parse_address(value)
    except ValueError:
        raise click.BadParameter("HOST:PORT, such as 127.0.0.1:8090 (port 0: any free one)") from None
    host = "127.0.0.1" if address.host == "localhost" else address.host
    if not is_loopback(host):
        raise click.BadParameter(
            "traces are shown on this machine only: give 127.0.0.1:PORT, and from elsewhere forward that port with "
            "ssh -L PORT:127.0.0.1:PORT HOST"
        )
    return host, address.port


@click.command()
@click.argument("trace_id", metavar="[ID]", required=False)
@click.option(
    "--socket",
    "path",
    type=click.Path(),
    required=True,
    envvar="REQUEST_CALLOUT_TRACE_SOCKET",
    show_envvar=True,
    help="The socket of serve's --trace-socket.",
)
@click.option("--follow", is_flag=True, help="Show every trace as it comes, until Ctrl-C.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="How many the list shows.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: an array, one object, or with --follow a line each.")
@click.option(
    "--serve",
    "address",
    callback=_address,
    metavar="127.0.0.1:PORT",
    help="Show the traces as a web page, on this machine only, until Ctrl-C.",
)
def trace(
    trace_id: str | None, path: str, follow: bool, limit: int, as_json: bool, address: tuple[str, int] | None
) -> None:
    """Show requests that were sent with the header X-Callout-Debug.

    Without ID: a list of the last ones. ID: a waterfall of one, with all its requests and responses; it is the
    trace's id, the id that Kong gave the request (as in logs), the beginning of either, or "last".

    The server must run with --debug-secret-file and --trace-socket; it keeps the last 200 traces in memory. Secrets
    and the values of queries are not in them.
    """
    if sum([trace_id is not None, follow, address is not None]) > 1:
        raise click.UsageError("choose one of ID, --follow and --serve.")
    source = TraceSource(path)
    try:
        if address is not None:
            _serve(source, *address)
        elif follow:
            _follow(source, as_json=as_json)
        elif trace_id is not None:
            _one(source, trace_id, as_json=as_json)
        else:
            _list(source, limit, as_json=as_json)
    except NoTraces as error:
        raise click.ClickException(str(error)) from None
    except KeyboardInterrupt:
        click.echo()


def _list(source: TraceSource, limit: int, *, as_json: bool) -> None:
    summaries = source.since()[:limit]
    if as_json:
        click.echo(json.dumps(summaries, indent=2))
        return
    if not summaries:
        raise NoTraces(f"no request has been traced yet: {_HOW_TO}")
    from request_callout.cli.trace.terminal import console, listed

    console().print(listed(summaries))


def _one(source: TraceSource, trace_id: str, *, as_json: bool) -> None:
    record = source.find(trace_id)
    if record is None:
        raise NoTraces(f"there is no trace {trace_id}: without ID the last ones are listed")
    _show(record, as_json=as_json)


def _show(record: dict[str, Any], *, as_json: bool, indent: int | None = 2) -> None:
    if as_json:
        click.echo(json.dumps(record, indent=indent))
        return
    from request_callout.cli.trace.terminal import console, shown

    console().print(shown(record, console().width))


def _follow(source: TraceSource, *, as_json: bool) -> None:
    summaries = source.since()
    last = summaries[0]["id"] if summaries else None
    if not as_json:
        click.echo(f"Waiting for traces ({_HOW_TO}). Ctrl-C ends.", err=True)
    while True:
        new = source.since(last)
        for summary in reversed(new):
            record = source.get(summary["id"])
            if record is not None:
                _show(record, as_json=as_json, indent=None)
        last = new[0]["id"] if new else last
        time.sleep(_PAUSE_S)


def _serve(source: TraceSource, host: str, port: int, announce: Callable[[str], None] = click.echo) -> None:
    from request_callout.cli.trace.page import page_server

    source.since()  # whoever starts the page is told at once what is missing
    try:
        server = page_server(source, host, port)
    except OSError as error:
        raise click.ClickException(f"can't listen on {host}:{port}: {error.strerror}; choose another port") from None
    shown_host = f"[{host}]" if ":" in host else host
    announce(f"Traces at http://{shown_host}:{server.server_port}/ (Ctrl-C ends)")
    with server:
        server.serve_forever()
