"""Calls that are made otherwise than they look: the body of a GET, retries that work twice, caches without hits."""

from __future__ import annotations

from collections.abc import Iterator

from request_callout.cli.explain.findings.finding import Finding, path_of
from request_callout.cli.explain.keeping import chooses_key, stores_elsewhere
from request_callout.cli.explain.subject import Subject
from request_callout.engine.compiled import CompiledCallout
from request_callout.engine.hedging import IDEMPOTENT
from request_callout.engine.reasons import SAFE_METHODS

_WITHOUT_BODY = frozenset({"GET", "HEAD"})


def findings(subject: Subject) -> Iterator[Finding]:
    """Everything about requests, retries and caches."""
    for callout in subject.callouts:
        yield from _body(callout)
        yield from _retry(callout)
        if subject.keeps(callout):
            yield from _cache(callout)


def _body(callout: CompiledCallout) -> Iterator[Finding]:
    method, body = callout.config.request.method, callout.config.request.body
    if method in _WITHOUT_BODY and (callout.body.custom or callout.content is not None or body.forward):
        which = "the client's body" if body.forward else "a body"
        yield Finding(
            "warning",
            "body-of-get",
            path_of(callout, "request.method"),
            f"{which} is sent with a {method}; many services and proxies drop or refuse that (RFC 9110, section 9.3.1)",
            "method: POST, or send it in query.custom",
        )


def _retry(callout: CompiledCallout) -> Iterator[Finding]:
    request = callout.config.request
    policy = request.error
    if policy.on_error != "retry" or not policy.retries or request.method in IDEMPOTENT:
        return
    if policy.retry_methods is not None and request.method not in policy.retry_methods:
        return
    names = {name.lower() for name, text in callout.headers.custom if text is not None}
    fields = {name.lower() for name, text in callout.body.custom if text is not None}
    if "idempotency-key" in names or "grant_type" in fields:  # asking for a token twice does no harm
        return
    yield Finding(
        "warning",
        "retry-not-idempotent",
        path_of(callout, "request.error.retries"),
        f"a {request.method} that was answered too late is sent again, and may do its work twice",
        "error.retry_methods without it, or a header Idempotency-Key, if the service knows it",
    )


def _cache(callout: CompiledCallout) -> Iterator[Finding]:
    config = callout.config
    if stores_elsewhere(callout):
        yield Finding(
            "warning",
            "cache-never-hit",
            path_of(callout, "response.by_lua"),
            "with this cache_key responses are kept under a key that no look-up uses",
            "set caching.cache_key in request.by_lua",
        )
    elif chooses_key(callout):
        if callout.headers.forward or callout.query.forward or config.request.body.forward or callout.uses.shortcuts:
            yield Finding(
                "advice",
                "key-by-script",
                path_of(callout, "request.by_lua"),
                "what is sent depends on the client, but whom cached responses are for is up to the script's cache_key",
                "build the key of all that the response depends on, or add to the plugin's own key with cache.vary_on",
            )
    elif callout.headers.forward:
        yield Finding(
            "advice",
            "cache-seldom-hit",
            path_of(callout, "request.headers.forward"),
            "each header of the client is part of the key, ids of traces and User-Agent too: there will be few hits",
            "take the headers that count with expressions in headers.custom",
        )
    fields = {name.lower() for name, text in callout.body.custom if text is not None}
    if config.request.method not in SAFE_METHODS and not chooses_key(callout) and "grant_type" not in fields:
        yield Finding(
            "warning",
            "cached-write",
            path_of(callout, "cache"),
            f"while a response is kept, an equal {config.request.method} is not sent: what it does is not done",
            "cache.bypass: true",
        )
    error = config.request.error
    if error.http_statuses is None and error.when is None and config.cache.statuses is None:
        yield Finding(
            "warning",
            "errors-cached",
            path_of(callout, "cache"),
            "a 500 of the service is no error here, and is kept like any other response",
            "cache.statuses: [200], or error.http_statuses",
        )
