from __future__ import annotations

import threading
from collections.abc import Callable

import gevent
import pytest
from redis.exceptions import AuthenticationError, ConnectionError

from request_callout.cache.redis.cloud.tokens import Source, Token, TokenCredentials

from .conftest import eventually


class Clock:
    """A clock that stands still until it is set."""

    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Provider:
    """Gives the tokens t1, t2 and so on, each for an hour; may be told to fail, or to wait."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.calls = 0
        self.at_once = 0
        self.most_at_once = 0
        self.error: Exception | None = None
        self.go_on = threading.Event()
        self.go_on.set()

    def source(self) -> Source:
        return self.fetch

    def fetch(self) -> Token:
        self.calls += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        number = self.calls
        assert self.go_on.wait(30)
        self.at_once -= 1
        if self.error is not None:
            raise self.error
        return Token("user", f"t{number}", self.clock.now + 3600)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def provider(clock: Clock) -> Provider:
    return Provider(clock)


@pytest.fixture
def credentials(provider: Provider, clock: Clock) -> TokenCredentials:
    return TokenCredentials("cloud", provider.source, clock)


def outcome(get: Callable[[], object]) -> object:
    """What a call gives, or the error it raises."""
    try:
        return get()
    except Exception as error:
        return error


def test_a_token_is_kept_while_it_is_good(provider: Provider, credentials: TokenCredentials, clock: Clock) -> None:
    """All connections of the first 58 minutes of an hour log in with one token."""
    given = []
    for minute in range(58):
        clock.now = Clock.now + 60 * minute
        given.append(credentials.get_credentials())
    assert set(given) == {("user", "t1")}
    assert provider.calls == 1


def test_a_token_without_a_user_goes_alone(clock: Clock) -> None:
    """Without a username the token is the only argument of AUTH."""
    credentials = TokenCredentials("cloud", lambda: lambda: Token(None, "secret", clock.now + 60), clock)
    assert credentials.get_credentials() == ("secret",)


def test_it_is_renewed_before_it_ends_without_a_wait(
    provider: Provider, credentials: TokenCredentials, clock: Clock
) -> None:
    """In its last two minutes a token is still given out at once, while the next one is being got."""
    credentials.get_credentials()
    clock.now += 3600 - 119
    provider.go_on.clear()
    assert credentials.get_credentials() == ("user", "t1")
    assert credentials.get_credentials() == ("user", "t1")
    provider.go_on.set()
    eventually(lambda: credentials.get_credentials() == ("user", "t2"))
    assert provider.calls == 2


def test_a_token_that_ended_is_not_given_out(provider: Provider, credentials: TokenCredentials, clock: Clock) -> None:
    """Whoever comes after the end of a token gets the next one."""
    credentials.get_credentials()
    clock.now += 3600
    assert credentials.get_credentials() == ("user", "t2")


def test_a_renewal_that_fails_leaves_the_old_token_for_its_time(
    provider: Provider, credentials: TokenCredentials, clock: Clock
) -> None:
    """A provider that is down does no harm before the token ends, and is asked once a second."""
    credentials.get_credentials()
    provider.error = ConnectionError("down")
    clock.now += 3600 - 100
    for _ in range(3):
        assert credentials.get_credentials() == ("user", "t1")
        eventually(lambda: provider.calls == 2 and provider.at_once == 0)
        gevent.get_hub().threadpool.join()
        gevent.idle()
    assert provider.calls == 2
    clock.now += 100
    with pytest.raises(ConnectionError, match="down"):
        credentials.get_credentials()


def test_a_failure_counts_for_a_second(provider: Provider, credentials: TokenCredentials, clock: Clock) -> None:
    """The provider is asked again a second after it failed, and not before."""
    provider.error = AuthenticationError("refused")
    for _ in range(5):
        with pytest.raises(AuthenticationError, match="refused"):
            credentials.get_credentials()
    assert provider.calls == 1
    provider.error = None
    clock.now += 1
    assert credentials.get_credentials() == ("user", "t2")


def test_those_who_wait_share_one_fetch(provider: Provider, credentials: TokenCredentials) -> None:
    """Fifty connections that need a token at once make one request, and all get its token."""
    provider.go_on.clear()
    waiting = [gevent.spawn(credentials.get_credentials) for _ in range(50)]
    gevent.spawn(provider.go_on.set)  # runs only if nobody holds up the hub
    gevent.joinall(waiting, timeout=20, raise_error=True)
    assert {one.value for one in waiting} == {("user", "t1")}
    assert (provider.calls, provider.most_at_once) == (1, 1)


def test_a_failure_is_told_to_all_who_wait(provider: Provider, credentials: TokenCredentials) -> None:
    """Each gets an exception of its own, so that tracebacks do not pile up on one."""
    provider.error = AuthenticationError("refused")
    provider.go_on.clear()
    waiting = [gevent.spawn(outcome, credentials.get_credentials) for _ in range(5)]
    gevent.spawn(provider.go_on.set)
    gevent.joinall(waiting, timeout=20)
    errors = [one.value for one in waiting]
    assert [type(error) for error in errors] == [AuthenticationError] * 5
    assert len({id(error) for error in errors}) == 5
    assert provider.calls == 1


@pytest.mark.parametrize("end", ["kill", "timeout"])
def test_one_that_stops_waiting_harms_nobody(end: str, provider: Provider, credentials: TokenCredentials) -> None:
    """The fetch goes on for the others when the one that began it is killed or runs out of time."""

    def first() -> object:
        try:
            with gevent.Timeout(0.01 if end == "timeout" else 30):
                return credentials.get_credentials()
        except gevent.Timeout:
            return "out of time"

    provider.go_on.clear()
    leader = gevent.spawn(first)
    follower = gevent.spawn(credentials.get_credentials)
    eventually(lambda: provider.calls == 1)
    if end == "kill":
        leader.kill()
    leader.join(10)
    assert leader.ready()
    assert leader.value != ("user", "t1")
    provider.go_on.set()
    assert follower.get(timeout=20) == ("user", "t1")
    assert provider.calls == 1


def test_a_provider_that_hangs_is_waited_for_once(provider: Provider, clock: Clock) -> None:
    """After the time limit nobody waits any more, no second thread is taken, and a late token still counts."""
    credentials = TokenCredentials("cloud", provider.source, clock, limit_s=0.05)
    provider.go_on.clear()
    for _ in range(20):
        with pytest.raises(ConnectionError, match=r"cloud: no token for Redis within 0\.05 s"):
            credentials.get_credentials()
    assert provider.calls == 1
    provider.go_on.set()
    eventually(lambda: outcome(credentials.get_credentials) == ("user", "t1"))
    assert provider.calls == 1


def test_the_text_of_an_unexpected_error_is_kept_back(
    provider: Provider, credentials: TokenCredentials, capfd: pytest.CaptureFixture[str]
) -> None:
    """What an SDK raises may hold secrets: only its class is told, and nothing is printed."""
    provider.error = RuntimeError("the password is hunter2")
    with pytest.raises(ConnectionError) as caught:
        credentials.get_credentials()
    assert str(caught.value) == "cloud: no token for Redis, its SDK failed with RuntimeError"
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert capfd.readouterr() == ("", "")


def test_a_token_does_not_show_itself() -> None:
    """A token that is printed does not tell its secret."""
    assert "hunter2" not in repr(Token("user", "hunter2", 0.0))
