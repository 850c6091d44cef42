"""The proxy port: a client's request through router, plugins and upstream, and the answer back."""

from __future__ import annotations

import asyncio
import logging
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass

import aiohttp
from aiohttp import web
from aiohttp.typedefs import Handler
from multidict import CIMultiDict

from request_callout.engine import error_page
from request_callout.gateway import pdk
from request_callout.gateway.exchange import Body, ClientRequest, Exchange, Exit, Headers
from request_callout.gateway.nginx_status import CLOSING, HANDLED, page, reason_phrase
from request_callout.gateway.router import Match
from request_callout.gateway.runtime import Runtime
from request_callout.gateway.upstream import SERVER_TOKEN, Answer, UpstreamFailure, Upstreams
from request_callout.gateway.uri import escaped, normalized, path_of, upstream_path
from request_callout.values import text

_LOG = logging.getLogger("request_callout.gateway")

_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "upgrade"})
_HIDDEN = frozenset(
    ["x-pad", "x-accel-expires", "x-accel-redirect", "x-accel-limit-rate", "x-accel-buffering", "x-accel-charset"]
)
# Kong's nginx says for these types that they are in UTF-8, if nothing else is said (``charset UTF-8``).
_CHARSET_TYPES = frozenset(
    ["text/html", "text/xml", "text/plain", "text/vnd.wap.wml", "application/javascript", "application/rss+xml"]
)
# nginx keeps these once: the upstream's replaces what was set before.
_SINGLE = frozenset({"content-type", "content-length", "content-encoding", "date", "etag", "last-modified", "server"})


@dataclass(frozen=True, slots=True)
class Front:
    """What clients are taken to have connected to, where that is not this port: ``http`` or ``https``, and its port."""

    scheme: str
    port: int


