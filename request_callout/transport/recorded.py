"""Senders that keep what is exchanged, or answer from what was kept: for trying a configuration out, not for traffic.

A recording may have placeholders in the place of secrets (``PLACEHOLDER``): in a URL they stand for anything. A request
is answered by the first entry with its method and URL that has not been used yet; when all have been used, by the last.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Sequence
from difflib import SequenceMatcher

from request_callout.transport.exchanges import Exchange, Failure
from request_callout.transport.message import IncomingResponse, OutgoingRequest, Sender, TransportError
from request_callout.transport.url import parse_url

PLACEHOLDER = re.compile(r"redacted-\d+")
"""What stands in a recording for a secret; equal secrets of one recording have equal numbers."""

Keep = Callable[[Exchange], None]


class Recording:
    """Sends as ``following`` does, and gives each exchange to ``keep``."""

    def __init__(self, following: Sender, keep: Keep) -> None:
        self._following = following
        self._keep = keep

    def send(self, request: OutgoingRequest) -> IncomingResponse:
        """Make one attempt. Raises ``TransportError``."""
        started_at, started = time.time(), time.monotonic()
        try:
            response = self._following.send(request)
        except TransportError as error:
            self._keep(_exchange(request, Failure(error.kind, str(error)), started_at, _ms_since(started)))
            raise
        self._keep(_exchange(request, response, started_at, _ms_since(started)))
        return response

    def close(self) -> None:
        """Close what is idle."""
        self._following.close()


class Replaying:
    """Answers from a recording, and sends nothing."""

    def __init__(self, recorded: Iterable[Exchange], keep: Keep) -> None:
        self._answers = Answers([one for one in recorded if one.peer == "callee"])
        self._keep = keep

    def send(self, request: OutgoingRequest) -> IncomingResponse:
        """The recorded answer, or the recorded failure. Raises ``TransportError``, also where there is none."""
        started_at, started = time.time(), time.monotonic()
        parse_url(request.url)  # what can't be sent is refused as it would be
        found = self._answers.take(request.method, request.url)
        if isinstance(found, str):
            failure = Failure("request", found)
            self._keep(_exchange(request, failure, started_at, _ms_since(started), unmatched=True))
            raise TransportError(failure.kind, failure.message)
        if found.failure is not None:
            self._keep(_exchange(request, found.failure, started_at, _ms_since(started)))
            raise TransportError(found.failure.kind, found.failure.message)
        headers = [(name.lower(), value) for name, value in found.response_headers]
        response = IncomingResponse(found.status, headers, found.response_body)
        self._keep(_exchange(request, response, started_at, _ms_since(started)))
        return response

    def close(self) -> None:
        """There is nothing to close."""


class Answers:
    """The exchanges of a recording by method and URL, in order among equals."""

    def __init__(self, recorded: Sequence[Exchange]) -> None:
        self._left = [(one, _pattern(one.url)) for one in recorded]
        self._used: list[tuple[Exchange, re.Pattern[str]]] = []

    def take(self, method: str, url: str) -> Exchange | str:
        """The next exchange for a request; if there is none, a text that says what is there instead."""
        for place, (one, pattern) in enumerate(self._left):
            if one.method == method and pattern.fullmatch(url):
                self._used.append(self._left.pop(place))
                return one
        for one, pattern in reversed(self._used):
            if one.method == method and pattern.fullmatch(url):
                return one
        return self._unmatched(method, url)

    def _unmatched(self, method: str, url: str) -> str:
        every = [one for one, _ in (*self._used, *self._left)]
        told = f"{method} {shown(url)} is not in the recording"
        if not every:
            return f"{told}, which holds no such request at all; record it again"
        nearest = max(every, key=lambda one: SequenceMatcher(None, one.url, url).ratio() + (one.method == method) / 10)
        return (
            f"{told}; the nearest there is {nearest.method} {shown(nearest.url)}: {_difference(nearest, method, url)}"
        )


def _difference(one: Exchange, method: str, url: str) -> str:
    """What of a recorded request differs from another one, in words."""
    (base, _, query), (other_base, _, other_query) = url.partition("?"), one.url.partition("?")
    differs = []
    if one.method != method:
        differs.append("the method")
    if not _pattern(other_base).fullmatch(base):
        differs.append("the scheme, host or path")
    if not _pattern(other_query).fullmatch(query):
        (now, then) = (dict(_arguments(query)), dict(_arguments(other_query)))
        names = [name for name in {**then, **now} if name not in then or name not in now or now[name] != then[name]]
        differs.append(f"the query ({', '.join(names)})" if names else "the order of the query")
    return ", ".join(differs) + (" differs" if len(differs) == 1 else " differ")


def _arguments(query: str) -> list[tuple[str, str]]:
    return [(name, value) for name, _, value in (piece.partition("=") for piece in query.split("&") if piece)]


def shown(url: str) -> str:
    """A URL without user info and without the values of its query."""
    base, mark, query = url.partition("?")
    scheme, slashes, rest = base.partition("://")
    authority, slash, path = rest.partition("/")
    names = "&".join(name for name, _ in _arguments(query))
    return f"{scheme}{slashes}{authority.rpartition('@')[2]}{slash}{path}{mark}{names}"


def _pattern(url: str) -> re.Pattern[str]:
    """What a recorded URL stands for: itself, with anything for its placeholders."""
    pieces = [re.escape(piece) for piece in PLACEHOLDER.split(url)]
    return re.compile("[^/?&#]+".join(pieces))


def _ms_since(started: float) -> float:
    return (time.monotonic() - started) * 1000


def _exchange(
    request: OutgoingRequest,
    outcome: IncomingResponse | Failure,
    started_at: float,
    duration_ms: float,
    *,
    unmatched: bool = False,
) -> Exchange:
    return Exchange(
        peer="callee",
        method=request.method,
        url=request.url,
        request_headers=tuple(request.headers),
        request_body=request.body or b"",
        status=0 if isinstance(outcome, Failure) else outcome.status,
        response_headers=() if isinstance(outcome, Failure) else tuple(outcome.headers),
        response_body=b"" if isinstance(outcome, Failure) else outcome.body,
        started_at=started_at,
        duration_ms=duration_ms,
        failure=outcome if isinstance(outcome, Failure) else None,
        unmatched=unmatched,
    )
