from __future__ import annotations

from typing import Any

import pytest

from request_callout.cache.key import cache_key

BASE: dict[str, Any] = {
    "route_id": "r",
    "plugin_id": "p",
    "consumer_id": None,
    "consumer_groups": [],
    "callout": "c1",
    "method": "GET",
    "url": "http://h/p",
    "query": [("a", "=1"), ("b", "=2")],
    "headers": [("X-A", "1"), ("X-B", "2")],
    "body": b'{"a":1,"b":{"c":2,"d":3}}',
}


def test_golden_value() -> None:
    """The same request gives the same key in every process and release."""
    assert cache_key(**BASE) == "3b356f3231f9a5f46bfb1302a87585e23ee2c77b3bf31fa9723f6c4ccdc79285"


@pytest.mark.parametrize(
    ("parts", "key"),
    [
        ({"body": None}, "e1f62208b368af2c7f8088ba2d01455c0f40307db247ef6a4d5adcc78165462c"),
        ({"body": b"\xff\x00"}, "40cb04c9274b581c6ed081b64f2ea20dcd5f1a2b4251ad914e083d7cac0e2b16"),
        ({"body": b'{"a":1,"a":2}'}, "184ef02432d86d0e49ad8bf98d372e8f0b8696fd401f304bd57b6bfaeb6eccac"),
        (
            {"consumer_id": "c", "consumer_groups": ["h", "g"]},
            "c82f69df6a236a8420b6754ca8ff13d6ebe7c59236cdd0efea64d82ed435c0df",
        ),
        (
            {"query": [("a", ""), ("a", "=\udcff")], "headers": []},
            "604c341044e6f9804920ac6c8e9ea1634f0d5ffbdd98c3c40f32d91470cd1e66",
        ),
        ({"vary_on": ["de", ""]}, "a96ef81dd767e549b7b65ec9c3bbd81e61ee7f7e8121d8d210269b302f255ff8"),
    ],
)
def test_golden_values_of_other_requests(parts: dict[str, Any], key: str) -> None:
    """Nor do the keys of requests with or without a body, a consumer, odd bytes or values to vary on ever change."""
    assert cache_key(**(BASE | parts)) == key


@pytest.mark.parametrize(
    "same",
    [
        {"query": [("b", "=2"), ("a", "=1")]},
        {"headers": [("x-b", "2"), ("x-a", "1")]},
        {"body": b'{ "b": {"d": 3, "c": 2}, "a": 1 }'},
    ],
)
def test_order_makes_no_difference(same: dict[str, Any]) -> None:
    """Order in the query, in headers and in JSON objects does not change the key."""
    assert cache_key(**(BASE | same)) == cache_key(**BASE)


@pytest.mark.parametrize(
    "other",
    [
        {"route_id": "x"},
        {"plugin_id": "x"},
        {"consumer_id": "x"},
        {"consumer_groups": ["g"]},
        {"callout": "c2"},
        {"method": "HEAD"},
        {"url": "http://h/q"},
        {"query": [("a", "=1")]},
        {"query": [("a", "=1"), ("b", "")]},
        {"headers": [("X-A", "1"), ("X-B", "3")]},
        {"body": b'{"a":1,"b":{"c":2,"d":4}}'},
        {"body": None},
    ],
)
def test_every_part_counts(other: dict[str, Any]) -> None:
    """Whatever may change the answer changes the key."""
    assert cache_key(**(BASE | other)) != cache_key(**BASE)


def test_parts_do_not_run_into_each_other() -> None:
    """What ends one part is not the beginning of the next."""
    assert cache_key(**(BASE | {"callout": "c1G", "method": "ET"})) != cache_key(**BASE)
    assert cache_key(**(BASE | {"query": [("a", "=1b=2")]})) != cache_key(**BASE)


def test_repeated_names_keep_their_order() -> None:
    """The order of a repeated parameter is part of the request."""
    one, other = [("a", "=1"), ("a", "=2")], [("a", "=2"), ("a", "=1")]
    assert cache_key(**(BASE | {"query": one})) != cache_key(**(BASE | {"query": other}))
