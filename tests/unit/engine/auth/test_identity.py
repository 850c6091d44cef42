"""Basic and Bearer credentials: what is sent, and what is not told to anybody else."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest

from request_callout.engine import Engine
from request_callout.engine.auth.identity import basic, bearer, principal
from tests.unit.engine.auth.token_server import shown
from tests.unit.engine.gevent_callee import Callee, Seen, callout, configured, event

PARAMS = "kong.ctx.shared.callouts.a.request.params"
ANN = {"type": "basic", "username": "ann", "password": "s3cr3t"}


def sent(engine: Engine, callee: Callee, auth: dict[str, Any], client: dict[str, str], **parts: Any) -> Seen:
    """One event without a cache, for a client that sends these headers."""
    instance = configured(engine, callout(callee, auth=auth, **parts), cache={"strategy": "off"})
    return event(instance, kong__request__get_headers=client)


@pytest.mark.parametrize(
    ("username", "password", "value"),
    [
        ("Aladdin", "open sesame", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
        ("test", "123£", "Basic dGVzdDoxMjPCow=="),
        ("a", ":b:", "Basic YTo6Yjo="),
        ("", "", "Basic Og=="),
    ],
)
def test_basic_credentials(username: str, password: str, value: str) -> None:
    """The examples of RFC 7617, the second in UTF-8; a password may hold colons."""
    assert basic(username, password) == value


@pytest.mark.parametrize(("username", "password"), [("a:b", "c"), ("a\n", "b"), ("a", "b\x7f"), ("a\0", "b")])
def test_what_basic_credentials_can_not_hold(username: str, password: str) -> None:
    """A colon in the user name and control characters are refused (RFC 7617, section 2)."""
    with pytest.raises(ValueError, match="user name"):
        basic(username, password)


@pytest.mark.parametrize("token", ["abc", "a.b-c_d~e+f/g=="])
def test_bearer_tokens(token: str) -> None:
    """A token has the syntax of RFC 6750, section 2.1."""
    assert bearer(token) == f"Bearer {token}"


@pytest.mark.parametrize("token", ["", " ", "=", "a b", "a\r\nb", "a\n", "ä", "a=b", 'a"', "a,b"])
def test_what_is_no_bearer_token(token: str) -> None:
    """Anything that could end the header or say something else is refused, and not shown."""
    with pytest.raises(ValueError, match=r"^the token is empty or holds characters that no bearer token has"):
        bearer(token)


def test_principals_differ_where_their_parts_do() -> None:
    """Parts can't run into each other, and nothing of them is to be seen."""
    assert len({principal("basic", "a", "bc"), principal("basic", "ab", "c"), principal("basic", "abc")}) == 3
    assert "ann" not in principal("basic", "ann")


def test_templates_are_rendered_for_each_request(engine: Engine, callee: Callee) -> None:
    """User name, password and token may come from the request or from another callout."""
    basic_auth = {"type": "basic", "username": "$(headers.x_user)", "password": "p-$(headers.x_user)"}
    bearer_auth = {"type": "bearer", "token": "$(headers['x-token'])"}
    for user in ("ann", "bob"):
        sent(engine, callee, basic_auth, {"x-user": user})
        sent(engine, callee, bearer_auth, {"x-token": user})
    expected = [
        ["Basic " + b64encode(f"{user}:p-{user}".encode()).decode(), f"Bearer {user}"] for user in ("ann", "bob")
    ]
    assert shown(callee) == [*expected[0], *expected[1]]


def test_each_element_of_a_list_has_its_own(engine: Engine, callee: Callee) -> None:
    """With for_each the templates see the element, and so does the cache's key."""
    auth = {"type": "basic", "username": "$(item.user)", "password": "s3cr3t"}
    config = {
        **callout(callee, auth=auth),
        "for_each": {"items": "$({{user = 'ann'}, {user = 'bob'}, {user = 'ann'}})"},
    }
    event(configured(engine, config))
    assert sorted(map(str, shown(callee))) == [basic("ann", "s3cr3t"), basic("bob", "s3cr3t")]


def test_a_token_of_another_callout_makes_it_wait(engine: Engine, callee: Callee) -> None:
    """An expression in auth counts as a dependency."""
    first = callout(callee, url=callee.url + "token")
    second = {**callout(callee, auth={"type": "bearer", "token": "n$(callouts.a.response.body.n)"}), "name": "b"}
    event(configured(engine, first, second, cache={"strategy": "off"}))
    assert shown(callee) == [None, "Bearer n1"]


