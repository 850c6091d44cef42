"""One request through the embedded gateway, with all that can be known of it."""

from __future__ import annotations

import asyncio
import http.client
import logging
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import orjson

from request_callout.cli.try_.engine import EXCHANGES, REPLAY, REQUESTS, Lines
from request_callout.cli.try_.request import BadRequest, Request
from request_callout.cli.try_.upstreams import Watched, replaying, stand_in
from request_callout.gateway.exchange import Exchange as Proxied
from request_callout.gateway.model import Configuration
from request_callout.gateway.node import MAX_LINE_BYTES, PLUGIN, Address, Gateway, GatewaySettings
from request_callout.gateway.plugin_server import ServerNotReady
from request_callout.gateway.proxy import Front
from request_callout.gateway.schema_rules import Definition
from request_callout.gateway.upstream import MAX_HEADERS
from request_callout.transport.exchanges import Exchange, from_entry, to_entry
from request_callout.values import raw, text

_ANSWER_WITHIN_S = 120.0
_NOWHERE = Address("127.0.0.1", 0)
_BODY_BUFFER_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """What the client got; header names as they came."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class Conditions:
    """How the request is made; ``replay`` answers for everyone, else ``upstream`` False puts a stand-in there."""

    upstream: bool = True
    replay: Sequence[Exchange] | None = None
    protocol: Literal["protobuf", "msgpack"] = "protobuf"
    serve_options: Sequence[str] = ()
    keeps_redis: bool = True


@dataclass(frozen=True, slots=True)
class Happened:
    """A request and all that came of it. ``timeline`` is None if the plugin did not run."""

    request: Request
    proxied: Proxied
    answer: Answer
    timeline: dict[str, Any] | None
    callees: tuple[Exchange, ...]
    upstream: tuple[Exchange, ...]
    log: tuple[str, ...]


def run(
    request: Request, configuration: Configuration, schemas: Mapping[str, Definition], conditions: Conditions
) -> Happened:
    """Make the request; raises OSError, ServerNotReady or BadRequest."""
    with tempfile.TemporaryDirectory(prefix="request-callout-try-") as folder:
        return asyncio.run(_run(request, configuration, schemas, conditions, Path(folder)))


async def _run(
    request: Request,
    configuration: Configuration,
    schemas: Mapping[str, Definition],
    conditions: Conditions,
    folder: Path,
) -> Happened:
    if conditions.replay is not None:
        (folder / REPLAY).write_bytes(orjson.dumps([to_entry(one) for one in conditions.replay]))
    if conditions.replay is not None or not conditions.keeps_redis:
        configuration = _without_redis(configuration)
    settings = GatewaySettings(
        proxy=_NOWHERE,
        admin=_NOWHERE,
        protocol=conditions.protocol,
        serve_options=("--tried", str(folder), *conditions.serve_options),
        client_body_buffer_bytes=_BODY_BUFFER_BYTES,
        front=Front(request.scheme, request.port),
    )
    if not conditions.upstream:
        upstreams = Watched(stand_in)
    elif conditions.replay is not None:
        upstreams = Watched(replaying(conditions.replay))
    else:
        upstreams = Watched()
    proxied: list[Proxied] = []
    log = _Log()
    with (folder / "log").open("wb") as output, log:
        gateway = Gateway(settings, schemas, upstreams, proxied.append, output)
        try:
            await gateway.start(configuration)
        except ServerNotReady as error:
            said = (folder / "log").read_text("utf-8", "replace").split("\n\n")[-1].strip().splitlines()
            raise ServerNotReady(f"{error}: {said[-1].removeprefix('Error: ')}" if said else str(error)) from None
        try:
            answer = await asyncio.to_thread(_ask, request, gateway.proxy_address)
        finally:
            await gateway.stop()
    if not proxied:
        raise BadRequest(
            f"the gateway could not read the request: its URL and each of its headers may have {MAX_LINE_BYTES} bytes, "
            f"and it may have {MAX_HEADERS} headers"
        )
    lines = (folder / "log").read_text("utf-8", "replace").splitlines()
    timelines = Lines(folder / REQUESTS).read()
    return Happened(
        request,
        proxied[0],
        answer,
        timelines[0] if timelines else None,
        tuple(from_entry(one) for one in Lines(folder / EXCHANGES).read()),
        tuple(upstreams.exchanges),
        tuple(lines + log.lines),
    )


def _ask(request: Request, address: Address) -> Answer:
    connection = http.client.HTTPConnection(address.host, address.port, timeout=_ANSWER_WITHIN_S)
    try:
        connection.putrequest(request.method, request.target, skip_host=True, skip_accept_encoding=True)
        for name, value in request.headers:
            connection.putheader(name, raw(value))
        connection.putheader("Connection", "close")
        connection.endheaders(request.body or None)
        response = connection.getresponse()
        headers = [(name, text(value.encode("latin-1"))) for name, value in response.getheaders()]
        return Answer(response.status, tuple(headers), response.read())
    except TimeoutError:
        raise BadRequest(f"the gateway did not answer within {_ANSWER_WITHIN_S:.0f} s") from None
    except (http.client.HTTPException, OSError) as error:
        reason = str(error) or type(error).__name__
        raise BadRequest(f"the request got no complete answer: {reason}") from None
    finally:
        connection.close()


def _without_redis(configuration: Configuration) -> Configuration:
    """The configuration with memory caches only: nothing is asked for that is not recorded."""
    plugins = []
    for plugin in configuration.plugins:
        cache = plugin.config.get("cache") if plugin.name == PLUGIN else None
        if isinstance(cache, Mapping) and cache.get("strategy") == "redis":
            plugins.append(replace(plugin, config={**plugin.config, "cache": {**cache, "strategy": "memory"}}))
        else:
            plugins.append(plugin)
    return replace(configuration, plugins=tuple(plugins))


class _Log(logging.Handler):
    """The gateway's own log lines."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []
        self._logger = logging.getLogger("request_callout.gateway")

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"[{record.levelname}] gateway: {record.getMessage()}")

    def __enter__(self) -> _Log:
        self._logger.addHandler(self)
        self._logger.propagate = False
        return self

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self)
        self._logger.propagate = True
