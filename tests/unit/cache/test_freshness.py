from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from request_callout.cache.freshness import Headers, cache_control, freshness, varies

NOW = 1_700_000_000.0


def date(offset_s: float = 0) -> str:
    return formatdate(NOW + offset_s, usegmt=True)


@pytest.mark.parametrize(
    ("headers", "fresh_s"),
    [
        ({}, None),
        ({"cache-control": "public"}, None),
        ({"cache-control": "max-age=60"}, 60),
        ({"cache-control": "MAX-AGE = 60"}, 60),
        ({"cache-control": 'max-age="60"'}, 60),
        ({"cache-control": "max-age=60, s-maxage=20"}, 20),
        ({"cache-control": ["max-age=60", "s-maxage=20"]}, 20),
        ({"cache-control": "max-age=60, max-age=10"}, 60),
        ({"cache-control": "max-age=60", "age": "45"}, 15),
        ({"cache-control": "max-age=60", "age": "61"}, -1),
        ({"cache-control": "max-age=60", "age": "soon"}, 60),
        ({"cache-control": "max-age=60", "age": ["5", "50"]}, 55),
        ({"cache-control": "max-age=60", "age": "5, 50"}, 55),
        ({"cache-control": "max-age=60", "expires": date(10)}, 60),
        ({"cache-control": "max-age=abc", "expires": date(10)}, 0),
        ({"cache-control": "max-age=-1"}, 0),
        ({"cache-control": "max-age=1.5"}, 0),
        ({"cache-control": "max-age=٦"}, 0),
        ({"cache-control": "max-age"}, 0),
        ({"cache-control": "max-age=99999999999999999999"}, 2**31),
        ({"cache-control": 'ext="max-age=5", max-age=60'}, 60),
        ({"cache-control": 'ext="a,max-age=5'}, None),
        ({"expires": date(30)}, 30),
        ({"expires": date(30), "date": date(-10)}, 40),
        ({"expires": date(30), "date": "yesterday"}, 30),
        ({"expires": date(30), "date": date(), "age": "10"}, 20),
        ({"expires": date(-30)}, -30),
        ({"expires": "0"}, 0),
        ({"expires": "-1"}, 0),
        ({"expires": "Thu, 01 Dec 99999 16:00:00 GMT"}, 0),
        ({"expires": "Sunday, 06-Nov-94 08:49:37 GMT", "date": "Sun, 06 Nov 1994 08:49:07 GMT"}, 30),
        ({"expires": "Sun Nov  6 08:49:37 1994", "date": "Sun, 06 Nov 1994 08:49:07 GMT"}, 30),
    ],
)
def test_lifetime(headers: Headers, fresh_s: float | None) -> None:
    """s-maxage, max-age and Expires in this order, less Age; what is broken counts as over (sections 4.2.1, 5.1)."""
    assert freshness(headers, NOW).fresh_s == fresh_s


@pytest.mark.parametrize(
    ("value", "storable", "may_be_stale"),
    [
        ("max-age=60", True, True),
        ("no-store", False, True),
        ("max-age=60, Private", False, True),
        ('private="set-cookie", max-age=60', False, True),
        ("no-cache", False, True),
        ('no-cache="x"', False, True),
        ("must-revalidate, max-age=60", True, False),
        ("proxy-revalidate", True, False),
        ("s-maxage=60", True, False),
        ('ext="no-store, private"', True, True),
        ("no-store-at-all", True, True),
    ],
)
def test_what_forbids(value: str, storable: bool, may_be_stale: bool) -> None:
    """no-store, private and no-cache forbid to keep, three others to use it stale (sections 5.2.2 and 4.2.4)."""
    said = freshness({"cache-control": value}, NOW)
    assert (said.storable, said.may_be_stale) == (storable, may_be_stale)


@pytest.mark.parametrize(
    ("vary", "expected"),
    [
        (None, {}),
        ("", {}),
        ("Accept-Language", {"accept-language": "de"}),
        (["Accept-Language", "X-Absent"], {"accept-language": "de", "x-absent": None}),
        ("accept-language , x-absent,", {"accept-language": "de", "x-absent": None}),
        ("*", None),
        ("accept-language, *", None),
    ],
)
def test_vary(vary: str | list[str] | None, expected: dict[str, str | None] | None) -> None:
    """Vary names the fields whose values were sent; with * the response answers no other request (section 4.1)."""
    headers: Headers = {} if vary is None else {"vary": vary}
    assert varies(headers, {"accept-language": "de"}.get) == expected


@given(st.dictionaries(st.sampled_from(["cache-control", "expires", "date", "age", "vary"]), st.text()))
def test_nothing_that_a_server_sends_is_an_error(headers: dict[str, str]) -> None:
    """Whatever stands in these fields, there is an answer."""
    freshness(headers, NOW)
    varies(headers, lambda _: None)
    cache_control(headers)


def test_long_fields_are_read_in_linear_time() -> None:
    """Quotes that are never closed do not make reading slow."""
    assert cache_control({"cache-control": '"' * 50_000 + "a," * 50_000 + "max-age=1"}) is not None
