"""What scripts see and may change of a callout's caching, and what follows from it."""

from __future__ import annotations

import math
from typing import Any

from request_callout.cache.key import cache_key
from request_callout.config import model
from request_callout.engine import query
from request_callout.engine.call import Call
from request_callout.engine.client import parse_query
from request_callout.values import Kept, Value


def caching_table(cache: model.Cache, callout: model.Callout) -> dict[str, Value]:
    """The table ``caching`` of a callout: the configuration, without what only the store needs to know."""
    return Kept(
        {
            "strategy": cache.strategy,
            "cache_ttl": cache.cache_ttl_s,
            "bypass": callout.cache.bypass,
            "memory": {"dictionary_name": cache.dictionary_name},
        }
    )


def ttl_s(caching: dict[str, Any]) -> float:
    """How long to keep a response by its ``caching.cache_ttl``; 0 for one that is no number."""
    value = caching.get("cache_ttl")
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return 0
    return max(0.0, value)


def key_for(call: Call) -> str:
    """The key of a callout's response: a script's own, else made of what is sent and for whom, once."""
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
        whose = (route_id, consumer.get("id"), groups)
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
        )
        params.key = (whose, call.cache_key)
    return call.cache_key
