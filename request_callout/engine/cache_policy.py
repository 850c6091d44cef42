"""How one callout uses the cache: whether and for how long a response is kept, and what a kept one is good for."""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass

from request_callout.cache.freshness import Freshness, freshness, varies
from request_callout.cache.store import NOT_DECODED, CachedResponse
from request_callout.config import model
from request_callout.engine.answer import CalloutError
from request_callout.engine.bodies.response import UndecodableBody, decode_body
from request_callout.engine.call import Call
from request_callout.engine.compiled import CompiledCallout
from request_callout.engine.context import CalloutResponse
from request_callout.engine.occasional import Occasional
from request_callout.engine.retrying import longest_pauses_ms
from request_callout.engine.total import attempt_ms, most_attempts
from request_callout.lua.host import PdkError, ScriptError
from request_callout.values import Kept, Value

_STATES = ("hit", "miss", "stale", "bypass", "coalesced")
_SILENT = Freshness(storable=True, fresh_s=None, may_be_stale=True)


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


def seconds(value: Value) -> float:
    """A time to live as a script or an expression gives it; 0 for what is no positive finite number."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return 0
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return 0
    return max(0.0, value)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a callout gave, for the others that wait for it; ``varies`` None: it answers no other request.

    ``decoded_as`` is the format by which the response's body was decoded, if it was.
    """

    response: CalloutResponse | None
    error: CalloutError | None
    varies: Mapping[str, str | None] | None
    decoded_as: model.ResponseFormat | None


