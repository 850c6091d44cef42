"""What the documents promise of each scenario, checked on what happened."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

from request_callout.cli.demo.services import FAILURES_BEFORE_SUCCESS, MOCKY_TOKEN, Arrival


@dataclass(frozen=True, slots=True)
class Answer:
    """What the client got."""

    status: int
    content_type: str
    body: bytes

    @property
    def json(self) -> Any:
        """The decoded body; None if it is not JSON."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return None


@dataclass(frozen=True, slots=True)
class Run:
    """What happened in a scenario: the answers, what the callees got, what the upstream got."""

    answers: tuple[Answer, ...]
    callees: tuple[Arrival, ...]
    upstream: tuple[Arrival, ...]
    addresses: Mapping[str, str]


Promise = tuple[str, bool]
"""What the documents say, and whether it was so."""


def _bearers(run: Run) -> list[str | None]:
    return [arrival.header("Authorization") for arrival in run.upstream]


def _is_uuid(text: object) -> bool:
    try:
        return isinstance(text, str) and str(UUID(text)) == text
    except ValueError:
        return False


def aggregated(run: Run) -> Iterator[Promise]:
    """Both calls made, their fields put together, the upstream left out."""
    answer = run.answers[0]
    told = answer.json or {}
    yield "the client gets 200 and JSON", answer.status == 200 and "json" in answer.content_type
    yield "it has uuid and origin, and nothing else", sorted(told) == ["origin", "uuid"]
    yield "uuid is what the first service answered", _is_uuid(told.get("uuid"))
    yield "origin is what the second service answered", told.get("origin") == f"{run.addresses['httpbin']}/anything"
    yield "both services were called, once each", sorted(call.target for call in run.callees) == ["/anything", "/uuid"]
    yield "the upstream was not called", not run.upstream


def orchestrated(run: Run) -> Iterator[Promise]:
    """The second call built from the first one's answer."""
    answer = run.answers[0]
    told = answer.json or {}
    user, posts = told.get("user") or {}, told.get("posts") or []
    yield "the client gets 200 and JSON", answer.status == 200 and answer.content_type.startswith("application/json")
    yield "it has the user", (user.get("id"), user.get("username")) == (1, "Bret")
    yield "and that user's posts only", len(posts) == 2 and all(post.get("userId") == 1 for post in posts)
    targets = [call.target for call in run.callees]
    yield "the second call asked for the id that the first one found", targets == ["/users/1", "/posts?userId=1"]
    ordered = len(run.callees) == 2 and run.callees[0].ended_s <= run.callees[1].started_s
    yield "it was made after the first had answered", ordered
    yield "the upstream was not called", not run.upstream


def token_injected(run: Run) -> Iterator[Promise]:
    """A token fetched with credentials from a vault, and handed to the upstream."""
    calls = run.callees
    asked = orjson.loads(calls[0].body) if calls and calls[0].body else {}
    issued = orjson.loads(calls[0].answer).get("access_token") if calls else None
    yield "one POST to the token endpoint", [(call.method, call.target) for call in calls] == [("POST", "/oauth/token")]
    yield (
        "with the credentials from the vault, as JSON",
        sorted(asked)
        == [
            "audience",
            "client_id",
            "client_secret",
            "grant_type",
        ],
    )
    yield "the endpoint issued a token", bool(issued)
    yield "the upstream got it as Authorization: Bearer ...", _bearers(run) == [f"Bearer {issued}"]
    shown = ((run.answers[0].json or {}).get("headers") or {}).get("Authorization")
    yield "and shows it in its answer", shown == f"Bearer {issued}"


def token_inserted(run: Run) -> Iterator[Promise]:
    """A token fetched and handed to the upstream."""
    yield "one GET to the token endpoint", [call.method for call in run.callees] == ["GET"]
    yield (
        "the client's query was forwarded to it",
        [call.target.partition("?")[2] for call in run.callees] == ["a=1&b=2"],
    )
    yield "the upstream got the token", _bearers(run) == [f"Bearer {MOCKY_TOKEN}"]
    yield "the client got the upstream's answer", run.answers[0].status == 200


def retried(run: Run) -> Iterator[Promise]:
    """As many attempts as it takes."""
    expected = [503] * FAILURES_BEFORE_SUCCESS + [200]
    yield "three attempts: 503, 503, 200", [call.status for call in run.callees] == expected
    yield "the upstream got the token of the third", _bearers(run) == [f"Bearer {MOCKY_TOKEN}"]
    yield "the client noticed nothing", run.answers[0].status == 200


def cached(run: Run) -> Iterator[Promise]:
    """One call for two requests."""
    yield "one call for two requests", len(run.callees) == 1
    yield "the upstream got the token both times", _bearers(run) == [f"Bearer {MOCKY_TOKEN}"] * 2
    yield "the client got 200 both times", [answer.status for answer in run.answers] == [200, 200]


def keyed(run: Run) -> Iterator[Promise]:
    """One call for two routes that agree on a key."""
    yield "the first route's script stored the response under its own key", len(run.callees) >= 1
    yield "the second route found it there: one call for two requests", len(run.callees) == 1
    yield "the upstream got the token both times", _bearers(run) == [f"Bearer {MOCKY_TOKEN}"] * 2
    yield "the client got 200 both times", [answer.status for answer in run.answers] == [200, 200]
