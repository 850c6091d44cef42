"""The layers of a callout that work with the cache: look-up, coalescing of equal misses, and the store.

What is kept is as received, but whether and for how long is decided after ``response.by_lua``: so the look-up is below
the script, and the store above it. What the look-up finds may be an error, so the error policy is above both.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import gevent

from request_callout.cache.store import CachedResponse
from request_callout.engine.answer import CalloutError
from request_callout.engine.cache_policy import CachePolicy
from request_callout.engine.call import Call, Handler
from request_callout.engine.context import CalloutResponse
from request_callout.engine.keys import flight_key, key_for
from request_callout.lua.host import PdkError, ScriptError

Refresh = Callable[[Call], None]
"""Begins to fetch anew, in the background, what a call got from the cache."""

SHORTEST_LEASE_S = 1.0
LONGEST_LEASE_S = 10.0
"""As long as a process that was killed keeps the others waiting."""
_FIRST_PAUSE_S = 0.005
_LONGEST_PAUSE_S = 0.05


def bypass(following: Handler, policy: CachePolicy) -> Handler:
    """Only say that there is no caching for this callout."""

    def handle(call: Call) -> CalloutResponse | None:
        policy.mark(call, "bypass")
        return following(call)

    return handle


def store(following: Handler, policy: CachePolicy, *, errors: bool = True) -> Handler:
    """Keep what was fetched, if the configuration and what the scripts left of ``caching`` say so.

    With it the call's flight ends, and its lease: the next equal request finds what was stored.
    """

    def handle(call: Call) -> CalloutResponse | None:
        try:
            response = following(call)
            if response is not None and call.cache == "miss":
                noted = call.record.error
                received = call.unusable if call.record.fallback else response
                if received is not None and (noted is None or noted["reason"] == "code"):
                    _put(call, received, policy, is_error=noted is not None)
            return response
        except CalloutError as error:
            if errors and error.response is not None and error.reason == "code" and call.cache == "miss":
                _put(call, error.response, policy, is_error=True)
            raise
        finally:
            if call.flight is not None:
                end_flight(call)

    return handle


def _put(call: Call, response: CalloutResponse, policy: CachePolicy, *, is_error: bool) -> None:
    kept = policy.entry(call, response, is_error=is_error)
    key = None if kept is None else _key(call, policy)
    if kept is not None and key is not None:
        call.run.instance.store.put(key, *kept)


def _key(call: Call, policy: CachePolicy) -> str | None:
    """The key of a call's response; None where it can't be made, so that nothing is cached."""
    try:
        return key_for(call)
    except (ScriptError, PdkError) as error:
        policy.warn(call, "it is not cached", str(error))
        return None


def end_flight(call: Call) -> None:
    """Let the other processes and the other requests of this one go on."""
    lease, call.lease = call.lease, None
    if lease is not None:
        lease.release()
    flight, call.flight = call.flight, None
    if flight is not None:
        flight.close()


def look_up(following: Handler, policy: CachePolicy, refresh: Refresh) -> Handler:
    """Answer from the cache where it can; a stale response while it is fetched anew, or if that fails."""

    def handle(call: Call) -> CalloutResponse | None:
        key = None if call.record.caching.get("bypass") is True else _key(call, policy)
        if key is None:
            policy.mark(call, "bypass")
            return following(call)
        instance = call.run.instance
        entry = instance.store.get(key)
        response = None if entry is None else policy.response(call, entry)
        if entry is None or response is None:
            policy.mark(call, "miss")
            return following(call)
        stale_s = instance.engine.clock() - entry.stored_at - entry.fresh_s
        if stale_s < 0:
            policy.mark(call, "hit")
            return policy.judged(response)
        if policy.is_negative(entry.status):
            policy.mark(call, "miss")
            return following(call)
        if stale_s < policy.stale_while_revalidate_s:
            policy.mark(call, "stale")
            refresh(call)
            return response
        policy.mark(call, "miss")
        try:
            return following(call)
        except CalloutError as error:
            if stale_s >= policy.stale_if_error_s:
                raise
            policy.warn(call, "its stale response is used", error.message)
            policy.mark(call, "stale")
            return response

    return handle


def coalesce(following: Handler, policy: CachePolicy) -> Handler:
    """Wait for an equal miss that is in flight, and take over what it gives: its response, or its error."""

    def handle(call: Call) -> CalloutResponse | None:
        if call.cache != "miss":
            return following(call)
        run = call.run
        flights = run.instance.engine.flights
        key = flight_key(call)
        while (flight := flights.get(key)) is not None:
            if flight.outcome is None and not flight.wait(max(0.0, run.deadline - time.monotonic())):
                raise CalloutError("error", run.deadline_message)
            outcome = flight.outcome
            if outcome is None:
                continue  # the one that fetched was ended
            if not policy.followed(call, outcome):
                return following(call)
            policy.mark(call, "coalesced")
            return policy.handed_on(outcome)
        call.flight = flights.open(key)
        return following(call)

    return handle


def lead(following: Handler, policy: CachePolicy) -> Handler:
    """Fetch for all that wait for the call's flight, if it has one.

    An error that only says that this call's own deadline has passed is not theirs.
    """

    def handle(call: Call) -> CalloutResponse | None:
        clock = call.run.instance.engine.clock
        try:
            response = following(call)
        except CalloutError as error:
            call.received_at = clock()
            if call.flight is not None and time.monotonic() < call.run.deadline:
                call.flight.settle(policy.outcome(call, None, error))
            raise
        call.received_at = clock()
        if call.flight is not None:
            call.flight.settle(policy.outcome(call, response, None))
        return response

    return handle


def take_turns(following: Handler, policy: CachePolicy) -> Handler:
    """Where other processes share the store: fetch with a lease, or wait for what its holder stores."""

    def handle(call: Call) -> CalloutResponse | None:
        store = call.run.instance.store
        if not store.shared or call.flight is None:
            return following(call)
        key = key_for(call)
        wait_s, lease_s = turn_s(call, policy)
        until = min(time.monotonic() + wait_s, call.run.deadline)
        pause_s, state = _FIRST_PAUSE_S, "hit"
        while (lease := store.lease(key, lease_s)) is None:
            left_s = until - time.monotonic()
            if left_s <= 0:
                return following(call)
            gevent.sleep(min(pause_s, left_s))
            pause_s, state = min(2 * pause_s, _LONGEST_PAUSE_S), "coalesced"
            response = _fresh(call, store.get(key), policy)
            if response is not None:
                policy.mark(call, state)
                return policy.judged(response)
        call.lease = lease
        response = _fresh(call, store.get(key), policy)  # another one may have stored it since the look-up
        if response is not None:
            policy.mark(call, state)
            return policy.judged(response)
        return following(call)

    return handle


def turn_s(call: Call, policy: CachePolicy) -> tuple[float, float]:
    """How long to wait for another process, and to keep others waiting, in seconds."""
    wait_s = min(policy.longest_s(call), LONGEST_LEASE_S)
    return wait_s, max(wait_s, SHORTEST_LEASE_S)


def _fresh(call: Call, entry: CachedResponse | None, policy: CachePolicy) -> CalloutResponse | None:
    if entry is None or call.run.instance.engine.clock() - entry.stored_at >= entry.fresh_s:
        return None
    return policy.response(call, entry)
