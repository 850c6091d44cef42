"""The keys of a call: where its response is kept, and which other calls are equal to it."""

from __future__ import annotations

from collections.abc import Sequence

from request_callout.cache.key import cache_key
from request_callout.engine import query
from request_callout.engine.call import Call
from request_callout.engine.client import parse_query


def key_for(call: Call) -> str:
    """The key of a callout's response: a script's own, else made of what is sent and for whom, once.

    Raises ScriptError and PdkError where an expression of ``vary_on`` fails.
    """
    chosen = call.record.caching.get("cache_key")
    if isinstance(chosen, str):
        return chosen
    if call.cache_key is None:
        run = call.run
        params = call.record.params
        config = run.instance.config
        consumer = run.client.part("consumer") or {}
        route_id = config.route_id or (run.client.part("route") or {}).get("id")
        groups = run.consumer_groups()
        vary_on: Sequence[str] = ()
        if call.callout.vary_on:
            vary_on = [text.render(run.context) for text in call.callout.vary_on]
        if call.principal is not None:  # as whom, but not with which token: that changes
            vary_on = [*vary_on, "as", call.principal]
        whose = (route_id, consumer.get("id"), groups, vary_on)
        if params.key is not None and params.key[0] == whose:  # the same request as the last one
            call.cache_key = params.key[1]
            return call.cache_key
        base, raw_query = query.split_url(params.full_url())
        call.cache_key = cache_key(
            route_id=route_id,
            plugin_id=config.plugin_id,
            consumer_id=consumer.get("id"),
            consumer_groups=groups,
            callout=call.name,
            method=params.method,
            url=base,
            query=[(name, "" if value is True else "=" + value) for name, value in parse_query(raw_query)],
            headers=params.headers.pairs(),
            body=params.body_bytes(),
            vary_on=vary_on,
        )
        params.key = (whose, call.cache_key)
    return call.cache_key


def flight_key(call: Call) -> tuple[str, str, str]:
    """What equal misses have in common."""
    return (call.run.instance.config.plugin_id, call.name, key_for(call))
