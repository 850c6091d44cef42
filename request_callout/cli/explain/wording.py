"""A callout's explanation as labelled lines, the same in the terminal and on the page."""

from __future__ import annotations

from collections.abc import Iterator

from request_callout.cli.explain.explanation import Callout, Explanation, Part, Read, Whole
from request_callout.cli.explain.timing import seconds
from request_callout.engine.reasons import Why

Fact = tuple[str, list[str]]
"""What it is about, and the lines that say it."""


_FOR_ALL: dict[Why, str] = {
    "script": "it has a script, which keeps its place",
    "method": "its method may change something, so it is sent only when nothing before it can fail any more",
}


def marks(callout: Callout) -> list[str]:
    """What makes a callout special, in a word or two each."""
    found = []
    if callout.when is not None:
        found.append("conditional")
    if callout.for_each is not None:
        found.append("for each element")
    if callout.scripts:
        found.append("script")
    if callout.caches is not None:
        found.append("cached")
    if callout.time.attempts > 1:
        found.append(f"up to {callout.time.attempts} attempts")
    return found


def facts(callout: Callout) -> list[Fact]:
    """Everything about one callout, but for its name, level, method and URL."""
    found: list[Fact] = [
        ("waits for", waits(callout)),
        ("only when", [callout.when] if callout.when is not None else []),
        ("for each", [callout.for_each] if callout.for_each is not None else []),
        ("reads", list(_reads(callout.reads))),
        ("sends", list(_sends(callout))),
        ("scripts", list(callout.scripts)),
        ("gets", [callout.gets]),
        ("cache", list(_cache(callout))),
        ("at most", [f"{seconds(callout.time.longest_ms)}: {callout.time.text}"]),
        ("errors", list(callout.errors)),
    ]
    return [(label, lines) for label, lines in found if lines]


def waits(callout: Callout) -> list[str]:
    """For whom it waits: a line for each with its reasons, and one for what makes it wait for all before it."""
    reasons: dict[str, list[str]] = {}
    for wait in callout.waits_for:
        if wait.why not in _FOR_ALL:
            reasons.setdefault(wait.name, []).append(wait.text)
    lines = [f"{name}: {'; '.join(dict.fromkeys(texts))}" for name, texts in reasons.items()]
    if for_all := why_all(callout):
        lines.append(f"all before it: {for_all}")
    return lines


def waits_in_short(callout: Callout) -> str:
    """The same in a few words, empty if it waits for nobody."""
    parts = [f"{wait.name} ({wait.where})" for wait in callout.waits_for if wait.why not in (*_FOR_ALL, "after_script")]
    parts += [f"{wait.name} (its script)" for wait in callout.waits_for if wait.why == "after_script"]
    if why_all(callout):
        parts.append(f"all before it ({'its script' if callout.scripts else callout.sends.method})")
    return ", ".join(dict.fromkeys(parts))


def why_all(callout: Callout) -> str | None:
    """Why it waits for all before it, if it does so whoever they are."""
    return next((_FOR_ALL[wait.why] for wait in callout.waits_for if wait.why in _FOR_ALL), None)


def end(explanation: Explanation) -> list[Fact]:
    """What becomes of the client's request."""
    upstream = explanation.upstream
    answers = []
    if upstream.answers is not None:
        condition = f", if {upstream.answers_when}" if upstream.answers_when is not None else ""
        answers = [upstream.answers + condition]
    is_proxied = upstream.answers is None or upstream.answers_when is not None
    changes = list(upstream.changes) or (["goes on as it came"] if is_proxied else [])
    found: list[Fact] = [
        ("the client gets", answers),
        ("the upstream", changes),
        ("reads", list(_reads(upstream.reads))),
    ]
    return [(label, lines) for label, lines in found if lines]


def whole(explanation: Explanation) -> list[Fact]:
    """All callouts together."""
    reads = explanation.reads
    kong = f"one exchange for {', '.join(reads)}, one to end" if reads else "one exchange to end"
    return [("at most", [longest(explanation.whole)]), ("Kong is asked", [kong])] if explanation.callouts else []


def longest(all_of_it: Whole) -> str:
    """The longest time of all callouts."""
    way = " → ".join(all_of_it.critical_path)
    if all_of_it.ends_by_deadline:
        return f"{seconds(all_of_it.longest_ms)}, by the deadline; the longest way is {way}"
    return f"{seconds(all_of_it.longest_ms)}, by {way}"


def _reads(reads: tuple[Read, ...]) -> Iterator[str]:
    fields: dict[str, list[str]] = {}
    for read in reads:
        fields.setdefault(read.what, []).append(read.where)
    yield from (f"{what} (in {', '.join(dict.fromkeys(where))})" for what, where in fields.items())


def _sends(callout: Callout) -> Iterator[str]:
    sent = callout.sends
    yield from _part("query", sent.query)
    yield from _part("header", sent.headers)
    if sent.credentials is not None:
        yield f"credentials {sent.credentials}"
    if sent.body.text is not None:
        yield f"body {sent.body.text}"
    yield from _part("body", sent.body)
    yield from sent.connection


def _part(kind: str, part: Part) -> Iterator[str]:
    if part.forward:
        yield f"{'headers' if kind == 'header' else kind} of the client"
    for item in part.items:
        yield f"{kind} {item.name} left out" if item.value is None else f"{kind} {item.name}: {item.value}"


def _cache(callout: Callout) -> Iterator[str]:
    kept = callout.caches
    if kept is None:
        return
    yield f"{kept.store}: {kept.what}, for {kept.ttl}"
    stale = [
        f"{kept_s:g} s more {how}"
        for kept_s, how in (
            (kept.stale_while_revalidate_s, "while a new one is fetched"),
            (kept.stale_if_error_s, "if the callout fails"),
        )
        if kept_s
    ]
    if stale:
        yield f"stale: {', '.join(stale)}"
    yield f"key: {', '.join(kept.key)}"
