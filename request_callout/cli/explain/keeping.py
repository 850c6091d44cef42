"""How a callout's responses are cached: under which key, for how long, and which."""

from __future__ import annotations

from collections.abc import Iterator

from request_callout.cli.explain.explanation import Kept
from request_callout.cli.explain.subject import Subject
from request_callout.cli.explain.timing import seconds
from request_callout.engine.compiled import CompiledCallout, Customized

_KEY = "cache_key"


def kept(callout: CompiledCallout, subject: Subject) -> Kept | None:
    """What the cache does for a callout, None if nothing."""
    if not subject.keeps(callout):
        return None
    cache, own = subject.config.cache, callout.config.cache
    store = f"memory ({cache.dictionary_name})" if cache.strategy == "memory" else f"Redis at {_redis(subject)}"
    return Kept(
        store=subject.shown.plain(store),
        key=tuple(_key(callout, subject)),
        ttl="; else ".join(_ttl(callout, subject)),
        what=_what(callout),
        stale_while_revalidate_s=own.stale_while_revalidate_s,
        stale_if_error_s=own.stale_if_error_s,
    )


def chooses_key(callout: CompiledCallout) -> bool:
    """Whether a script before the request may choose the key."""
    return callout.request_script is not None and _KEY in callout.request_script.source


def stores_elsewhere(callout: CompiledCallout) -> bool:
    """Whether responses are kept under a key that no look-up uses."""
    script = callout.response_script
    return script is not None and _KEY in script.source and not chooses_key(callout)


def _redis(subject: Subject) -> str:
    redis = subject.config.cache.redis
    nodes = redis.sentinel_nodes or redis.cluster_nodes
    if nodes:
        kind = "sentinels" if redis.sentinel_nodes else "cluster"
        return f"{kind} {', '.join(f'{node.host}:{node.port}' for node in nodes)}"
    return f"{redis.host}:{redis.port}"


def _key(callout: CompiledCallout, subject: Subject) -> Iterator[str]:
    if chooses_key(callout):
        yield "caching.cache_key, where request.by_lua sets it; else:"
    yield from ("route", "plugin", "consumer", "consumer groups", "callout", "method", "URL")
    yield from _names("query", callout.query)
    yield from _names("headers", callout.headers)
    if callout.content is not None or callout.body.forward or callout.body.custom:
        yield "body"
    if callout.auth is not None:
        yield "as whom it is sent"
    yield from (subject.shown.value("", text.source) for text in callout.vary_on)


def _names(kind: str, part: Customized) -> Iterator[str]:
    names = [name for name, text in part.custom if text is not None]
    if part.forward:
        yield f"{kind} (all of the client's)"
    elif names:
        yield f"{kind} {', '.join(names)}"


def _ttl(callout: CompiledCallout, subject: Subject) -> Iterator[str]:
    own = callout.config.cache
    scripts = (callout.request_script, callout.response_script)
    if any(script is not None and "cache_ttl" in script.source for script in scripts):
        yield "as a script says"
    if own.negative_ttl_s is not None:
        yield f"{own.negative_ttl_s:g} s for status 400 and more"
    if callout.ttl is not None:
        constant = callout.ttl.constant
        yield f"{constant} s" if constant is not None else f"{subject.shown.expression(callout.ttl.source)} seconds"
        return
    if own.respect_cache_control:
        yield "as the response's Cache-Control says"
    yield f"{seconds(subject.config.cache.cache_ttl_s * 1000)} (cache.cache_ttl)"


def _what(callout: CompiledCallout) -> str:
    own = callout.config.cache
    if own.statuses is not None:
        return "status " + ", ".join(map(str, sorted(own.statuses)))
    negative = " and errors (negative_ttl)" if own.negative_ttl_s is not None else ""
    return f"responses that are no errors{negative}"