class Proxy:
    """Serves clients with the configuration that ``runtime`` gives at the moment a request comes.

    ``follow`` is given each exchange as it begins.
    """

    def __init__(
        self,
        runtime: Callable[[], Runtime],
        upstreams: Upstreams,
        client_body_buffer_bytes: int,
        front: Front | None = None,
        follow: Callable[[Exchange], None] | None = None,
    ) -> None:
        self._runtime = runtime
        self._upstreams = upstreams
        self._buffer_bytes = client_body_buffer_bytes
        self._front = front
        self._follow = follow

    def application(self) -> web.Application:
        """The aiohttp application: one handler for every request, whatever its path."""

        @web.middleware
        async def handle(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._handle(request)

        application = web.Application(middlewares=[handle], client_max_size=0)
        application.on_response_prepare.append(_as_nginx_writes)
        return application

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        with tempfile.TemporaryDirectory(prefix="client-body-", ignore_cleanup_errors=True) as folder:
            exchange = Exchange(_client_request(request, self._front))
            if self._follow is not None:
                self._follow(exchange)
            exchange.receive = lambda: self._receive(request, folder)
            try:
                return await self._respond(request, exchange)
            except (ConnectionError, web.RequestPayloadError) as error:
                _LOG.info("the client went away: %s, request_id: %s", error, exchange.request_id)
                # No one gets this; 499 is what nginx has for its log.
                return web.Response(status=499)

    async def _respond(self, request: web.Request, x: Exchange) -> web.StreamResponse:
        runtime = self._runtime()
        if not _route(x, runtime):
            return await _send_exit(request, x)
        await runtime.access(x)
        if x.exit is not None:
            return await _send_exit(request, x)
        service = x.match.route.service if x.match is not None else None
        if service is None:
            pdk.error_exit(x, 503, "no Service found with those values")
            return await _send_exit(request, x)
        await x.read_body()
        before = time.time()
        try:
            async with self._upstreams.answer(x, service) as response:
                return await _send_upstream(request, x, response, before)
        except UpstreamFailure as failure:
            _LOG.error("upstream %s: %s, request_id: %s", x.target_host, failure, x.request_id)
            if not failure.resolved:
                pdk.error_exit(x, failure.status, "name resolution failed")
                return await _send_exit(request, x)
            _nginx_error(x, failure.status)
            return await _send_exit(request, x, proxied_at=before)

    async def _receive(self, request: web.Request, folder: str) -> Body:
        """The client's body: in memory up to the buffer's size, else in a file, as nginx keeps it.

        A body that is known to be less than a quarter longer gets a buffer of its own size.
        """
        kept = bytearray()
        limit = self._buffer_bytes
        announced = request.content_length
        if announced is not None and announced < limit + limit // 4:
            limit = announced
        async for chunk in request.content.iter_any():
            kept += chunk
            if len(kept) > limit:
                return await _to_file(request, folder, bytes(kept))
        return Body(bytes(kept), None, len(kept))


async def _to_file(request: web.Request, folder: str, start: bytes) -> Body:
    path = os.path.join(folder, "0000000001")
    size = len(start)
    with open(path, "wb") as file:
        file.write(start)
        async for chunk in request.content.iter_any():
            file.write(chunk)
            size += len(chunk)
    return Body(b"", path, size)


def _client_request(request: web.Request, front: Front | None) -> ClientRequest:
    transport = request.transport
    peer = transport.get_extra_info("peername") if transport is not None else None
    local = transport.get_extra_info("sockname") if transport is not None else None
    return ClientRequest(
        method=request.method,
        target=request.raw_path,
        version=float(f"{request.version.major}.{request.version.minor}"),
        headers=tuple((text(name), text(value)) for name, value in request.raw_headers),
        remote_addr=peer[0] if peer else "",
        remote_port=peer[1] if peer else 0,
        server_addr=local[0] if local else "",
        server_port=front.port if front else local[1] if local else 0,
        scheme=front.scheme if front else "http",
    )


def _route(x: Exchange, runtime: Runtime) -> bool:
    """Find the route and prepare the upstream request; False if the exchange has got its answer."""
    client = x.client
    path = normalized(path_of(client.target))
    match = runtime.router.match(
        client.method, path, x.headers.first("host"), client.server_port, x.headers.by_name(limit=0)
    )
    if match is None:
        pdk.error_exit(x, 404, "no Route matched with those values")
        return False
    x.match = match
    # Taken before any plugin runs: what plugins change in these fields does not count.
    via, version = x.headers.first("via"), f"{client.version:.1f} {SERVER_TOKEN}"
    before = x.headers.first("x-forwarded-for")
    x.forwarded = {
        "via": f"{via}, {version}" if via else version,
        "for": f"{before}, {client.remote_addr}" if before else client.remote_addr,
        "proto": client.scheme,
        "host": x.host,
        "port": str(client.server_port),
        "path": path_of(client.target),
    }
    if match.prefix and match.prefix != "/":
        x.forwarded["prefix"] = match.prefix
    if not _protocol_fits(x, match):
        return False
    service = match.route.service
    base = service.path if service is not None else "/"
    x.upstream_path = escaped(upstream_path(path, match.prefix, base, strip_path=match.route.strip_path))
    if service is not None:
        x.upstream_scheme = service.protocol
        x.target_host, x.target_port = service.host, service.port
    if match.route.preserve_host:
        x.upstream_host = x.headers.first("host") or ""
    return True


def _protocol_fits(x: Exchange, match: Match) -> bool:
    route, scheme = match.route, x.client.scheme
    protocols = frozenset(route.protocols)
    if "https" in protocols and "http" not in protocols and scheme != "https":
        status = route.https_redirect_status_code
        if status == 426:
            upgrade = [("Connection", ("Upgrade",)), ("Upgrade", ("TLS/1.2, HTTP/1.1",))]
            pdk.error_exit(x, 426, "Please use HTTPS protocol", upgrade)
        else:
            location = f"https://{x.forwarded['host']}{x.client.target}"
            x.exit = Exit(status, None, (("Location", (location,)),))
        return False
    if protocols & {"grpc", "grpcs"}:
        if (x.headers.first("content-type") or "").startswith("application/grpc"):
            upgrade = [("connection", ("Upgrade",)), ("upgrade", ("HTTP/2",))]
            pdk.error_exit(x, 426, "Please use HTTP2 protocol", upgrade)
        else:
            pdk.error_exit(x, 415, "Non-gRPC request matched gRPC route")
        return False
    return True


def _with_page(x: Exchange, exit_: Exit) -> Exit:
    """An error or redirect without a body gets nginx's page, or what Kong's error handler makes of it."""
    if exit_.body is not None or exit_.status < 300:
        return exit_
    if exit_.status in HANDLED:
        body, kind = _handled(x, exit_.status)
    else:
        body, kind = page(exit_.status), "text/html"
    if not body:
        return exit_
    kept = tuple(line for line in exit_.headers if line[0].lower() != "content-type")
    return Exit(exit_.status, body, (*kept, ("Content-Type", (kind,))))


def _handled(x: Exchange, status: int) -> tuple[bytes, str]:
    accept = x.headers.all("accept")[:1] or x.headers.all("content-type")[:1] or ["text/plain"]
    kind = error_page.content_type(accept)
    return error_page.body(kind, status, None, x.request_id), kind


def _nginx_error(x: Exchange, status: int) -> None:
    """The answer to an error that nginx, not a plugin, has met (``kong/error_handlers.lua``)."""
    body, kind = _handled(x, status)
    x.exit = Exit(status, body, (("Content-Type", (kind,)),))


async def _send_exit(request: web.Request, x: Exchange, proxied_at: float | None = None) -> web.StreamResponse:
    """Send Kong's own answer; ``proxied_at`` if the upstream was tried before."""
    exit_ = _with_page(x, x.exit or Exit(500, None))
    headers = x.response_headers
    for name, values in exit_.headers:
        headers.set(name, values)
    body = exit_.body or b""
    if headers.first("content-length") is None:
        headers.set("Content-Length", [str(len(body))])
    if proxied_at is None:
        headers.set("X-Kong-Response-Latency", [_milliseconds(x.started_at)])
        if headers.first("via") != SERVER_TOKEN:
            headers.set("Server", [SERVER_TOKEN])
    else:
        headers.set("X-Kong-Upstream-Latency", [_milliseconds(proxied_at)])
        headers.set("X-Kong-Proxy-Latency", [_milliseconds(x.started_at, proxied_at)])
        headers.set("Via", [f"1.1 {SERVER_TOKEN}"])
        headers.set("Server", [SERVER_TOKEN])
    headers.set("X-Kong-Request-Id", [x.request_id])
    response = _Answer(exit_.status, reason_phrase(exit_.status), headers, dated=True)
    if (x.exit is None or x.exit.body is None) and exit_.status in CLOSING:
        response.force_close()
    await response.prepare(request)
    if body and request.method != "HEAD" and not _has_no_body(exit_.status):
        await response.write(body)
    await response.write_eof()
    return response


class _Answer(web.StreamResponse):
    """An answer with the header fields given to it and none of aiohttp's own (``_as_nginx_writes``)."""

    def __init__(self, status: int, reason: str, headers: Headers, *, dated: bool) -> None:
        super().__init__(status=status, reason=reason, headers=CIMultiDict(headers))
        names = ("Content-Type", "Server") if dated else ("Content-Type", "Server", "Date")
        self.unwanted = [name for name in names if headers.first(name) is None]


def _has_no_body(status: int) -> bool:
    return status in (204, 304) or status < 200


async def _send_upstream(request: web.Request, x: Exchange, upstream: Answer, sent_at: float) -> web.StreamResponse:
    """Send the upstream's answer on, its body as it comes."""
    fields = [(text(name), text(value)) for name, value in upstream.raw_headers]
    listed = {one.strip().lower() for name, value in fields if name.lower() == "connection" for one in value.split(",")}
    dropped = _HOP_BY_HOP | _HIDDEN | (listed - {"close", "upgrade", "keep-alive"})
    if not x.headers.first("te"):
        dropped |= {"trailer"}
    headers = Headers(x.response_headers)
    for name, value in fields:
        lower = name.lower()
        if lower in _SINGLE:
            headers.set(name, [value])
        elif lower not in dropped:
            headers.add(name, value)
    via = ", ".join(value for name, value in fields if name.lower() == "via")
    headers.set("Via", [f"{via}, 1.1 {SERVER_TOKEN}" if via else f"1.1 {SERVER_TOKEN}"])
    if headers.first("server") is None:
        headers.set("Server", [SERVER_TOKEN])
    headers.set("X-Kong-Upstream-Latency", [_milliseconds(sent_at)])
    headers.set("X-Kong-Proxy-Latency", [_milliseconds(x.started_at, sent_at)])
    headers.set("X-Kong-Request-Id", [x.request_id])
    response = _Answer(upstream.status, upstream.reason or "", headers, dated=False)
    await response.prepare(request)
    if request.method != "HEAD" and not _has_no_body(upstream.status):
        try:
            async for chunk in upstream.content.iter_any():
                await response.write(chunk)
        except (aiohttp.ClientPayloadError, aiohttp.ServerTimeoutError, asyncio.TimeoutError) as error:
            # What the upstream does not finish is not finished to the client either: its connection is closed.
            _LOG.error("the upstream broke off its answer: %s, request_id: %s", error, x.request_id)
            if request.transport is not None:
                request.transport.abort()
            return response
    await response.write_eof()
    return response


def _milliseconds(start: float, end: float | None = None) -> str:
    return str(max(0, int(((end or time.time()) - start) * 1000)))


async def _as_nginx_writes(request: web.Request, response: web.StreamResponse) -> None:
    """Take back what aiohttp adds, and add what nginx does."""
    if not isinstance(response, _Answer):
        return
    for name in response.unwanted:
        response.headers.popall(name, None)
    if response.keep_alive:
        response.headers.add("Connection", "keep-alive")
    kind = response.headers.get("Content-Type", "")
    is_redirect = 300 <= response.status < 400
    if not is_redirect and kind.partition(";")[0].strip().lower() in _CHARSET_TYPES and "charset=" not in kind.lower():
        response.headers["Content-Type"] = f"{kind}; charset=UTF-8"
