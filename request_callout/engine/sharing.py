"""What leaves the plugin when it is done: the context for other plugins, and the fields of Kong's log record."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from request_callout.engine.context import member
from request_callout.engine.query import split_url
from request_callout.engine.record import ElementsRecord, SkippedRecord
from request_callout.lua.host import ScriptError
from request_callout.transport import TransportError
from request_callout.transport.url import parse_url
from request_callout.values import Value

if TYPE_CHECKING:
    from request_callout.engine.call import Call
    from request_callout.engine.run import Run

_log = logging.getLogger(__name__)


def share(run: Run) -> None:
    """Queue ``kong.ctx.shared.callouts`` and the log record of the callouts that were made."""
    settings = run.instance.engine.settings
    if settings.share != "off":
        _share_context(run, max_body_bytes=settings.share_max_bytes if settings.share == "full" else -1)
    if run.calls and settings.kong_log == "on":
        fields = {call.name: _log_fields(call) for call in run.calls}
        run.kong.write("kong.log.set_serialize_value", "request_callout", fields)


def _share_context(run: Run, max_body_bytes: int) -> None:
    """Share the contexts without larger bodies; what can't leave Lua or the process costs only the sharing."""
    try:
        tables = run.context.tables()
        for name, table in tables.items():
            # JSON is never shorter than the text in it; what scripts have left is looked through.
            record = None if run.context.scripted else run.context.records.get(name)
            if isinstance(table, dict) and (record is None or record.body_bytes > max_body_bytes):
                _limit_bodies(run, name, table, max_body_bytes)
        if not tables:
            return
        try:
            run.kong.write("kong.ctx.shared.set", "callouts", tables)
        except (TypeError, ValueError) as refused:  # such as a body that nests too deeply
            run.log.say(logging.WARNING, f"the callouts' bodies are not shared: {run.instance.redact(str(refused))}")
            for name, table in tables.items():
                if isinstance(table, dict):
                    _limit_bodies(run, name, table, -1)
            run.kong.write("kong.ctx.shared.set", "callouts", tables)
    except (ScriptError, TypeError, ValueError) as error:
        reason = run.instance.redact(str(error))
        run.log.say(logging.ERROR, f"the callouts are not shared: {reason}")


def _limit_bodies(run: Run, name: str, table: dict[str, Value], max_body_bytes: int) -> None:
    """Take the bodies over the limit out of one callout's table; what was shared with others is left as it is."""
    items = member(table, "response").get("items")
    if isinstance(items, list):
        table["response"] = {**table["response"], "items": _limited_items(run, name, items, max_body_bytes)}
    table.update(_limited(run, name, "response", table, max_body_bytes))
    request = member(table, "request")
    limited = _limited(run, name, "params", request, max_body_bytes)
    if limited:
        table["request"] = {**request, **limited}


def _limited(run: Run, name: str, key: str, owner: dict[str, Value], max_body_bytes: int) -> dict[str, Value]:
    """``owner``'s member of this key without its body, if that is over the limit; else nothing."""
    holder = member(owner, key)
    if "body" not in holder or (max_body_bytes >= 0 and not _is_over(max_body_bytes, holder["body"])):
        return {}
    _tell_fine(run, name, f"the body of the {key} is not shared")
    return {key: {one: value for one, value in holder.items() if one != "body"}}


def _limited_items(run: Run, name: str, items: list[Value], max_body_bytes: int) -> list[Value]:
    """A table for each element, without the bodies that do not fit into what those before them leave of the limit."""
    left = max_body_bytes
    limited: list[Value] = []
    for item in items:
        fits = True
        if isinstance(item, dict) and "body" in item:
            size = _size(item["body"], left)
            fits = 0 <= size <= left
            left -= size if fits else 0
        limited.append(item if fits else {one: value for one, value in item.items() if one != "body"})
    if limited != items:
        _tell_fine(run, name, "bodies of the items are not shared")
    return limited


def _tell_fine(run: Run, name: str, what: str) -> None:
    if _log.isEnabledFor(logging.DEBUG):
        run.log.tell(f"callouts.{name}: {what}", {"callout": name}, logging.DEBUG)


