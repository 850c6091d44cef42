"""Results that are not what an expression takes them for, or that are used when there is none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from request_callout.cli.explain.findings.finding import Finding, listed, path_of
from request_callout.cli.explain.subject import Subject
from request_callout.config.template import Expression, parse
from request_callout.engine.compiled import CompiledCallout
from request_callout.engine.expression import Text
from request_callout.lua import Use, uses_of

_ROOTS = frozenset({"callouts", "shared", "kong"})
_ALL = {("callouts",), ("shared",), ("kong",), ("kong", "ctx"), ("kong", "ctx", "shared")}
_SAFE = ("GET", "HEAD")
_BODY_OF_RESPOND = "config.upstream.respond.body"


def findings(subject: Subject) -> Iterator[Finding]:
    """Everything about results."""
    names = {callout.name: callout for callout in subject.callouts}
    for callout in subject.callouts:
        yield from _reads(callout.texts, names)
    yield from _reads(subject.upstream.texts, names)
    used = _used(subject)
    for callout in subject.callouts:
        if callout.name in used:
            yield from _fail_open(callout, used[callout.name])
    yield from _any_status([callout for callout in subject.callouts if callout.name in used])
    for callout in _unread(subject):
        yield from _open_gate(callout)


def _uses(text: Text) -> Iterator[tuple[Expression, Use]]:
    for part in parse(text.source).parts:
        if isinstance(part, Expression):
            for use in uses_of(part.source, _ROOTS):
                if use.path[0] == "callouts" and len(use.path) > 1:
                    yield part, use


def _reads(texts: Iterable[Text], names: dict[str, CompiledCallout]) -> Iterator[Finding]:
    """What an expression reads that is not there when it runs; of names and of their order ``validate`` tells."""
    for text in texts:
        found = (_missing(text.where, use, names[str(use.path[1])]) for _, use in _uses(text) if use.path[1] in names)
        yield from dict.fromkeys(one for one in found if one is not None)


def _missing(where: str, use: Use, read: CompiledCallout) -> Finding | None:
    """A member of a body that is only a text, or a part of the response that is not kept."""
    members = [str(key) for key in use.path[2:]]
    if members[:1] != ["response"] or len(members) < 2 or members[1] == "items":
        return None
    part = members[1]
    if part in read.config.response.not_stored and read.name != _owner(where, read):
        return Finding(
            "warning",
            "not-stored",
            where,
            f"the {part} of {read.name} is not kept (response.{part}.store: false): here it is nil",
            f"remove response.{part}.store from {read.name}",
        )
    is_text = read.decodes_as in (None, "text") and read.response_script is None
    if part == "body" and len(members) > 2 and is_text:
        return Finding(
            "warning",
            "not-decoded",
            where,
            f"the body of {read.name} is a text, in which there is no {members[2]}",
            f"response.body.decode: true in {read.name}",
        )
    return None


def _owner(where: str, read: CompiledCallout) -> str | None:
    """The name of a callout for its own fields, which see everything."""
    return read.name if where.startswith(path_of(read, "")) else None


def _used(subject: Subject) -> dict[str, list[tuple[str, Expression]]]:
    """The bodies and headers that expressions read, by callout: where, and by which expression."""
    found: dict[str, list[tuple[str, Expression]]] = {}
    own = {callout.name: path_of(callout, "") for callout in subject.callouts}
    for text in (*(text for callout in subject.callouts for text in callout.texts), *subject.upstream.texts):
        for part, use in _uses(text):
            name = str(use.path[1])
            is_own = text.where.startswith(own.get(name, "\0"))
            is_result = use.path[2:3] == ("response",) and use.path[3:4] != ("status",)
            if is_result and not is_own:
                found.setdefault(name, []).append((text.where, part))
    return found


def _fail_open(callout: CompiledCallout, used: list[tuple[str, Expression]]) -> Iterator[Finding]:
    policy = callout.config.request.error
    if policy.on_error != "continue" or callout.fallback is not None:
        return
    # The body of ``respond`` is left out: it has null for what is missing, and says so.
    outside = ((where, part) for where, part in used if not where.startswith(_BODY_OF_RESPOND))
    where = next((where for where, part in outside if not _is_guarded(part)), None)
    if where is not None:
        yield Finding(
            "warning",
            "fail-open",
            path_of(callout, "request.error.on_error"),
            f"if {callout.name} fails, the request goes on, and {where.removeprefix('config.')} is made of nothing",
            'on_error: fail, error.fallback, or an expression that says what stands in: $(… or "none")',
        )


def _unread(subject: Subject) -> list[CompiledCallout]:
    """The callouts of which nothing here reads anything, but for their own errors. What may read all reads all."""
    scripts = [script for one in subject.callouts for script in (one.request_script, one.response_script)]
    if any(script is not None and "callouts" in script.source for script in (*scripts, subject.upstream.script)):
        return []
    errors = {callout.name: path_of(callout, "request.error") for callout in subject.callouts}
    read: set[str] = set()
    for text in (*(text for callout in subject.callouts for text in callout.texts), *subject.upstream.texts):
        for part in (part for part in parse(text.source).parts if isinstance(part, Expression)):
            for use in uses_of(part.source, _ROOTS):
                if use.path in _ALL:
                    return []
                name = str(use.path[1]) if use.path[0] == "callouts" else ""
                if not text.where.startswith(errors.get(name, "\0")):
                    read.add(name)
    return [one for one in subject.callouts if one.name not in read and one.response_script is None]


def _open_gate(callout: CompiledCallout) -> Iterator[Finding]:
    """A callout that looks like a gate, since it only asks or tells bad statuses, and lets every request through."""
    request = callout.config.request
    if request.error.on_error == "continue" and (request.method in _SAFE or request.error.http_statuses is not None):
        yield Finding(
            "advice",
            "fail-open",
            path_of(callout, "request.error.on_error"),
            f"nothing here reads {callout.name}, and if it fails the request goes on: it keeps nobody out",
            "on_error: fail, if it is to keep anybody out",
        )


def _is_guarded(part: Expression) -> bool:
    words = part.source.split()
    return "or" in words or "and" in words or ".error" in part.source


def _any_status(used: list[CompiledCallout]) -> Iterator[Finding]:
    open_ones = [
        callout
        for callout in used
        if callout.config.request.error.http_statuses is None
        and callout.error_when is None
        and callout.response_script is None
    ]
    if open_ones:
        names = listed(callout.name for callout in open_ones)
        whose = "their results are" if len(open_ones) > 1 else "its result is"
        yield Finding(
            "advice",
            "any-status",
            path_of(open_ones[0], "request.error"),
            f"a 401 or 500 of {names} is a success here, and {whose} used",
            "error.http_statuses: [400, 401, 403, 404, 429, 500, 502, 503, 504], or error.when",
        )
