"""The tokens of a process: when they are fetched, and by whom."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from inspect import getmembers
from itertools import pairwise

import gevent
import pytest
from gevent.event import Event

from request_callout.config import model
from request_callout.engine.auth.endpoint import Grant, TokenEndpoint, TokenUnavailable
from request_callout.engine.auth.tokens import MOST_SOURCES, Token, Tokens, TokenSource
from tests.unit.engine.gevent_callee import PATIENCE_S, Clock, until

OPTIONS = model.HttpOptions(ssl_verify=True, ssl_server_name=None, timeouts=None, proxy=None)


def endpoint(client_id: str = "gateway", **fields: object) -> TokenEndpoint:
    auth = {"token_url": "http://id.test/token", "client_id": client_id, "client_secret": "s3cr3t", **fields}
    return TokenEndpoint(model.Auth("oauth2_client_credentials", **auth), OPTIONS)  # type: ignore[arg-type]


class Fetches:
    """Gives ``t1``, ``t2``, ... or fails, once ``gate`` is open."""

    def __init__(self) -> None:
        self.count = 0
        self.expires_in_s = 3600.0
        self.failure: Exception | None = None
        self.gate = Event()
        self.gate.set()

    def __call__(self, endpoint: TokenEndpoint) -> Grant:
        self.count += 1
        number = self.count
        self.gate.wait(PATIENCE_S)
        if self.failure is not None:
            raise self.failure
        return Grant(f"t{number}", self.expires_in_s)


@pytest.fixture
def fetches() -> Fetches:
    return Fetches()


@pytest.fixture
def tokens(fetches: Fetches, clock: Clock) -> Iterator[Tokens]:
    tokens = Tokens(fetches, clock)
    yield tokens
    tokens.close()


@pytest.fixture
def source(tokens: Tokens) -> TokenSource:
    return tokens.source(endpoint())


def soon() -> float:
    return time.monotonic() + PATIENCE_S


def waiting(source: TokenSource, times: int = 1) -> list[gevent.Greenlet[..., Token]]:
    greenlets = [gevent.spawn(source.get, soon()) for _ in range(times)]
    until(lambda: all(greenlet.started for greenlet in greenlets))
    gevent.sleep(0)
    return greenlets


def test_one_fetch_for_all_who_wait(source: TokenSource, fetches: Fetches) -> None:
    """However many need a token at once, it is fetched once, and all get it."""
    fetches.gate.clear()
    greenlets = waiting(source, 100)
    fetches.gate.set()
    assert {greenlet.get(timeout=PATIENCE_S).value for greenlet in greenlets} == {"t1"}
    assert source.get(soon()).value == "t1"
    assert fetches.count == 1


@pytest.mark.parametrize(("expires_in_s", "usable_s"), [(3600.0, 3570), (150.0, 120), (100.0, 80), (10.0, 8)])
def test_a_token_is_used_until_shortly_before_it_expires(
    source: TokenSource, fetches: Fetches, clock: Clock, expires_in_s: float, usable_s: int
) -> None:
    """The leeway is a fifth of the token's time, 30 seconds at most: after that nobody gets the old one."""
    fetches.expires_in_s = expires_in_s
    source.get(soon())
    clock.now += usable_s - 0.01
    assert source.get(soon()).value == "t1"
    tokens_before = fetches.count
    until(lambda: fetches.count == 2)
    assert tokens_before == 1
    clock.now += 2 * expires_in_s
    assert source.get(soon()).value == "t3"


def test_a_token_is_renewed_before_its_end_without_waiting(source: TokenSource, fetches: Fetches, clock: Clock) -> None:
    """In the time before the leeway the old token is given out at once while the next one is fetched."""
    source.get(soon())
    clock.now += 3600 - 60 - 0.01
    source.get(soon())
    gevent.sleep(0)
    assert fetches.count == 1
    clock.now += 0.02
    fetches.gate.clear()
    assert [source.get(time.monotonic()).value for _ in range(3)] == ["t1"] * 3
    until(lambda: fetches.count == 2)
    fetches.gate.set()
    until(lambda: source.get(soon()).value == "t2")
    assert fetches.count == 2