@pytest.mark.parametrize(
    "auth",
    [
        {"type": "basic", "username": "$(headers.x)", "password": "s3cr3t"},
        {"type": "bearer", "token": "$(headers.x)"},
    ],
)
def test_what_can_not_be_sent_is_an_internal_error(
    engine: Engine, callee: Callee, caplog: pytest.LogCaptureFixture, auth: dict[str, Any]
) -> None:
    """The client gets 500, the log the place and what is wrong, and no part of the credentials; nothing is sent."""
    got = sent(engine, callee, auth, {"x": "s3cr3t:\x01"})
    assert got.kong.answer is not None
    assert got.kong.answer[0] == 500
    assert "config.callouts[1].request.auth: the" in caplog.text
    assert "s3cr3t" not in caplog.text
    assert callee.asked == []


def test_auth_wins_over_the_clients_own(engine: Engine, callee: Callee) -> None:
    """A forwarded Authorization is neither sent nor in what a script sees of the request; user info yields too."""
    script = f"{PARAMS}.headers['X-Seen'] = tostring({PARAMS}.headers.authorization)"
    url = callee.url.replace("//", "//u:p@")
    client = {"authorization": "Bearer client", "x-other": "kept"}
    sent(engine, callee, ANN, client, url=url, headers={"forward": True}, by_lua=script)
    assert shown(callee) == ["Basic YW5uOnMzY3IzdA=="]
    assert (callee.asked[0]["HTTP_X_SEEN"], callee.asked[0]["HTTP_X_OTHER"]) == ("nil", "kept")


@pytest.mark.parametrize("name", ["Authorization", "authorization", "AUTHORIZATION"])
def test_a_script_wins_over_auth(engine: Engine, callee: Callee, name: str) -> None:
    """What request.by_lua sets is sent as it stands, once."""
    sent(engine, callee, ANN, {}, by_lua=f"{PARAMS}.headers['{name}'] = 'Own x'")
    assert shown(callee) == ["Own x"]


def test_without_auth_nothing_changes(engine: Engine, callee: Callee) -> None:
    """The client's Authorization is forwarded as ever."""
    instance = configured(engine, callout(callee, headers={"forward": True}), cache={"strategy": "off"})
    event(instance, kong__request__get_headers={"authorization": "Bearer client"})
    assert shown(callee) == ["Bearer client"]


def cached(engine: Engine, callee: Callee, auth: dict[str, Any], **headers: str) -> str | None:
    """What the cache did for a client with these headers."""
    return event(configured(engine, callout(callee, auth=auth)), kong__request__get_headers=headers).state


def test_each_user_has_cache_entries_of_its_own(engine: Engine, callee: Callee) -> None:
    """The user name is part of the key; a configured password is not, so that it may be changed."""
    auth = {**ANN, "username": "$(headers.user)"}
    assert [cached(engine, callee, auth, user=user) for user in ("ann", "bob", "ann", "bob")] == ["miss"] * 2 + [
        "hit"
    ] * 2
    assert cached(engine, callee, {**auth, "password": "new"}, user="ann") == "hit"


def test_a_clients_password_is_never_vouched_for_by_the_cache(engine: Engine, callee: Callee) -> None:
    """With a password that comes from the request, a wrong one does not find what the right one got."""
    auth = {"type": "basic", "username": "ann", "password": "$(headers.password)"}
    assert [cached(engine, callee, auth, password=one) for one in ("right", "wrong", "right")] == [
        "miss",
        "miss",
        "hit",
    ]


def test_each_bearer_token_has_cache_entries_of_its_own(engine: Engine, callee: Callee) -> None:
    """A token is all that tells of whom it is."""
    auth = {"type": "bearer", "token": "$(headers.token)"}
    assert [cached(engine, callee, auth, token=one) for one in ("a", "b", "a")] == ["miss", "miss", "hit"]


def test_with_auth_and_without_are_different_entries(engine: Engine, callee: Callee) -> None:
    """What was asked with credentials does not answer who asks without, nor the other way round."""
    bare = configured(engine, callout(callee))
    assert [cached(engine, callee, ANN), event(bare).state, cached(engine, callee, ANN)] == ["miss", "miss", "hit"]
