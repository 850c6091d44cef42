from __future__ import annotations

from typing import Any

import pytest

from request_callout.config.model import Proxy, Timeouts
from request_callout.engine.params import HeaderFields, Params, ensure_json_content_type
from request_callout.lua.host import ScriptError


def params(**changes: Any) -> Params:
    values: dict[str, Any] = {
        "url": "http://h/p?own=1",
        "method": "GET",
        "query": "a=1&a=2&b",
        "headers": HeaderFields({"x-a": ("X-A", "1"), "x-b": ("x-b", ["2", "3"])}),
        "body": None,
        "decode": False,
        "ssl_verify": True,
        "ssl_server_name": None,
        "proxy": None,
        "timeouts": None,
    }
    return Params(**(values | changes))


def left_by_a_script(before: Params, **changes: Any) -> Params:
    table = before.table()
    after = {name: value for name, value in (table | changes).items() if value is not ...}
    return before.changed(table, after, "config.callouts[1].request.by_lua")


def test_untouched_params_are_sent_as_built() -> None:
    """A script that changes nothing leaves the request to the last byte."""
    before = params(
        body=b'{"a": 1.0}', decode=True, timeouts=Timeouts(1, 2, 3), proxy=Proxy("http://p", None, None, None)
    )
    assert left_by_a_script(before) == before


def test_url_keeps_its_own_query() -> None:
    """The added parameters follow those that the URL has itself."""
    assert params().full_url() == "http://h/p?own=1&a=1&a=2&b"
    assert params(query="", url="http://h/p#frag").full_url() == "http://h/p"


def test_script_may_set_the_query() -> None:
    """A query may be left as a table or as a string."""
    assert left_by_a_script(params(), query={"q": "1 2"}).query == "q=1%202"
    assert left_by_a_script(params(), query="?x=1").query == "x=1"
    assert left_by_a_script(params(), query=...).query == ""


def test_script_header_wins_in_any_case() -> None:
    """A header that a script sets replaces the one of the same name in another case."""
    after = left_by_a_script(params(), headers={"X-A": "1", "x-a": "new", "x-b": ["2", "3"]})
    assert after.headers.get("X-A") == "new"
    assert [name for name, _ in after.headers.pairs()].count("x-a") == 1


def test_script_may_set_the_body() -> None:
    """A string is sent as it stands, a table as JSON."""
    assert left_by_a_script(params(), body="a=1").body_bytes() == b"a=1"
    assert left_by_a_script(params(), body={"a": [1]}).body_bytes() == b'{"a":[1]}'
    assert left_by_a_script(params(body=b"x"), body=...).body_bytes() is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("url", None),
        ("url", {}),
        ("method", None),
        ("headers", "x"),
        ("headers", {"a": {}}),
        ("timeouts", {"read": "x"}),
    ],
)
def test_what_cannot_be_sent_is_refused(name: str, value: Any) -> None:
    """A script that leaves something of the wrong type is told the field."""
    with pytest.raises(ScriptError, match=rf"request\.params\.{name}"):
        left_by_a_script(params(), **{name: value})


def test_export_leaves_the_proxy_password_out() -> None:
    """What other plugins see has no password of a proxy."""
    proxy = Proxy("http://p", None, "user", "secret")
    assert params(proxy=proxy).table(secrets=False)["proxy"] == {"http_proxy": "http://p", "auth_username": "user"}


def test_json_content_type_is_set_once() -> None:
    """JSON's media type is not doubled and not set over one that says JSON already."""
    fields = HeaderFields({"content-type": ("content-type", "application/json; charset=utf-8")})
    ensure_json_content_type(fields)
    assert fields.pairs() == [("content-type", "application/json; charset=utf-8")]
    fields = HeaderFields({"content-type": ("content-type", "text/plain")})
    ensure_json_content_type(fields)
    assert fields.pairs() == [("Content-Type", "application/json")]
