"""What leaves the plugin when it is done: the context for other plugins, and the fields of Kong's log record."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from request_callout.engine.client import parse_query
from request_callout.lua.host import ScriptError
from request_callout.values import Value

if TYPE_CHECKING:
    from request_callout.engine.call import Call
    from request_callout.engine.run import Run

_log = logging.getLogger(__name__)


def share(run: Run) -> None:
    """Queue ``kong.ctx.shared.callouts`` and the log record of the callouts that were made."""
    settings = run.instance.engine.settings
    tables = _tables(run) if settings.share != "off" else None
    if tables:
        for name, record in run.context.records.items():
            response = tables[name].get("response") if isinstance(tables.get(name), dict) else None
            if isinstance(response, dict) and "body" in response:
                if settings.share == "meta":
                    tables[name]["response"] = _without_body(response)
                elif record.body_bytes > settings.share_max_bytes:
                    tables[name]["response"] = _without_body(response)
                    _log.debug("callouts.%s: a body of %d bytes is not shared", name, record.body_bytes)
        run.kong.write("kong.ctx.shared.set", "callouts", tables)
    if run.calls:
        fields = {call.name: _log_fields(call) for call in run.calls}
        run.kong.write("kong.log.set_serialize_value", "request_callout", fields)


def _tables(run: Run) -> dict[str, Value] | None:
    """The contexts, unless a script left in them what can't leave Lua, such as a function: then none are shared."""
    try:
        return run.context.tables()
    except ScriptError as error:
        _log.error("[%s] the callouts are not shared: %s", run.request_id(), run.instance.redact(str(error)))
        return None


def _without_body(response: dict[str, Value]) -> dict[str, Value]:
    return {name: value for name, value in response.items() if name != "body"}


def _log_fields(call: Call) -> dict[str, Value]:
    fields: dict[str, Value] = {"latency": round(call.latency_ms, 3), "attempts": call.attempts}
    if call.request_url is not None:
        fields["url"] = shown_url(call.request_url)
    if call.status is not None:
        fields["status"] = call.status
    if call.failure is not None:
        fields["error"] = call.failure
    if call.cache is not None:
        fields["cache"] = call.cache
    return fields


def shown_url(url: str) -> str:
    """A URL without user info and without the values of its query, for logs."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(no valid URL)"
    shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    names = "&".join(name for name, _ in parse_query(parts.query))
    return f"{shown}?{names}" if names else shown


def log_call(call: Call, run: Run) -> None:
    """One line about a callout, where the log is fine enough for it."""
    if _log.isEnabledFor(logging.INFO):
        outcome = call.failure or f"status {call.status}"
        cache = f", cache {call.cache}" if call.cache else ""
        url = "-" if call.request_url is None else shown_url(call.request_url)
        _log.info(
            *("[%s] callout %s: %s %s: %s, %.1f ms, %d attempts%s", run.request_id(), call.name),
            *(call.method, url, run.instance.redact(outcome), call.latency_ms, call.attempts, cache),
        )
