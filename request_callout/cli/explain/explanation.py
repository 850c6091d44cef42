"""What a configuration will do, as plain data: what ``explain`` shows in a terminal, as JSON and as a page.

All texts may be shown to anybody who may see the configuration without its secrets: these are replaced already. Paths
begin at the top of the file, as ``services[1].plugins[1].config.callouts[2].request.url``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from request_callout.engine.reasons import Why

Level = Literal["warning", "advice"]


@dataclass(frozen=True, slots=True)
class Wait:
    """For whom a callout waits and why; ``where`` is the field or the script, relative to ``callouts[]``."""

    name: str
    why: Why
    where: str
    text: str


@dataclass(frozen=True, slots=True)
class Read:
    """A part of the client's request that is used, such as ``header x-user`` (all headers: ``headers``), and where."""

    what: str
    where: str


@dataclass(frozen=True, slots=True)
class Item:
    """A header, parameter or field that is set: its value as it may be shown, None if it is removed."""

    name: str
    value: str | None


@dataclass(frozen=True, slots=True)
class Part:
    """Headers, query or body: whether the client's is taken, and what is set and removed."""

    forward: bool
    items: tuple[Item, ...]
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """The request of a callout."""

    method: str
    url: str
    query: Part
    headers: Part
    body: Part
    credentials: str | None
    connection: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Kept:
    """How responses are cached; ``key`` is what has to be equal for a response to be used again."""

    store: str
    key: tuple[str, ...]
    ttl: str
    what: str
    stale_while_revalidate_s: float
    stale_if_error_s: float


@dataclass(frozen=True, slots=True)
class Timing:
    """The longest that a callout may take, in milliseconds, and how that is made up.

    ``begins_ms`` is the latest moment at which it begins, were there no deadline for all.
    """

    attempts: int
    longest_ms: int
    begins_ms: int
    text: str


@dataclass(frozen=True, slots=True)
class Callout:
    """One callout; ``level`` counts those that have to be done one after the other before it."""

    name: str
    path: str
    level: int
    waits_for: tuple[Wait, ...]
    when: str | None
    for_each: str | None
    reads: tuple[Read, ...]
    sends: Sent
    gets: str
    caches: Kept | None
    time: Timing
    errors: tuple[str, ...]
    scripts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Upstream:
    """What becomes of the client's request: ``changes`` of what is proxied, or the answer to the client."""

    changes: tuple[str, ...]
    answers: str | None
    answers_when: str | None
    reads: tuple[Read, ...]


@dataclass(frozen=True, slots=True)
class Whole:
    """All callouts together: the longest they may take, in milliseconds, and on which way through them."""

    longest_ms: int
    deadline_ms: int
    ends_by_deadline: bool
    critical_path: tuple[str, ...]
    levels_ms: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Warning:
    """What an expert would point at; ``path`` is the field, ``line`` its line in the file if that is known."""

    level: Level
    code: str
    path: str
    message: str
    remedy: str
    line: int | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """One configuration of the plugin; ``place`` says for which requests it holds.

    ``reads`` are the parts of the client's request that Kong is asked for, all in one exchange.
    """

    path: str
    place: str
    callouts: tuple[Callout, ...]
    upstream: Upstream
    whole: Whole
    reads: tuple[str, ...]
    warnings: tuple[Warning, ...]
