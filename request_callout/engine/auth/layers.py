"""The layers of a callout that give it its ``Authorization``.

``authenticate`` is above the cache, whose key has to know as whom the callout is sent. ``with_token`` is below it, so
that a hit needs no token, and below the error policy, to which a token that can't be had is an error like any other.
"""

from __future__ import annotations

from typing import TypeAlias

from request_callout.engine.answer import CalloutError
from request_callout.engine.auth.endpoint import TokenEndpoint, TokenUnavailable
from request_callout.engine.auth.identity import CompiledAuth, Identity
from request_callout.engine.auth.tokens import Token, TokenSource
from request_callout.engine.call import Call, Handler
from request_callout.engine.context import CalloutResponse

UNAUTHORIZED = 401

PAUSE_AFTER_REFUSAL_S = 10.0
"""How long a callee that has refused a new token too is not asked again with another one."""


def authenticate(following: Handler, auth: CompiledAuth) -> Handler:
    """Say as whom the callout is sent; an ``Authorization`` of ``request.by_lua`` comes first."""
    constant = auth.constant
    kept: Identity | None = None

    def handle(call: Call) -> CalloutResponse | None:
        nonlocal kept
        if "authorization" not in call.record.params.headers:
            identity = kept
            if identity is None:
                identity = auth.identity(call.run.context)
                if constant:
                    kept = identity
            call.principal = identity.principal
            call.authorization = identity.authorization
        return following(call)

    return handle


def with_token(following: Handler, endpoint: TokenEndpoint) -> Handler:
    """Send the callout with a fetched token; once more with a new one, if it is answered with 401."""
    none_before = float("-inf")

    def handle(call: Call) -> CalloutResponse | None:
        nonlocal none_before
        if call.principal is None:  # a script's own header
            return following(call)
        tokens = call.run.instance.engine.tokens
        source = tokens.source(endpoint)
        token = _token(call, source, None, endpoint)
        call.authorization = f"Bearer {token.value}"
        outcome = _outcome(following, call)
        if _status(outcome) == UNAUTHORIZED and (tokens.clock() >= none_before or not source.is_newest(token)):
            new = _token(call, source, token, endpoint, outcome)
            if new.value != token.value:
                call.authorization = f"Bearer {new.value}"
                outcome = _outcome(following, call)
            if _status(outcome) == UNAUTHORIZED:  # a new token is no help: not one more with each request
                none_before = tokens.clock() + PAUSE_AFTER_REFUSAL_S
        if isinstance(outcome, CalloutError):
            raise outcome
        return outcome

    return handle


_Outcome: TypeAlias = "CalloutResponse | CalloutError | None"


def _outcome(following: Handler, call: Call) -> _Outcome:
    try:
        return following(call)
    except CalloutError as error:
        return error


def _status(outcome: _Outcome) -> int | None:
    if isinstance(outcome, CalloutError):
        return outcome.http_code
    return None if outcome is None else outcome.status


def _token(
    call: Call, source: TokenSource, refused: Token | None, endpoint: TokenEndpoint, outcome: _Outcome = None
) -> Token:
    """A token, in place of a refused one if there is one; raises CalloutError with what was answered to that."""
    deadline = call.deadline
    try:
        return source.get(deadline) if refused is None else source.other_than(refused, deadline)
    except TokenUnavailable as failure:
        response = outcome.response if isinstance(outcome, CalloutError) else outcome
        message = f"no token from {endpoint.shown}: {failure}"
        raise CalloutError("error", message, _status(outcome), response) from None
