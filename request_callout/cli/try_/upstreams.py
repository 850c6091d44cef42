"""Who answers for the services: they themselves, a stand-in, or a recording; each request is kept with its answer."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

import orjson

from request_callout.gateway.exchange import Exchange as Proxied
from request_callout.gateway.model import Service
from request_callout.gateway.upstream import Answer, Session, UpstreamFailure, forwarded_headers, upstream_url
from request_callout.transport.exchanges import Exchange, Failure
from request_callout.transport.recorded import Answers
from request_callout.values import raw, text

_NOT_RECORDED = frozenset({"content-length", "transfer-encoding", "connection", "keep-alive"})


@dataclass(frozen=True, slots=True)
class KnownAnswer:
    """An answer that is there as a whole; see ``gateway.upstream.Answer``."""

    status: int
    raw_headers: Sequence[tuple[bytes, bytes]]
    body: bytes
    reason: str | None = None

    @property
    def content(self) -> KnownAnswer:
        """Itself: the body in one piece."""
        return self

    async def iter_any(self) -> AsyncIterator[bytes]:
        """The body."""
        yield self.body


Answering = Callable[[Proxied, Service, str], AbstractAsyncContextManager[Answer]]


class Watched:
    """``Upstreams`` that keep each exchange in ``exchanges``; ``answering`` is given the URL, too."""

    def __init__(self, answering: Answering | None = None) -> None:
        self.exchanges: list[Exchange] = []
        self._answering = answering
        self._session: Session | None = None

    @contextlib.asynccontextmanager
    async def answer(self, x: Proxied, service: Service) -> AsyncIterator[Answer]:
        """The answer to the request as plugins left it; raises UpstreamFailure."""
        url = str(upstream_url(x))
        started_at, started = time.time(), time.monotonic()
        try:
            async with self._asked(x, service, url) as found:
                body = b"".join([piece async for piece in found.content.iter_any()])
                known = KnownAnswer(found.status, tuple(found.raw_headers), body, found.reason)
        except UpstreamFailure as failure:
            kept = Failure("dns" if not failure.resolved else "connect", str(failure))
            unmatched = isinstance(failure, NotRecorded)
            self._keep(x, url, kept, started_at, started, unmatched=unmatched)
            raise
        self._keep(x, url, known, started_at, started)
        yield known

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    def _asked(self, x: Proxied, service: Service, url: str) -> AbstractAsyncContextManager[Answer]:
        if self._answering is not None:
            return self._answering(x, service, url)
        if self._session is None:
            self._session = Session.open()
        return self._session.answer(x, service)

    def _keep(
        self,
        x: Proxied,
        url: str,
        outcome: KnownAnswer | Failure,
        started_at: float,
        started: float,
        *,
        unmatched: bool = False,
    ) -> None:
        headers: Sequence[tuple[bytes, bytes]] = () if isinstance(outcome, Failure) else outcome.raw_headers
        self.exchanges.append(
            Exchange(
                peer="upstream",
                method=x.method,
                url=url,
                request_headers=tuple(forwarded_headers(x).items()),
                request_body=sent_body(x),
                status=0 if isinstance(outcome, Failure) else outcome.status,
                response_headers=tuple((text(name), text(value)) for name, value in headers),
                response_body=b"" if isinstance(outcome, Failure) else outcome.body,
                started_at=started_at,
                duration_ms=(time.monotonic() - started) * 1000,
                failure=outcome if isinstance(outcome, Failure) else None,
                unmatched=unmatched,
            )
        )


class NotRecorded(UpstreamFailure):
    """The recording has no answer of the upstream to this request."""


def sent_body(x: Proxied) -> bytes:
    """The body as it goes to the upstream."""
    if x.body.path is not None:
        with open(x.body.path, "rb") as file:
            return file.read()
    return x.body.content


@contextlib.asynccontextmanager
async def stand_in(x: Proxied, service: Service, url: str) -> AsyncIterator[Answer]:
    """200, with what the upstream would have got as JSON."""
    got = {
        "method": x.method,
        "url": url,
        "headers": [[name, value] for name, value in forwarded_headers(x).items()],
        "body": sent_body(x).decode("utf-8", "replace"),
    }
    body = orjson.dumps(got, option=orjson.OPT_INDENT_2)
    yield _known(200, [("Content-Type", "application/json")], body)


def replaying(recorded: Sequence[Exchange]) -> Answering:
    """Answers of a recording; a request that is not in it is an UpstreamFailure."""
    answers = Answers([one for one in recorded if one.peer == "upstream"])

    @contextlib.asynccontextmanager
    async def answer(x: Proxied, service: Service, url: str) -> AsyncIterator[Answer]:
        found = answers.take(x.method, url)
        if isinstance(found, str):
            raise NotRecorded(502, f"upstream: {found}")
        if found.failure is not None:
            raise UpstreamFailure(502, found.failure.message, resolved=found.failure.kind != "dns")
        kept = [(name, value) for name, value in found.response_headers if name.lower() not in _NOT_RECORDED]
        yield _known(found.status, kept, found.response_body)

    return answer


def _known(status: int, headers: Sequence[tuple[str, str]], body: bytes) -> KnownAnswer:
    lines = [(raw(name), raw(value)) for name, value in (*headers, ("Content-Length", str(len(body))))]
    return KnownAnswer(status, tuple(lines), body)
