"""``request-callout doctor``: what is wrong with a running Kong's set-up, as far as its Admin API shows it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import click
import orjson
from rich.console import Console
from rich.text import Text

from request_callout.cli.doctor import entities, node, server
from request_callout.cli.doctor.admin import AdminApi, Unreachable
from request_callout.cli.doctor.findings import Finding
from request_callout.cli.doctor.schema import schema
from request_callout.cli.seconds import Seconds
from request_callout.config.kong_schema import PLUGIN_NAME
from request_callout.values import printable

_PLAIN_WIDTH = 120
_STYLES = {"ok": "green", "warning": "yellow", "problem": "bold red", "skipped": "dim"}


def _headers(context: click.Context, parameter: click.Parameter, lines: tuple[str, ...]) -> dict[str, str]:
    result = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name.strip() or not line.isprintable():
            raise click.BadParameter("a header is written as 'Name: value'")
        result[name.strip()] = value.strip()
    return result


def _url(context: click.Context, parameter: click.Parameter, url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise click.BadParameter(f"{url!r} is no http(s) URL; write it as http://127.0.0.1:8001")
    return url


@click.command()
@click.option(
    "--admin",
    "url",
    default="http://127.0.0.1:8001",
    show_default=True,
    callback=_url,
    envvar="REQUEST_CALLOUT_ADMIN",
    show_envvar=True,
    help="Kong's Admin API.",
)
@click.option(
    "--header",
    "headers",
    multiple=True,
    metavar="'NAME: VALUE'",
    callback=_headers,
    help="Sent with each request, as Kong-Admin-Token: …; may be repeated.",
)
@click.option("--ca-file", type=click.Path(exists=True, dir_okay=False), help="Verify the Admin API with this (PEM).")
@click.option("--client-certificate", type=click.Path(exists=True, dir_okay=False), help="Shown to it (PEM).")
@click.option("--client-key", type=click.Path(exists=True, dir_okay=False), help="The key of that (PEM).")
@click.option("--insecure", is_flag=True, help="Do not verify its certificate.")
@click.option(
    "--timeout-s",
    type=Seconds(above_0=True),
    default=10.0,
    show_default=True,
    help="How many seconds an answer may take.",
)
@click.option(
    "--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="What is printed."
)
def doctor(
    url: str,
    headers: dict[str, str],
    ca_file: str | None,
    client_certificate: str | None,
    client_key: str | None,
    insecure: bool,
    timeout_s: float,
    output: str,
) -> None:
    """Look at a running Kong by its Admin API, and say for each check whether it is well and what to do.

    Nothing is changed. Where the plugin server's socket is on this host, the server is asked too.

    The status is 0 if all is well, 1 if there are warnings only, 2 if there is a problem.
    """
    if client_key and not client_certificate:
        raise click.UsageError("--client-key needs --client-certificate.")
    certificate = (client_certificate, client_key) if client_certificate and client_key else client_certificate
    admin = AdminApi(url, headers, False if insecure else ca_file or True, certificate, timeout_s)
    if insecure:
        import urllib3

        urllib3.disable_warnings()
    findings = list(examine(admin))
    status = 2 if _has(findings, "problem") else 1 if _has(findings, "warning") else 0
    if output == "json":
        told = {"version": 1, "status": status, "findings": [asdict(one) for one in findings]}
        click.echo(orjson.dumps(told, option=orjson.OPT_INDENT_2))
    else:
        _show(findings)
    sys.exit(status)


def examine(admin: AdminApi) -> Iterator[Finding]:
    """Every check, in the order in which one would look."""
    try:
        yield from _examined(admin)
    except Unreachable as error:
        remedy = "give its address with --admin; for TLS see --ca-file and --insecure"
        yield Finding("Admin API", "problem", f"can't be reached: {error}", remedy)
    except (AttributeError, KeyError, TypeError, ValueError):  # something else is where Kong has a list or an object
        remedy = "give the address of the Admin API (not the proxy's) with --admin"
        yield Finding("Admin API", "problem", "answers in a way that Kong does not", remedy)


def _examined(admin: AdminApi) -> Iterator[Finding]:
    root_status, root = admin.get("/")
    if root_status in (401, 403):
        remedy = "give a token with --header 'Kong-Admin-Token: …'"
        yield Finding("Admin API", "problem", f"answers {root_status}: not allowed", remedy)
        return
    if not (root_status == 500 or (root_status == 200 and isinstance(root, dict) and "version" in root)):
        remedy = "give the address of the Admin API (not the proxy's) with --admin"
        yield Finding("Admin API", "problem", f"GET / answers {root_status}, not as Kong does", remedy)
        return
    if root_status == 500:
        message = "GET / answers 500; what it would have told can't be looked at"
        yield Finding("Admin API", "warning", message, "see the known fault")
        root = None
    else:
        yield Finding("Admin API", "ok", "answers")
        yield node.version(root)
    yield from node.known_bugs(root, root_status)
    status, told = admin.get("/plugins/enabled")
    names = told.get("enabled_plugins") if status == 200 and isinstance(told, dict) else None
    yield from node.enabled(root, names if isinstance(names, list) else None)
    if root is not None:
        yield from node.serving(root)
    status, answer = admin.get(f"/schemas/plugins/{PLUGIN_NAME}")
    yield schema(status, answer)
    own = None
    if root is not None:
        own = node.own_server(node.plugin_servers(root.get("configuration") or {}))
        if own is not None:
            yield from server.reachable(own)
        yield from node.settings(root)
    yield from _configurations(admin, root, own)


def _configurations(admin: AdminApi, root: Any, own: node.PluginServer | None) -> Iterator[Finding]:
    from request_callout.lua import Lua

    plugins = admin.all("/plugins")
    if plugins is None:
        yield Finding("configurations", "skipped", "this Admin API does not list plugins")
        return
    routes, services = ({one.get("id", ""): one for one in admin.all(path) or ()} for path in ("/routes", "/services"))
    if own is not None and (own.protocol or "").lower().startswith("msgpack"):
        yield entities.guard(plugins)
    yield from entities.configurations(plugins, routes, services, entities.priorities(root), Lua().check)


def _has(findings: Sequence[Finding], level: str) -> bool:
    return any(one.level == level for one in findings)


def _show(findings: Sequence[Finding]) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_PLAIN_WIDTH)
    for one in findings:
        console.print(
            Text.assemble((f"{one.level:8}", _STYLES[one.level]), f" {printable(f'{one.check}: {one.message}')}"),
            soft_wrap=True,
        )
        if one.remedy is not None:
            console.print(Text(f"         -> {printable(one.remedy)}"), soft_wrap=True)
    counts = {level: sum(one.level == level for one in findings) for level in ("problem", "warning")}
    told = ", ".join(f"{count} {level}{'s' if count != 1 else ''}" for level, count in counts.items())
    console.print(Text(f"\n{told}", style="bold"))
