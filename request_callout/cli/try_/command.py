"""``request-callout try``: one request through the embedded gateway, and all that came of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import IO

import click
import orjson
from rich.console import Console

from request_callout.cli import server_options
from request_callout.cli.gateway import external_schema, loaded
from request_callout.cli.try_ import curl, har
from request_callout.cli.try_.presentation import show
from request_callout.cli.try_.redaction import Redactor
from request_callout.cli.try_.report import STATUS, document, recording
from request_callout.cli.try_.request import BadRequest, Request, made, whole
from request_callout.cli.try_.running import Conditions, run
from request_callout.config import load
from request_callout.gateway.model import Configuration
from request_callout.gateway.node import PLUGIN, function_lua, plugin_schemas
from request_callout.gateway.plugin_server import ServerNotReady
from request_callout.gateway.runtime import handed_config
from request_callout.gateway.schema_rules import Definition
from request_callout.gateway.vault import resolver

_PLAIN_WIDTH = 120
_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command("try")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--request",
    "source",
    required=True,
    metavar="REQUEST",
    help="A curl command, a URL, a file with a curl command or a HAR file, or - for the standard input.",
)
@click.option("--entry", type=click.IntRange(min=1), metavar="N", help="Which entry of a HAR file, from 1.")
@click.option("--upstream/--no-upstream", default=True, help="Call the service, or let a stand-in answer 200.")
@click.option("--record", type=_FILE, help="Keep what is exchanged with callees and upstream in this HAR file.")
@click.option("--keep-secrets", is_flag=True, help="With --record: keep secrets as they are.")
@click.option("--replay", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Answer from a recording.")
@server_options.protocol
@server_options.serve_options
@click.option(
    "--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="What is printed."
)
def try_(
    file: Path,
    source: str,
    entry: int | None,
    upstream: bool,
    record: Path | None,
    keep_secrets: bool,
    replay: Path | None,
    protocol: str,
    serve_options: tuple[str, ...],
    output: str,
) -> None:
    """Make one REQUEST through the embedded gateway with the configuration in FILE, and show what came of it.

    Shown are the callouts in time, the context that other plugins see, what became of the request on its way to the
    upstream, and the answer; secrets are replaced by redacted-1 and so on.

    With --replay nothing goes over the network: callees and upstream answer as recorded, by method and URL, in order
    among equals. A request that is not in the recording is an error.

    The status is 0 if the request was answered, 1 if the configuration, the request or the recording is wrong, 3 if
    a callout ended the request or the upstream did not answer.
    """
    if record is not None and replay is not None:
        raise click.UsageError("--record and --replay exclude each other.")
    if keep_secrets and record is None:
        raise click.UsageError("--keep-secrets needs --record.")
    schemas = plugin_schemas(external_schema())
    try:
        request = read_request(source, entry)
        recorded = None if replay is None else har.load(replay)
        configuration = loaded(file, schemas)
        redactor = Redactor(_secrets(configuration, schemas[PLUGIN]), har.highest_placeholder(recorded or ()))
        conditions = Conditions(
            upstream=upstream,
            replay=recorded,
            protocol="msgpack" if protocol == "msgpack" else "protobuf",
            serve_options=serve_options,
            keeps_redis=record is None,
        )
        happened = run(request, configuration, schemas, conditions)
        told = document(happened, configuration, redactor)
        if record is not None:
            har.save(record, recording(happened, None if keep_secrets else redactor))
    except (BadRequest, ServerNotReady) as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"{error.filename or 'try'}: {error.strerror or error}") from None
    if output == "json":
        click.echo(orjson.dumps(told, option=orjson.OPT_INDENT_2))
    else:
        console = Console(highlight=False)
        show(console if console.is_terminal else Console(highlight=False, width=_PLAIN_WIDTH), told)
    sys.exit(STATUS[told["outcome"]])


def read_request(source: str, entry: int | None) -> Request:
    """The request that ``source`` is, or that is in the file it names; raises BadRequest."""
    text = source
    where, folder = "--request", Path()
    if source == "-":
        text = _whole("-", sys.stdin.buffer).decode("utf-8", "surrogateescape")
    elif not source.lstrip().startswith(("curl ", "curl\t", "$ curl", "{", "http://", "https://")):
        where, folder = source, Path(source).parent
        try:
            with Path(source).open("rb") as file:
                text = _whole(source, file).decode("utf-8-sig", "surrogateescape")
        except BadRequest:
            raise
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise BadRequest(
                f"--request {source!r} is no curl command, and no file that can be read: {reason}"
            ) from None
    try:
        if text.lstrip().startswith("{"):
            return har.request(_json(text), entry)
        if entry is not None:
            raise BadRequest("--entry is for HAR files only")
        if text.strip().startswith(("http://", "https://")):
            return made("GET", text.strip().partition("#")[0], [], b"", (("User-Agent", "curl"), ("Accept", "*/*")))
        return curl.parse(text.strip(), folder=Path() if where == "--request" else folder)
    except BadRequest as error:
        raise BadRequest(f"{where}: {error}") from None


def _whole(name: str, file: IO[bytes]) -> bytes:
    try:
        return whole(file)
    except BadRequest as error:
        raise BadRequest(f"{name}: {error}") from None


def _json(text: str) -> object:
    try:
        return orjson.loads(text.encode("utf-8", "surrogateescape"))
    except ValueError as error:
        raise BadRequest(f"no HAR file: {error}") from None


def _secrets(configuration: Configuration, schema: Definition) -> list[str]:
    """What the configuration says is secret."""
    config_schema = next(entry["config"] for entry in schema["fields"] if "config" in entry)
    found = [credential.key for credential in configuration.credentials.values()]
    for plugin in configuration.plugins:
        if plugin.name == PLUGIN:
            handed = handed_config(plugin, config_schema, resolver(configuration.vaults))
            found += load(handed.config, function_lua().check).secrets
    return [one for one in found if one]