def test_a_failed_renewal_leaves_the_old_token(source: TokenSource, fetches: Fetches, clock: Clock) -> None:
    """As long as the old token is good, a server that fails to renew it disturbs nobody."""
    source.get(soon())
    fetches.failure = TokenUnavailable("down")
    for _ in range(5):
        clock.now += 3600 - 59 if fetches.count == 1 else 5
        assert source.get(time.monotonic()).value == "t1"
        gevent.sleep(0)
    assert fetches.count == 6
    clock.now += 10
    with pytest.raises(TokenUnavailable, match="down"):
        source.get(soon())


def test_a_failure_is_told_to_all_who_wait_and_then_for_a_moment(
    source: TokenSource, fetches: Fetches, clock: Clock
) -> None:
    """Nobody who waited asks again, nor who comes right after; later somebody does."""
    fetches.gate.clear()
    fetches.failure = TokenUnavailable("status 503")
    greenlets = waiting(source, 10)
    fetches.gate.set()
    for greenlet in greenlets:
        with pytest.raises(TokenUnavailable, match="status 503"):
            greenlet.get(timeout=PATIENCE_S)
    with pytest.raises(TokenUnavailable, match="status 503"):
        source.get(soon())
    assert fetches.count == 1
    fetches.failure = None
    clock.now += 0.11
    assert source.get(soon()).value == "t2"


def test_the_pause_grows_with_each_failure_up_to_a_limit(source: TokenSource, fetches: Fetches, clock: Clock) -> None:
    """A dead server is asked after 0.1, 0.2, 0.4, ... seconds, never less often than every five; success resets it."""
    fetches.failure = TokenUnavailable("down")
    asked_at = []
    start = clock.now
    while clock.now - start < 30:
        before = fetches.count
        with pytest.raises(TokenUnavailable):
            source.get(soon())
        if fetches.count > before:
            asked_at.append(clock.now)
        clock.now += 0.01
    pauses = [round(later - earlier, 1) for earlier, later in pairwise(asked_at)]
    assert pauses[:7] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0]
    assert set(pauses[6:]) == {5.0}
    fetches.failure = None
    clock.now += 5
    first = source.get(soon())
    fetches.failure = TokenUnavailable("down")
    with pytest.raises(TokenUnavailable):
        source.other_than(first, soon())
    count = fetches.count
    clock.now += 0.11
    with pytest.raises(TokenUnavailable):
        source.get(soon())
    assert fetches.count == count + 1


def test_each_waits_within_its_own_deadline(source: TokenSource, fetches: Fetches) -> None:
    """Who runs out of time is told so; the fetch goes on for the others."""
    fetches.gate.clear()
    (patient,) = waiting(source)
    with pytest.raises(TokenUnavailable, match="in the time that was left"):
        source.get(time.monotonic() + 0.01)
    fetches.gate.set()
    assert patient.get(timeout=PATIENCE_S).value == "t1"
    assert fetches.count == 1


def test_a_timeout_of_somebody_else_is_not_taken_for_ones_own(source: TokenSource, fetches: Fetches) -> None:
    """A gevent.Timeout that is set around it goes through."""
    fetches.gate.clear()
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.01):
        source.get(soon())
    fetches.gate.set()
    assert source.get(soon()).value == "t1"
    assert fetches.count == 1


def test_killed_greenlets_change_nothing_for_the_others(source: TokenSource, fetches: Fetches) -> None:
    """The first who needed the token, or any other, may be killed: the fetch goes on."""
    fetches.gate.clear()
    first, second, third = waiting(source, 3)
    first.kill()
    second.kill()
    fetches.gate.set()
    assert third.get(timeout=PATIENCE_S).value == "t1"
    assert fetches.count == 1


