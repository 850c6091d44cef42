"""The tokens of a process: kept until shortly before they expire, fetched once for all who wait.

A fetch runs in a greenlet of its own: whoever waits for it may be killed or run out of time without harm to it or to
the others. What it ends with, a failure too, goes to all who wait; after a failure nobody asks for a moment, and for a
longer one each time in a row.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

import gevent
from gevent.pool import Group

from request_callout.engine.auth.endpoint import Grant, TokenEndpoint, TokenUnavailable
from request_callout.engine.occasional import Occasional

LONGEST_LEEWAY_S = 30.0
SHARE_OF_LEEWAY = 0.2
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0
"""After a failed fetch, and after the sixth and more in a row; in between it doubles."""
MOST_SOURCES = 1000
"""Tokens that are kept; the one not used for longest makes room."""

_log = logging.getLogger(__name__)

Clock = Callable[[], float]
Fetch = Callable[[TokenEndpoint], Grant]
"""Gets a token; raises TokenUnavailable."""


@dataclass(frozen=True, slots=True, eq=False)
class Token:
    """An access token; from ``renew_at`` on the next one is fetched, and from ``end_at`` on waited for."""

    value: str = field(repr=False)
    renew_at: float
    end_at: float


class TokenSource:
    """The newest token of one endpoint."""

    def __init__(self, endpoint: TokenEndpoint, fetch: Fetch, clock: Clock, greenlets: Group) -> None:
        self._endpoint = endpoint
        self._fetch = fetch
        self._clock = clock
        self._greenlets = greenlets
        self._token: Token | None = None
        self._fetching: gevent.Greenlet[[], Token | TokenUnavailable] | None = None
        self._failure: TokenUnavailable | None = None
        self._failed_at = 0.0
        self._pause_s = FIRST_PAUSE_S
        self._lines = Occasional()

    def get(self, deadline: float) -> Token:
        """A token that is good for a while, waited for until ``deadline`` (``time.monotonic()``) if need be.

        Raises TokenUnavailable.
        """
        now = self._clock()
        token = self._token
        if token is None or now >= token.end_at:
            return self._awaited(deadline)
        if now >= token.renew_at and self._recent_failure() is None:
            self._fetched()
        return token

    def is_newest(self, token: Token) -> bool:
        """Whether there is no token in place of this one, and none asked for because it was refused."""
        return self._token is token

    def other_than(self, refused: Token, deadline: float) -> Token:
        """A token in place of one that a service has refused; only if that is still the newest, a new one is fetched.

        Raises TokenUnavailable.
        """
        if self._token is refused:
            self._token = None
        return self.get(deadline)

    def _awaited(self, deadline: float) -> Token:
        failure = self._recent_failure()
        if failure is not None:
            raise TokenUnavailable(str(failure))
        fetch = self._fetched()
        # Not get(): its own Timeout could not be told from one that somebody else set.
        fetch.join(max(0.0, deadline - time.monotonic()))
        if not fetch.ready():
            raise TokenUnavailable("no answer in the time that was left")
        outcome = fetch.value
        if isinstance(outcome, Token):
            return outcome
        # Many raise it: each an exception of its own.
        raise TokenUnavailable(str(outcome) if isinstance(outcome, TokenUnavailable) else "the fetch was ended")

    def _recent_failure(self) -> TokenUnavailable | None:
        if self._failure is not None and 0 <= self._clock() - self._failed_at < self._pause_s:
            return self._failure
        return None

    def _fetched(self) -> gevent.Greenlet[[], Token | TokenUnavailable]:
        """The fetch that is going on, or a new one."""
        fetch = self._fetching
        if fetch is None or fetch.ready():
            fetch = self._fetching = self._greenlets.spawn(self._run)
        return fetch

    def _run(self) -> Token | TokenUnavailable:
        asked_at = self._clock()
        try:
            grant = self._fetch(self._endpoint)
        except TokenUnavailable as failure:
            return self._failed(failure)
        except Exception as error:  # the text of an unexpected one may hold anything
            return self._failed(TokenUnavailable(f"unexpected {type(error).__name__}"))
        lasts_s = grant.expires_in_s
        leeway_s = min(LONGEST_LEEWAY_S, SHARE_OF_LEEWAY * lasts_s)
        end_at = asked_at + lasts_s - leeway_s
        self._token = token = Token(grant.access_token, renew_at=end_at - leeway_s, end_at=end_at)
        self._failure = None
        _log.info("a token from %s, valid for %.0f s", self._endpoint.shown, lasts_s)
        return token

    def _failed(self, failure: TokenUnavailable) -> TokenUnavailable:
        in_a_row = self._failure is not None
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S) if in_a_row else FIRST_PAUSE_S
        self._failure, self._failed_at = failure, self._clock()
        # Where a token is waited for, each callout that fails says so itself.
        if self._token is not None and self._lines.due("renewal"):
            _log.warning("no new token from %s yet: %s", self._endpoint.shown, failure)
        return failure


class Tokens:
    """The token sources of a process, for the greenlets of one hub; ``clock`` gives seconds that only grow."""

    def __init__(self, fetch: Fetch, clock: Clock = time.monotonic) -> None:
        self.clock = clock
        self._fetch = fetch
        self._sources: OrderedDict[bytes, TokenSource] = OrderedDict()
        self._greenlets = Group()

    def __len__(self) -> int:
        return len(self._sources)

    def source(self, endpoint: TokenEndpoint) -> TokenSource:
        """The source of an endpoint, one for all endpoints that are equal."""
        source = self._sources.get(endpoint.digest)
        if source is None:
            source = self._sources[endpoint.digest] = TokenSource(endpoint, self._fetch, self.clock, self._greenlets)
            if len(self._sources) > MOST_SOURCES:
                self._sources.popitem(last=False)
        else:
            self._sources.move_to_end(endpoint.digest)
        return source

    def close(self) -> None:
        """End the fetches that are going on."""
        self._greenlets.kill()
