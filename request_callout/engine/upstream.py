"""What is changed on the proxied request. What stays as it is costs no call to Kong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from request_callout.engine import json, query
from request_callout.engine.answer import Answer
from request_callout.engine.build import merged_body, rendered_headers
from request_callout.engine.compiled import CompiledUpstream
from request_callout.engine.respond import answer
from request_callout.engine.target import set_target

if TYPE_CHECKING:
    from request_callout.engine.run import Run

# What frames the message and names its target: nginx and Kong set these to fit what is sent.
_NEVER_CLEARED = frozenset({"host", "content-length", "transfer-encoding", "connection"})


def finish_upstream(upstream: CompiledUpstream, run: Run) -> Answer | None:
    """Edit the proxied request and run ``upstream.by_lua``; the answer, if the client is to get one instead."""
    respond = upstream.respond
    if respond is None or respond.when is not None:  # else nobody gets the request
        _edit(upstream, run)
    if upstream.script is not None:
        run.context.run(upstream.script)
    return None if respond is None else answer(respond, run)


def _edit(upstream: CompiledUpstream, run: Run) -> None:
    """Queue the changes that the configuration asks for."""
    headers = rendered_headers(upstream.headers, run.context)  # everything is evaluated before anything is written
    new_query = _query(upstream, run)
    body = _body(upstream, run)
    write = run.kong.write
    if upstream.target is not None:
        set_target(upstream.target, run)
    if new_query is not None:
        write("kong.service.request.set_raw_query", new_query)
    _write_headers(upstream, headers, run)
    if body is not None:
        write("kong.service.request.set_raw_body", body)
        if body and not any(name.lower() == "content-type" for name, _ in headers):
            write("kong.service.request.set_header", "Content-Type", "application/json")


def _query(upstream: CompiledUpstream, run: Run) -> str | None:
    part = upstream.query
    if part.forward and not part.changes:
        return None
    custom = query.encode_pairs((name, text.render(run.context)) for name, text in part.custom if text is not None)
    if not part.forward:
        return custom
    before = run.client.raw_query
    after = query.joined(query.without(before, part.gone), custom)
    return None if after == before else after


def _body(upstream: CompiledUpstream, run: Run) -> bytes | None:
    part, config = upstream.body, upstream.config.body
    client_body = run.client.body if part.merges(decode=config.decode) else b""
    if part.custom or client_body:
        return json.encode(merged_body(part, client_body, run.context, typed=config.typed))
    return None if part.forward else b""


def _write_headers(upstream: CompiledUpstream, headers: list[tuple[str, str | None]], run: Run) -> None:
    write = run.kong.write
    removed = [*upstream.headers.remove, *(name for name, value in headers if value is None)]
    if not upstream.headers.forward:
        removed = [name for name in run.client.headers if name not in _NEVER_CLEARED]
        # A target has set the header itself.
        host = None if upstream.target is not None and upstream.target.moves else _upstream_host(run)
        if host is not None:
            write("kong.service.request.set_header", "Host", host)
    for name in removed:
        write("kong.service.request.clear_header", name)
    values: dict[str, Any] = {name: value for name, value in headers if value is not None}
    if len(values) == 1:
        write("kong.service.request.set_header", *next(iter(values.items())))
    elif values:
        write("kong.service.request.set_headers", values)


def _upstream_host(run: Run) -> str | None:
    """The upstream's own ``Host`` where the route would pass on the client's, else None: then Kong sets it."""
    route, service = run.client.part("route") or {}, run.client.part("service") or {}
    host, port = service.get("host"), service.get("port")
    if not route.get("preserve_host") or not host:
        return None
    default = {"http": 80, "https": 443}.get(str(service.get("protocol")))
    return str(host) if not port or port == default else f"{host}:{port}"
