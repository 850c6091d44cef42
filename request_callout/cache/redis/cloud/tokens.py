"""Tokens that Redis connections log in with: kept until shortly before they end, got once for all who wait.

The providers' SDKs block, so they run in a thread of gevent's pool, and a greenlet of its own looks after that thread:
whoever waits for a token may be killed or run out of time without harm to the fetch or to the others who wait. At most
one thread a provider is busy at a time, however long it hangs.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import gevent
from redis.credentials import CredentialProvider
from redis.exceptions import AuthenticationError, ConnectionError, RedisError

FETCH_LIMIT_S = 10.0
"""How long a connection waits for a token; the SDKs' own limits are shorter."""

REQUEST_LIMIT_S = 4
"""How long an SDK may take to connect, and then to read, in one request."""

_RETRY_AFTER_S = 1.0
_LONGEST_MARGIN_S = 120.0  # the SDKs and metadata servers give out the token they already have until 300 s before
_SHARE_OF_MARGIN = 0.2


@dataclass(frozen=True, slots=True)
class Token:
    """What a connection logs in with; ``expires_at`` is a moment of ``time.time()``.

    ``username`` None: the token alone is sent (``AUTH token``).
    """

    username: str | None
    secret: str = field(repr=False)
    expires_at: float


Source = Callable[[], Token]
"""Gets a new token; blocks, and runs outside the hub's thread.

Raises AuthenticationError if the provider refuses, ConnectionError if it can't be reached; the texts hold no secrets.
"""


class TokenCredentials(CredentialProvider):
    """The newest token of one provider, for the connections of one hub.

    In the last part of a token's time (a fifth, at most two minutes) it is still given out while the next one is being
    got. ``make_source`` runs with the first fetch, in its thread.
    """

    def __init__(
        self,
        provider: str,
        make_source: Callable[[], Source],
        clock: Callable[[], float] = time.time,
        limit_s: float = FETCH_LIMIT_S,
    ) -> None:
        self._provider = provider
        self._make_source = make_source
        self._clock = clock
        self._limit_s = limit_s
        self._source: Source | None = None
        self._token: Token | None = None
        self._renew_at = self._end_at = float("-inf")
        self._fetch: gevent.Greenlet[[], Token | RedisError] | None = None
        self._overdue_at = 0.0
        self._failure: RedisError | None = None
        self._failed_at = 0.0

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """Username and token, or the token alone.

        Raises AuthenticationError or ConnectionError of redis.exceptions if there is no token that is still good.
        """
        now = self._clock()
        token = self._token
        if token is None or now >= self._end_at:
            token = self._awaited()
        elif now >= self._renew_at and self._recent_failure() is None:
            self._fetching()
        return (token.secret,) if token.username is None else (token.username, token.secret)

    def _awaited(self) -> Token:
        failure = self._recent_failure()
        if failure is not None:
            raise _again(failure)
        fetch = self._fetching()
        # Not get(): its own Timeout could not be told from one that somebody else set.
        fetch.join(max(0.0, self._overdue_at - time.monotonic()))
        if not fetch.ready():
            raise ConnectionError(f"{self._provider}: no token for Redis within {self._limit_s:g} s")
        outcome = fetch.value
        if isinstance(outcome, Token):
            return outcome
        raise _again(outcome) if isinstance(outcome, RedisError) else ConnectionError("the fetch of a token was ended")

    def _recent_failure(self) -> RedisError | None:
        """What went wrong a moment ago: the provider is not asked again at once."""
        if self._failure is not None and 0 <= self._clock() - self._failed_at < _RETRY_AFTER_S:
            return self._failure
        return None

    def _fetching(self) -> gevent.Greenlet[[], Token | RedisError]:
        """The fetch that is going on, or a new one."""
        fetch = self._fetch
        if fetch is None or fetch.ready():
            fetch = self._fetch = gevent.spawn(self._run)
            self._overdue_at = time.monotonic() + self._limit_s
        return fetch

    def _run(self) -> Token | RedisError:
        outcome: Token | RedisError = gevent.get_hub().threadpool.apply(self._in_thread)
        now = self._clock()
        if isinstance(outcome, Token):
            margin_s = min(_LONGEST_MARGIN_S, max(0.0, outcome.expires_at - now) * _SHARE_OF_MARGIN)
            self._token, self._failure = outcome, None
            self._renew_at = max(outcome.expires_at - margin_s, now + _RETRY_AFTER_S)
            self._end_at = outcome.expires_at - margin_s / 4  # clocks differ, and logging in takes time
        else:
            self._failure, self._failed_at = outcome, now
        return outcome

    def _in_thread(self) -> Token | RedisError:
        # Whatever is raised here, gevent would print with its traceback: so nothing is.
        try:
            if self._source is None:
                self._source = self._make_source()
            return self._source()
        except (AuthenticationError, ConnectionError) as error:
            return _again(error)
        except Exception as error:  # a text from an SDK may hold anything
            return ConnectionError(f"{self._provider}: no token for Redis, its SDK failed with {type(error).__name__}")


def _again(error: RedisError) -> RedisError:
    """The same without a traceback or a cause: many raise it, and what lies behind it may hold secrets."""
    return type(error)(*error.args)
