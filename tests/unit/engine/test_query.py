from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from request_callout.engine import query
from request_callout.engine.client import collect, parse_query


@pytest.mark.parametrize(
    ("raw", "pairs"),
    [
        ("", []),
        ("a=1&a=2&b&c=%20x", [("a", "1"), ("a", "2"), ("b", True), ("c", " x")]),
        ("a+b=c+d", [("a b", "c d")]),
        ("a=", [("a", "")]),
        ("&&=x&a=1=2", [("a", "1=2")]),
    ],
)
def test_parse(raw: str, pairs: list[tuple[str, object]]) -> None:
    """A query is decoded as nginx does it: repeated parameters stay, one without a value is True."""
    assert parse_query(raw) == pairs


def test_collect() -> None:
    """A repeated parameter is a list, in order."""
    assert collect(parse_query("a=1&a=2&a&b=3")) == {"a": ["1", "2", True], "b": "3"}


def test_removal_keeps_every_other_byte() -> None:
    """Removing a parameter leaves the encoding of the others as the client wrote it."""
    assert query.without("a=%7e&b=1&c=x+y&%61=2&&", {"a"}) == "b=1&c=x+y&&"


@given(st.lists(st.tuples(st.text(min_size=1), st.text() | st.just(True)), max_size=8))
def test_encoding_round_trips(pairs: list[tuple[str, str | bool]]) -> None:
    """What is encoded decodes to the same names and values."""
    assert parse_query(query.encode_pairs(pairs)) == pairs


def test_lists_are_repeated_parameters() -> None:
    """A list of values becomes a repeated parameter, false and null ones are left out."""
    assert query.encode_table({"a": ["1", "2"], "b": True, "c": None, "d": False}) == "a=1&a=2&b"


def test_url_parts() -> None:
    """A URL is split at its query, and loses its fragment."""
    assert query.split_url("http://h/p?a=1?b#frag?x") == ("http://h/p", "a=1?b")
    assert query.with_query("http://h/p", "") == "http://h/p"
