"""What a configuration can be used with, and what is surely not meant: the warnings of ``validate``.

None of it makes the plugin refuse a configuration. It looks at what has the right shape and passes over all else.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from request_callout.cli.validate.names import foreign, misread
from request_callout.config.deck_templates import is_unknown
from request_callout.config.normal import normal
from request_callout.config.parts import items, record, texts
from request_callout.config.problems import Problem
from request_callout.config.schema import json_schema, schema_at
from request_callout.config.template import TemplateError, parse
from request_callout.lua import analyse
from request_callout.transport import DestinationRules, TransportError
from request_callout.transport.destination import rules_of

_BEFORE_THE_CALL = (
    *(".when", ".for_each.", ".request.url", ".request.query.", ".request.headers.", ".request.body."),
    *(".request.auth.", ".cache.vary_on"),
)


def advice(raw: Any) -> list[Problem]:
    """Warnings for one configuration, each with its path from ``config``."""
    if not isinstance(raw, Mapping):
        return []
    config = normal(raw, json_schema())
    callouts = [(place, one) for place, one in enumerate(items(config, "callouts"), 1) if isinstance(one, Mapping)]
    found = [problem for place, one in callouts for problem in _callout(one, f"config.callouts[{place}]")]
    found += _names(config, json_schema(), "config")
    if record(config, "upstream").get("target") == {}:
        found.append(_warning("config.upstream.target", "an empty target changes nothing; remove it", "no-effect"))
    if all(isinstance(one.get("name"), str) and not is_unknown(one["name"]) for _, one in callouts):
        found += _reads(config, [one for _, one in callouts])
    return found


def _warning(path: str, message: str, rule: str, line: int | None = None, offset: int | None = None) -> Problem:
    return Problem(path, message, line, rule, offset, "warning")


def _callout(callout: Mapping[str, Any], path: str) -> Iterator[Problem]:
    request = record(callout, "request")
    yield from _destination(request, f"{path}.request")
    breaker = record(request, "circuit_breaker")
    usual = schema_at("callouts", "request", "circuit_breaker", "min_requests")["default"]
    if breaker and breaker.get("failure_rate") is None and breaker.get("min_requests") != usual:
        message = "counts for failure_rate only, which is not given; add failure_rate, or remove this"
        yield _warning(f"{path}.request.circuit_breaker.min_requests", message, "no-effect")
    backoff = record(record(request, "error"), "backoff")
    first, longest = backoff.get("initial_ms"), backoff.get("max_ms")
    if isinstance(first, (int, float)) and isinstance(longest, (int, float)) and first > longest:
        message = f"is more than max_ms ({longest}), which every pause has then; make it smaller"
        yield _warning(f"{path}.request.error.backoff.initial_ms", message, "no-effect")


def _destination(request: Mapping[str, Any], path: str) -> Iterator[Problem]:
    rules = request.get("destination")
    if not isinstance(rules, Mapping) or is_unknown(rules):
        return
    allowed = [one for one in items(rules, "allow_hosts") if isinstance(one, str)]
    denied = [one for one in items(rules, "deny_networks") if isinstance(one, str)]
    if not allowed and not denied:
        message = "restricts nothing; name allow_hosts or deny_networks, or remove it"
        yield _warning(f"{path}.destination", message, "no-effect")
        return
    host = _constant_host(request.get("url"))
    if host is None or request.get("by_lua") is not None:
        return
    try:
        ready = rules_of(DestinationRules(tuple(allowed), tuple(denied)))
    except TransportError:
        return  # an error of its own
    try:
        ready.check_host(host)
    except TransportError as error:
        message = f"every call is refused: {error}; change the URL or request.destination"
        yield _warning(f"{path}.url", message, "destination")


def _constant_host(url: Any) -> str | None:
    if not isinstance(url, str) or "$(" in url or is_unknown(url) or url.startswith("{vault://"):
        return None
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class _Read:
    """One place where a callout's context is read; ``offset`` is None for a script.

    The ``name`` is empty for an expression that may read any callout.
    """

    name: str
    path: str
    line: int | None = None
    offset: int | None = None


def _reads(config: Mapping[str, Any], callouts: Sequence[Mapping[str, Any]]) -> Iterator[Problem]:
    names = [str(one["name"]) for one in callouts]
    reads = list(_all_reads(config, json_schema(), "config"))
    in_scripts = {read.name for read in reads if read.offset is None}
    for read in reads:
        if read.name and read.name not in names:
            close = difflib.get_close_matches(read.name, names, n=1)
            if close or (read.offset is not None and read.name not in in_scripts):
                hint = f"did you mean {close[0]!r}?" if close else f"the names are: {', '.join(names) or 'none'}"
                message = f"reads callouts.{read.name}, and there is no callout of this name; {hint}"
                yield _warning(read.path, message, "unknown-callout", read.line, read.offset)
    if len(set(names)) == len(names):
        yield from _order(callouts, names, reads)


def _order(callouts: Sequence[Mapping[str, Any]], names: Sequence[str], reads: Sequence[_Read]) -> Iterator[Problem]:
    sequence = _sequence(callouts, names)
    if len(sequence) < len(names):
        return  # a cycle, which is an error of its own
    done: dict[str, set[str]] = {}
    for name in sequence:
        place = names.index(name)
        own = [read for read in reads if read.path.startswith(f"config.callouts[{place + 1}].")]
        if callouts[place].get("depends_on") is None or any(not read.name for read in own):
            done[name] = set(done)  # as good as: the engine may find that fewer are needed
        else:
            waits = set(_declared(callouts[place])) | {
                read.name for read in own if read.offset is not None and read.name in done
            }
            done[name] = waits.union(*(done.get(one, set()) for one in waits))
        yield from _early(name, [read for read in own if read.name in names], done)


def _early(name: str, own: Sequence[_Read], done: Mapping[str, set[str]]) -> Iterator[Problem]:
    """What this callout reads before it is there; ``done`` has those that each one so far can count on."""
    for read in own:
        message = None
        where = read.path.partition("]")[2]
        if read.name == name:
            if read.offset is not None and where.startswith(_BEFORE_THE_CALL):
                message = "it is this callout itself, which has no response yet; read another one"
        elif read.name not in done:
            if read.offset is not None:
                message = f"it runs after this one; put it before, or list {read.name!r} in depends_on here"
        elif read.offset is None and read.name not in done[name]:
            message = f"it may not be done yet; list {read.name!r} in depends_on here, which is given and lacks it"
        if message is not None:
            text = f"reads callouts.{read.name}: {message}"
            yield _warning(read.path, text, "order", read.line, read.offset)


def _sequence(callouts: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[str]:
    """The names in the order in which the callouts would run one by one; without those that wait for each other."""
    waiting = dict(zip(names, callouts, strict=True))
    taken: list[str] = []
    while waiting:
        following = next((name for name, one in waiting.items() if set(taken) >= set(_declared(one))), None)
        if following is None:
            break
        del waiting[following]
        taken.append(following)
    return taken


def _declared(callout: Mapping[str, Any]) -> list[str]:
    return [one for one in items(callout, "depends_on") if isinstance(one, str)]


def _all_reads(value: Any, schema: Mapping[str, Any], path: str) -> Iterator[_Read]:
    """Every callout that expressions and scripts read, with the path of the value."""
    for text, node, where in texts(value, schema, path):
        if is_unknown(text):
            continue
        if node.get("x-lua"):
            yield from (_Read(name, where) for name in sorted(analyse(text, is_expression=False).callouts))
        elif node.get("x-expressions"):
            yield from _in_text(text, where)


def _names(value: Any, schema: Mapping[str, Any], path: str) -> Iterator[Problem]:
    """Names in expressions that lead nowhere, and expressions that are none."""
    for text, node, where in texts(value, schema, path):
        if not node.get("x-expressions") or is_unknown(text):
            continue
        try:
            template = parse(text)
        except TemplateError:
            continue
        if (found := foreign(text)) is not None and not template.expressions:
            yield _warning(where, f"{found} is plain text here; expressions are written as $(...)", "expression")
        for part in template.expressions:
            for message in misread(part.source):
                yield _warning(where, message, "expression", part.line, part.offset)


def _in_text(text: str, path: str) -> Iterator[_Read]:
    try:
        expressions = parse(text).expressions
    except TemplateError:
        return
    for part in expressions:
        uses = analyse(part.source, is_expression=True)
        for name in [*sorted(uses.callouts), *([""] if uses.all_callouts else [])]:
            yield _Read(name, path, part.line, part.offset)
