"""The request to the upstream, as Kong's nginx sends it, and what becomes of its failures.

Of the HTTP client's own: ``Host`` comes first, a ``?`` with nothing after it is not sent, and a POST without a body
says ``Content-Length: 0``.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from request_callout.gateway.exchange import Exchange, Headers
from request_callout.gateway.model import Service

MAX_HEADERS = 32 * 1024
"""nginx counts no headers, in requests and in upstreams' answers, only their bytes: more than these do not fit."""
SERVER_TOKEN = "kong/3.9.1"  # noqa: S105 - the Server header

# Set by Kong or made by the HTTP client itself; the client's own never pass.
_REPLACED = frozenset(
    [
        "te",
        "via",
        "host",
        "upgrade",
        "connection",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-forwarded-path",
        "x-forwarded-prefix",
        "x-real-ip",
        "x-kong-request-id",
        "content-length",
        "transfer-encoding",
        "keep-alive",
        "expect",
        "proxy",
        "proxy-connection",
    ]
)
_NOT_REPEATED = frozenset({"POST", "LOCK", "PATCH"})


class UpstreamFailure(Exception):
    """No usable answer: the status that Kong gives instead. ``resolved`` False: the name could not be resolved."""

    def __init__(self, status: int, reason: str, *, resolved: bool = True) -> None:
        super().__init__(reason)
        self.status = status
        self.resolved = resolved


class Content(Protocol):
    """The body of an answer as it comes."""

    def iter_any(self) -> AsyncIterator[bytes]:
        """The pieces of it."""


class Answer(Protocol):
    """An answer of the upstream, its header read."""

    @property
    def status(self) -> int:
        """The status code."""

    @property
    def reason(self) -> str | None:
        """The reason phrase."""

    @property
    def raw_headers(self) -> Sequence[tuple[bytes, bytes]]:
        """The header lines as they came."""

    @property
    def content(self) -> Content:
        """The body."""


class Upstreams(Protocol):
    """Whatever answers for the services."""

    def answer(self, x: Exchange, service: Service) -> AbstractAsyncContextManager[Answer]:
        """The answer to the request as plugins left it; raises UpstreamFailure."""

    async def close(self) -> None:
        """Close all connections."""


@dataclass(frozen=True, slots=True)
class Session:
    """The connections to upstreams, kept alive."""

    client: aiohttp.ClientSession

    @classmethod
    def open(cls) -> Session:
        """A session that changes nothing by itself: no redirects, cookies, decompression or limits."""
        # Kong does not verify upstreams' certificates unless told to (proxy_ssl_verify off).
        connector = aiohttp.TCPConnector(limit=0, ssl=False, keepalive_timeout=60, use_dns_cache=False)
        client = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent", "Content-Type"),
            timeout=aiohttp.ClientTimeout(total=None),
            max_line_size=64 * 1024,
            max_field_size=64 * 1024,
            max_headers=MAX_HEADERS,
        )
        # The attempts are counted here; aiohttp has no public way to make just one.
        client._retry_connection = False
        return cls(client)

    def answer(self, x: Exchange, service: Service) -> AbstractAsyncContextManager[Answer]:
        """The service's own answer; raises UpstreamFailure."""
        return answer(self, x, service)

    async def close(self) -> None:
        """Close all connections."""
        await self.client.close()


