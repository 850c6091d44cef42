"""``request-callout gateway``: the embedded gateway, for a first try and for tests."""

from __future__ import annotations

import asyncio
import logging
import re
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import click

from request_callout.cli import server_options
from request_callout.cli.validate.checking import Checks, Finding
from request_callout.cli.validate.outputs import Style, as_text
from request_callout.config import InvalidConfiguration, Problem, load
from request_callout.config.documents import Unreadable, read_documents
from request_callout.config.files import Standing, read_file
from request_callout.config.normal import is_reference
from request_callout.config.places import Located, Place, Source
from request_callout.gateway import declarative
from request_callout.gateway.declarative import InvalidDeclaration
from request_callout.gateway.flat_errors import told
from request_callout.gateway.model import Configuration
from request_callout.gateway.node import (
    CLIENT_BODY_BUFFER_BYTES,
    PLUGIN,
    Address,
    CannotListen,
    Gateway,
    GatewaySettings,
    function_lua,
    plugin_schemas,
)
from request_callout.gateway.plugin_server import ServerNotReady
from request_callout.gateway.runtime import handed_config
from request_callout.gateway.schema_rules import Definition
from request_callout.gateway.vault import resolver

_OTHER_FORMATS = (
    (
        re.compile(r"\$\{\{|(?:^|[{,])[ \t\"-]*_(?:info|plugin_configs|config)\"?[ \t]*:", re.MULTILINE),
        "this is decK's format, which is more than Kong reads; deck file render --populate-env-vars makes Kong's of it",
    ),
    (
        re.compile(r"(?:^|[{,])[ \t\"-]*kind\"?[ \t]*:[ \t\"]*Kong(?:Cluster)?Plugin\b", re.MULTILINE),
        "this is a manifest of Kubernetes; put its config into a declarative file of Kong's, below a route",
    ),
)
"""What validate reads and Kong does not, and what to do; told when a file is refused."""
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "notice": logging.INFO, "warn": logging.WARNING}


class _AddressType(click.ParamType[Address]):
    name = "HOST:PORT"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Address:
        if isinstance(value, Address):
            return value
        host, _, port = str(value).rpartition(":")
        if not host or not port.isdecimal() or int(port) > 65535:
            self.fail(f"{value!r} is not HOST:PORT", param, ctx)
        return Address(host.strip("[]"), int(port))


@click.command("gateway")
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--proxy", type=_AddressType(), default="127.0.0.1:8000", show_default=True, help="Where clients come.")
@click.option("--admin", type=_AddressType(), default="127.0.0.1:8001", show_default=True, help="The Admin API.")
@server_options.protocol
@click.option("--socket", "socket_path", metavar="PATH", help="Use the plugin server that listens here already.")
@server_options.serve_options
@click.option(
    "--client-body-buffer-size",
    type=click.IntRange(min=0),
    default=CLIENT_BODY_BUFFER_BYTES,
    show_default=True,
    help="Bytes of a request body kept in memory; a larger one goes to a file, as in Kong.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warn", "error"]),
    default="info",
    show_default=True,
    help="The least level of what is logged to standard error.",
)
def gateway(
    file: Path | None,
    proxy: Address,
    admin: Address,
    protocol: str,
    socket_path: str | None,
    serve_options: tuple[str, ...],
    client_body_buffer_size: int,
    log_level: str,
) -> None:
    """Run a small stand-in of Kong with the plugin, from a declarative FILE (kong.yml).

    It is for trying out and tests, not for production: there, run the plugin beside a real Kong (request-callout
    serve). Without FILE it starts empty and waits for POST /config on the Admin API. When both ports are open it
    prints their addresses, a line each.
    """
    logging.basicConfig(
        stream=sys.stderr,
        level=_LEVELS.get(log_level, logging.ERROR),
        format="%(asctime)s [%(levelname)s] %(message)s",
    )
    click.echo("request-callout gateway: a stand-in of Kong, for trying out and tests only", err=True)
    schemas = plugin_schemas(external_schema())
    configuration = Configuration()
    if file is not None:
        configuration = loaded(file, schemas)
    settings = GatewaySettings(
        proxy=proxy,
        admin=admin,
        protocol="msgpack" if protocol == "msgpack" else "protobuf",
        serve_options=serve_options,
        socket_path=socket_path,
        client_body_buffer_bytes=client_body_buffer_size,
    )
    try:
        asyncio.run(_serve(Gateway(settings, schemas), configuration))
    except ServerNotReady as error:
        raise click.ClickException(f"{error}: its last lines say why") from None
    except CannotListen as error:
        raise click.ClickException(f"{error}; choose other addresses with --proxy and --admin") from None
    except OSError as error:
        raise click.ClickException(str(error)) from None