class CachePolicy:
    """What the configuration of one callout says of its caching."""

    def __init__(self, callout: CompiledCallout, cache: model.Cache) -> None:
        config = callout.config
        self.table = caching_table(cache, config)
        self.stale_while_revalidate_s = config.cache.stale_while_revalidate_s
        self.stale_if_error_s = config.cache.stale_if_error_s
        self._lines = Occasional()
        self._own = config.cache
        self._ttl = callout.ttl
        self._cache_ttl_s = cache.cache_ttl_s
        self._format = callout.decodes_as
        self._errors = config.request.error.http_statuses or frozenset()
        self._pauses_ms = longest_pauses_ms(config.request.error)
        self._attempts = most_attempts(config.request.error)
        self._tables = {state: Kept({**self.table, "status": state}) for state in _STATES}

    def mark(self, call: Call, state: str) -> None:
        """Say what the cache did, to the log and to scripts."""
        call.cache = state
        caching = call.record.caching
        if type(caching) is Kept:
            call.record.caching = self._tables[state]
        else:  # a script's own
            caching["status"] = state

    def warn(self, call: Call, what: str, why: str) -> None:
        """One line in the log, at most once a minute for each ``what``; the request goes on."""
        if self._lines.due(what):
            run = call.run
            line = f"callout {call.name}: {what}: {run.instance.redact(run.concealed(why))}"
            run.log.say(logging.WARNING, line, {"callout": call.name})

    def is_negative(self, status: int) -> bool:
        """Whether answers of this status are kept for a time of their own, and never when they are stale."""
        return status in self._errors or (status >= 400 and self._own.negative_ttl_s is not None)

    def longest_s(self, call: Call) -> float:
        """How long a callout takes at most, as its timeouts tell."""
        timeouts = call.record.params.timeouts
        longest_ms = self._attempts * attempt_ms(timeouts, call.run.instance.engine.settings) + self._pauses_ms
        if timeouts is not None and timeouts.total_ms is not None:
            longest_ms = min(longest_ms, float(timeouts.total_ms))
        return longest_ms / 1000

    def entry(self, call: Call, response: CalloutResponse, *, is_error: bool) -> tuple[CachedResponse, float] | None:
        """A response as it is to be stored and for how many seconds; None: it is not to be kept."""
        own, caching = self._own, call.record.caching
        if caching.get("bypass") is True or (own.statuses is not None and response.status not in own.statuses):
            return None
        if is_error and own.negative_ttl_s is None:
            return None
        said, chosen_by = self._said(call, response)
        if not said.storable or chosen_by is None:
            return None
        negative = self.is_negative(response.status)
        fresh_s = self._fresh_s(call, said, negative=negative)
        if own.jitter_percent:
            fresh_s -= fresh_s * random.uniform(0, own.jitter_percent / 100)  # noqa: S311 (no secret)
        left_s = fresh_s - (call.run.instance.engine.clock() - call.received_at)
        if left_s <= 0:
            return None
        stale_s = 0.0
        if said.may_be_stale and not negative:
            stale_s = max(self.stale_while_revalidate_s, self.stale_if_error_s)
        kept = CachedResponse(
            status=response.status,
            headers=response.headers,
            raw_body=response.raw_body,
            # A key that a script chose may be another callout's too: only as JSON a body is kept decoded.
            body=response.body if response.decoded and self._format == "json" else NOT_DECODED,
            stored_at=call.received_at,
            fresh_s=fresh_s,
            callout=call.name,
            plugin_id=call.run.instance.config.plugin_id,
            varies=chosen_by,
        )
        return kept, left_s + stale_s

    def _said(self, call: Call, response: CalloutResponse) -> tuple[Freshness, Mapping[str, str | None] | None]:
        if not self._own.respect_cache_control:
            return _SILENT, {}
        said = freshness(response.headers, call.received_at)
        return said, varies(response.headers, lambda name: _sent(call, name))

    def _fresh_s(self, call: Call, said: Freshness, *, negative: bool) -> float:
        chosen = call.record.caching.get("cache_ttl")
        if isinstance(chosen, bool) or chosen != self._cache_ttl_s:  # by a script, and not in quotes
            return 0 if isinstance(chosen, str) else seconds(chosen)
        if negative:
            return self._own.negative_ttl_s or 0
        if self._ttl is not None:
            return self._rendered_ttl(call)
        if said.fresh_s is not None:  # RFC 9111 section 4.2.3: it may have got older on its way
            return said.fresh_s - max(0.0, call.received_at - call.requested_at)
        return self._cache_ttl_s

    def _rendered_ttl(self, call: Call) -> float:
        text = self._ttl
        if text is None:
            return 0
        context = call.run.context
        context.records.setdefault(call.name, call.record)  # it may read its own response
        try:
            value = text.value(context)
            why = f"{text.where}: it gave {value if isinstance(value, (int, float)) else type(value).__name__}"
        except ScriptError as error:
            value, why = None, str(error)
        except PdkError as refused:
            value, why = None, f"{text.where}: {refused}"
        ttl_s = seconds(value)
        if ttl_s <= 0:
            self.warn(call, "its response is not kept", why)
        return ttl_s

    def response(self, call: Call, entry: CachedResponse) -> CalloutResponse | None:
        """A kept response for this call; None where it is not good for it."""
        if entry.varies and any(_sent(call, name) != value for name, value in entry.varies.items()):
            return None
        response = CalloutResponse(entry.status, dict(entry.headers), entry.raw_body)
        if entry.status in self._errors:
            return None if self._own.negative_ttl_s is None else response
        kept = entry.tables.get(self._format or "")
        if self._format is not None:
            if kept is not None:
                response.body = kept.get("body")
            elif self._format == "json" and entry.body is not NOT_DECODED:
                response.body = entry.body
            else:
                try:
                    response.body = decode_body(entry.raw_body, self._format, response.headers)
                except UndecodableBody:
                    return None
        if kept is None:
            kept = entry.tables[self._format or ""] = Kept(response.table())
        response.kept = kept
        return response

    def judged(self, response: CalloutResponse) -> CalloutResponse:
        """A kept response again; raises CalloutError for one that counts as an error."""
        if response.status in self._errors:
            raise CalloutError("code", f"status {response.status}", response.status, response)
        return response

    def outcome(self, call: Call, response: CalloutResponse | None, error: CalloutError | None) -> Outcome:
        """What the others that wait for this callout get to know."""
        got = response or (error.response if error else None)
        if got is None or not self._own.respect_cache_control:
            return Outcome(response, error, {}, self._format)
        said, chosen_by = self._said(call, got)
        return Outcome(response, error, chosen_by if said.storable else None, self._format)

    def followed(self, call: Call, outcome: Outcome) -> bool:
        """Whether an outcome is good for this call too."""
        chosen_by = outcome.varies
        if chosen_by is None or any(_sent(call, name) != value for name, value in chosen_by.items()):
            return False
        response = outcome.response  # a configuration before this one may have asked for it, and decoded it otherwise
        return response is None or self._format is None or (response.decoded and outcome.decoded_as == self._format)

    def handed_on(self, outcome: Outcome) -> CalloutResponse | None:
        """An outcome for one that waited for it; raises CalloutError if it is an error."""
        error = outcome.error
        if error is not None:
            raise CalloutError(error.reason, error.message, error.http_code, self._copy(error.response)) from None
        return self._copy(outcome.response)

    def _copy(self, response: CalloutResponse | None) -> CalloutResponse | None:
        if response is None:
            return None
        copy = CalloutResponse(response.status, dict(response.headers), response.raw_body)
        if self._format is not None and response.decoded:
            copy.body = response.body
        return copy


def _sent(call: Call, name: str) -> str | None:
    """The value of a header field that a callout sends."""
    params = call.record.params
    value = params.headers.get(name)
    if value is None and name == "user-agent":
        value = call.run.instance.engine.user_agent
    if value is None and name == "authorization":
        value = call.principal
    return value if value is None or isinstance(value, str) else ", ".join(value)