def _is_over(max_bytes: int, body: Value) -> bool:
    """Whether a body is larger."""
    return _size(body, max_bytes) > max_bytes


def _size(body: Value, max_bytes: int) -> int:
    """How large a body is, counting a table by the text in it; what is over the limit is counted no further."""
    size = 0
    waiting = [body]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            size += sum(map(len, value))
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
        size += len(value) if isinstance(value, str) else 1
        if size > max_bytes:
            break
    return size


def _log_fields(call: Call) -> dict[str, Value]:
    redact = call.run.instance.redact
    fields: dict[str, Value] = {"latency": round(call.latency_ms, 3), "attempts": call.attempts}
    url = _logged_url(call)
    if url is not None:
        fields["url"] = url
    if call.status is not None:
        fields["status"] = call.status
    if call.failure is not None:
        fields["error"] = redact(call.failure)
    if call.cache is not None:
        fields["cache"] = call.cache
    kept = call.kept
    if isinstance(kept, SkippedRecord):
        fields["skipped"] = True
    elif isinstance(kept, ElementsRecord):
        fields |= {"count": len(kept.items), "failed": kept.failed}
    return fields


def _logged_url(call: Call) -> str | None:
    """The URL that was called, as it may stand in logs; None if it never came to a request."""
    params = call.params
    if params is None:
        return None
    shown = params.shown_url
    if shown is None:
        shown = call.run.instance.redact(shown_url(params.full_url()))
        if params.untried is not None:
            params.shown_url = shown
    return shown


def shown_url(url: str) -> str:
    """A URL without user info and without the values of its query, for logs."""
    try:
        shown = parse_url(url).shown
    except TransportError:
        return "(no valid URL)"
    names = "&".join(piece.partition("=")[0] for piece in split_url(url)[1].split("&"))
    return f"{shown}?{names}" if names else shown


def log_call(call: Call, run: Run) -> None:
    """One line about a callout, where the log is fine enough for it."""
    if not _log.isEnabledFor(logging.INFO):
        return
    redact = run.instance.redact
    name = call.name if call.index is None else f"{call.name}, item {call.index}"
    fields: dict[str, Value] = {"callout": call.name, "result": call.result}
    if call.index is not None:
        fields["item"] = call.index
    if call.result != "skipped":
        fields |= {"attempts": call.attempts, "ms": round(call.latency_ms, 3)}
    if call.began:
        fields |= {"method": call.method, "url": _logged_url(call)}
    if call.status is not None:
        fields["status"] = call.status
    if call.cache is not None:
        fields["cache"] = call.cache
    if call.failure is not None:
        fields["error"] = redact(call.failure)
    run.log.tell(f"callout {name}: {redact(_line(call))}", fields)


def log_attempt(call: Call, number: int, outcome: str, started: float) -> None:
    """One line about an attempt that is over; ``started`` is a moment of ``time.monotonic()``."""
    ms = (time.monotonic() - started) * 1000
    redact, url = call.run.instance.redact, _logged_url(call)
    line = f"{call.label}: attempt {number}: {call.method} {url}: {outcome}, {ms:.1f} ms"
    fields: dict[str, Value] = {
        "callout": call.name,
        "attempt": number,
        "method": call.method,
        "url": url,
        "outcome": redact(outcome),
        "ms": round(ms, 3),
    }
    call.run.log.tell(redact(line), fields, logging.DEBUG)


def _line(call: Call) -> str:
    kept = call.kept
    if isinstance(kept, SkippedRecord):
        return "skipped"
    took = f"{call.latency_ms:.1f} ms, {call.attempts} attempt{'' if call.attempts == 1 else 's'}"
    if isinstance(kept, ElementsRecord):
        return f"{call.failure or f'{len(kept.items)} items'}, {took}"
    outcome = call.failure or f"status {call.status}"
    cache = f", cache {call.cache}" if call.cache else ""
    return f"{call.method} {_logged_url(call) or '-'}: {outcome}, {took}{cache}"