def external_schema() -> Definition:
    """The plugin's schema as its server dumps it."""
    from request_callout.config.kong_schema import plugin_info

    schema: Definition = plugin_info()["Schema"]
    return schema


def loaded(file: Path, schemas: Mapping[str, Definition]) -> Configuration:
    """A declarative file, by Kong's rules and then by the plugin's own; ends the program if anything is wrong."""
    text = file.read_text("utf-8", "surrogateescape")
    try:
        configuration = declarative.load(declarative.parse(text), schemas)
    except InvalidDeclaration as invalid:
        _refuse(file, text, by_kong=told(invalid.errors))
    problems = list(_own_problems(configuration, schemas[PLUGIN]))
    if problems:
        _refuse(file, text, by_plugin=problems)
    return configuration


def _own_problems(configuration: Configuration, schema: Definition) -> Iterator[tuple[str, Problem]]:
    """What Kong can't see: syntax errors, cycles, double names in the configurations of request-callout, and whose."""
    config_schema = next(entry["config"] for entry in schema["fields"] if "config" in entry)
    for plugin in configuration.plugins:
        if plugin.name != PLUGIN:
            continue
        handed = handed_config(plugin, config_schema, resolver(configuration.vaults))
        try:
            load(handed.config, function_lua().check)
        except InvalidConfiguration as invalid:
            place = _place(configuration, plugin.route_id, plugin.service_id, plugin.consumer_id)
            yield from ((f"{PLUGIN}{place}", problem) for problem in invalid.problems)


def _place(configuration: Configuration, *ids: str | None) -> str:
    words = []
    for kind, identity in zip(("routes", "services", "consumers"), ids, strict=True):
        entity = configuration.entities.get(kind, {}).get(identity or "")
        if entity is not None:
            words.append(f"{kind[:-1]} {entity.get('name') or entity.get('username') or identity}")
    return f" ({', '.join(words)})" if words else ""


def _refuse(
    file: Path, text: str, *, by_kong: Iterable[tuple[str, str]] = (), by_plugin: Iterable[tuple[str, Problem]] = ()
) -> NoReturn:
    """Tell of every problem as ``validate`` does, and end; what both see is told once, in the words of ``validate``."""
    checked = Checks(function_lua().check, None).check_text(str(file), text)
    findings = [finding for finding in checked.findings if finding.problem.level == "error"]
    if not any(finding.problem.rule == "syntax" for finding in findings):
        findings += list(_beside(str(file), text, by_kong, by_plugin, tuple(finding.problem for finding in findings)))
    findings.sort(key=lambda finding: finding.place or Place(0, 0))
    click.echo(as_text([replace(checked, findings=tuple(findings))], Style(quiet=True)), nl=False, err=True)
    for pattern, remedy in _OTHER_FORMATS:
        if pattern.search(text):
            click.echo(f"{file}: {remedy}", err=True)
            break
    raise SystemExit(1)


def _beside(
    file: str,
    text: str,
    by_kong: Iterable[tuple[str, str]],
    by_plugin: Iterable[tuple[str, Problem]],
    seen: Sequence[Problem],
) -> Iterator[Finding]:
    """What ``validate`` does not see: Kong's rules for all that is no configuration, and values that are in vaults."""
    try:
        root = Located(read_documents(text)[0].node, Source(text))
    except (Unreadable, IndexError):
        root = None
    standings = read_file(text, None).configurations
    for path, message in by_kong:
        if not any(one.path.startswith(path) for one in seen):
            place = None if root is None else root.find(f".{path}", key="unknown field" in message)
            yield Finding(file, Problem(path, message, rule="file"), place)
    for whose, problem in by_plugin:
        if not any(one.path.endswith(problem.path) and one.message == problem.message for one in seen):
            yield Finding(file, replace(problem, path=f"{whose}: {problem.path}"), _place_of(problem, standings))


def _place_of(problem: Problem, standings: Sequence[Standing]) -> Place | None:
    """Where the first configuration has the reference to a vault that a problem is about."""
    path = problem.path.removeprefix("config")
    for standing in standings:
        for located in standing.located:
            value = str(located.below(path).node.value) if located.has(path) else ""
            if is_reference(value) and (problem.rule != "reference" or value in problem.message):
                return located.find(path)
    return None


async def _serve(node: Gateway, configuration: Configuration) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, ended.set)
    await node.start(configuration)
    try:
        for name, address in (("proxy", node.proxy_address), ("admin", node.admin_address)):
            host = f"[{address.host}]" if ":" in address.host else address.host
            click.echo(f"{name} http://{host}:{address.port}")
        sys.stdout.flush()
        await ended.wait()
    finally:
        await node.stop()