def test_a_killed_fetch_is_an_error_and_the_next_one_fetches(
    tokens: Tokens, source: TokenSource, fetches: Fetches
) -> None:
    """Whoever waits when the process ends its fetches is told, and nothing is left that blocks the next."""
    fetches.gate.clear()
    (waits,) = waiting(source)
    until(lambda: fetches.count == 1)
    tokens.close()
    with pytest.raises(TokenUnavailable, match="ended"):
        waits.get(timeout=PATIENCE_S)
    fetches.gate.set()
    assert source.get(soon()).value == "t2"


def test_a_refused_token_is_replaced_once(source: TokenSource, fetches: Fetches) -> None:
    """All who were refused with one token get the same new one; who was refused with an older one, too."""
    first = source.get(soon())
    greenlets = [gevent.spawn(source.other_than, first, soon()) for _ in range(50)]
    assert {greenlet.get(timeout=PATIENCE_S).value for greenlet in greenlets} == {"t2"}
    assert source.other_than(first, soon()).value == "t2"
    assert fetches.count == 2


def test_an_unexpected_error_is_a_failure_without_its_text(source: TokenSource, fetches: Fetches) -> None:
    """Whatever breaks a fetch, those who wait get an error of the token, and no text that may hold a secret."""
    fetches.failure = RuntimeError("s3cr3t")
    with pytest.raises(TokenUnavailable, match=r"^unexpected RuntimeError$"):
        source.get(soon())


def test_a_token_without_time_is_for_those_who_waited(source: TokenSource, fetches: Fetches) -> None:
    """A token that is said to have expired already is used once, not kept."""
    fetches.expires_in_s = 0.0
    fetches.gate.clear()
    greenlets = waiting(source, 2)
    fetches.gate.set()
    assert [greenlet.get(timeout=PATIENCE_S).value for greenlet in greenlets] == ["t1", "t1"]
    assert source.get(soon()).value == "t2"


OTHERS: dict[str, Callable[[], TokenEndpoint]] = {
    "client": lambda: endpoint("other"),
    "secret": lambda: endpoint(client_secret="other"),
    "URL": lambda: endpoint(token_url="http://id.test/other"),
    "scopes": lambda: endpoint(scopes=("a",)),
    "audience": lambda: endpoint(audience="a"),
    "place of the credentials": lambda: endpoint(credentials_in="body"),
    "extra parameters": lambda: endpoint(extra_parameters={"a": "b"}),
    "TLS": lambda: TokenEndpoint(
        model.Auth("oauth2_client_credentials", token_url="http://id.test/token", client_id="gateway"),
        model.HttpOptions(ssl_verify=False, ssl_server_name=None, timeouts=None, proxy=None),
    ),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS.keys())
def test_equal_settings_share_a_token_and_others_do_not(tokens: Tokens, other: Callable[[], TokenEndpoint]) -> None:
    """The source is the same for endpoints that are equal, whoever made them, and another for any difference."""
    assert tokens.source(endpoint()) is tokens.source(endpoint())
    assert tokens.source(other()) is tokens.source(other())
    assert tokens.source(other()) is not tokens.source(endpoint())


def test_the_number_of_sources_is_bounded(tokens: Tokens) -> None:
    """The one that was not used for longest makes room."""
    used = tokens.source(endpoint())
    for number in range(MOST_SOURCES):
        tokens.source(endpoint(f"client-{number}"))
        assert tokens.source(endpoint()) is used
    assert len(tokens) == MOST_SOURCES


def test_secrets_are_not_in_reprs(source: TokenSource) -> None:
    """Neither a token nor an endpoint shows its secret when it is printed."""
    token = source.get(soon())
    printed = f"{token!r} {Grant('t1', 1.0)!r} {endpoint()!r} {source!r} {getmembers(source)!r}"
    assert "t1" not in printed
    assert "s3cr3t" not in printed