def forwarded_headers(x: Exchange) -> CIMultiDict[str]:
    """The header fields for the upstream: Kong's own first, then the client's as plugins left them."""
    client = x.client
    fields: CIMultiDict[str] = CIMultiDict()
    fields.add("Via", x.forwarded["via"])
    fields.add("Host", x.upstream_host or _host_field(x))
    fields.add("Connection", "keep-alive")
    for name in ("For", "Proto", "Host", "Port", "Path", "Prefix"):
        value = x.forwarded.get(name.lower())
        if value:
            fields.add(f"X-Forwarded-{name}", value)
    fields.add("X-Real-IP", client.remote_addr)
    fields.add("X-Kong-Request-Id", x.request_id)
    came = Headers(client.headers)
    spelling: dict[str, str] = {}
    if "trailers" in [one.strip() for one in (came.first("te") or "").split(",")]:
        fields.add("TE", "trailers")
    if x.body.size or x.body.changed or x.headers.first("content-length") is not None:
        fields.add("Content-Length", str(x.body.size))
    dropped = _REPLACED | {one.strip().lower() for line in came.all("connection") for one in line.split(",")}
    for name, value in x.headers:
        lower = name.lower()
        if lower not in dropped:
            # The client takes lines of one name together only if they are spelled alike.
            fields.add(spelling.setdefault(lower, name), value)
    return fields


def _host_field(x: Exchange) -> str:
    standard = {"http": 80, "https": 443}.get(x.upstream_scheme)
    return x.target_host if x.target_port == standard else f"{x.target_host}:{x.target_port}"


def upstream_url(x: Exchange) -> URL:
    """Where the request goes, as plugins left it."""
    path = x.upstream_path
    if x.client.target.endswith("?") or x.args:
        path += "?" + (x.args or "")
    host = f"[{x.target_host}]" if ":" in x.target_host and not x.target_host.startswith("[") else x.target_host
    return URL(f"{x.upstream_scheme}://{host}:{x.target_port}{path}", encoded=True)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


@contextlib.asynccontextmanager
async def answer(session: Session, x: Exchange, service: Service) -> AsyncIterator[Answer]:
    """The upstream's answer, its header read; raises UpstreamFailure.

    A failed attempt is repeated up to ``retries`` times, if nothing was sent yet or the method is idempotent
    (nginx's ``proxy_next_upstream error timeout``).
    """
    if _is_address(service.host) and not _is_address(x.target_host):
        # Kong's balancer resolves no name that is set in place of an address (kong/runloop/balancer/init.lua, execute).
        raise UpstreamFailure(500, "the target is a name, and the Service's host an address: Kong does not resolve it")
    headers = forwarded_headers(x)
    timeout = aiohttp.ClientTimeout(
        total=None, sock_connect=service.connect_timeout_ms / 1000, sock_read=service.read_timeout_ms / 1000
    )
    response: aiohttp.ClientResponse | None = None
    for left in range(service.retries, -1, -1):
        try:
            response = await _attempt(session, x, headers, timeout)
            break
        except aiohttp.ClientConnectorDNSError as error:
            raise UpstreamFailure(503, str(error), resolved=False) from None
        except aiohttp.ConnectionTimeoutError as error:
            failure, sent = UpstreamFailure(504, str(error)), False
        except (aiohttp.ServerTimeoutError, asyncio.TimeoutError) as error:
            failure, sent = UpstreamFailure(504, str(error) or "timeout"), True
        except aiohttp.ClientConnectorError as error:
            failure, sent = UpstreamFailure(502, str(error)), False
        except (aiohttp.ClientError, OSError) as error:
            failure, sent = UpstreamFailure(502, str(error)), True
        if not left or (sent and x.method in _NOT_REPEATED):
            raise failure
    if response is None:
        raise UpstreamFailure(502, "no attempt was made")
    try:
        yield response
    finally:
        response.release()


async def _attempt(
    session: Session, x: Exchange, headers: CIMultiDict[str], timeout: aiohttp.ClientTimeout
) -> aiohttp.ClientResponse:
    with contextlib.ExitStack() as opened:
        data = opened.enter_context(open(x.body.path, "rb")) if x.body.path is not None else x.body.content or None
        return await session.client.request(
            x.method,
            upstream_url(x),
            headers=headers,
            data=data,
            allow_redirects=False,
            timeout=timeout,
            server_hostname=_server_name(x) if x.upstream_scheme == "https" else None,
        )


def _server_name(x: Exchange) -> str:
    host = x.upstream_host or x.target_host
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host
