"""Which route takes a request."""

from __future__ import annotations

from typing import Any

import pytest

from request_callout.gateway import declarative
from request_callout.gateway.router import Router


def router(*routes: dict[str, Any]) -> Router:
    named = [{"name": f"r{number}", **route} for number, route in enumerate(routes)]
    return Router(declarative.load({"_format_version": "3.0", "routes": named}, {}).routes)


def taken(of: Router, path: str, host: str = "any", method: str = "GET", **headers: str) -> str | None:
    lines = {name.replace("_", "-"): [value] for name, value in headers.items()}
    match = of.match(method, path, host, 8000, lines)
    return match.route.entity["name"] if match is not None else None


def test_longer_prefix_first() -> None:
    """Of two prefixes the longer one wins, whatever order they were declared in."""
    of = router({"paths": ["/a"]}, {"paths": ["/a/b"]})
    assert (taken(of, "/a/b/c"), taken(of, "/a/c"), taken(of, "/b")) == ("r1", "r0", None)


def test_expressions_come_before_prefixes() -> None:
    """A regular expression wins over any prefix, and among them the higher regex_priority."""
    of = router({"paths": ["/aaaa/long"]}, {"paths": ["~/a+/l"]}, {"paths": ["~/aa+/l"], "regex_priority": 1})
    assert taken(of, "/aaaa/long") == "r2"


def test_more_kinds_of_fields_first() -> None:
    """A route that restricts more kinds of things wins over one with a longer path."""
    of = router({"paths": ["/a/b/c"]}, {"paths": ["/a"], "methods": ["GET"]}, {"paths": ["/a"], "hosts": ["h"]})
    assert taken(of, "/a/b/c") == "r1"
    assert taken(of, "/a/b/c", host="h") == "r2"
    assert taken(of, "/a/b/c", method="PUT") == "r0"


def test_paths_of_one_route_count_apart() -> None:
    """Each path of a route has the priority of its own length and kind."""
    of = router({"paths": ["/a/b/c", "/x"]}, {"paths": ["/x/y"]}, {"paths": ["/a/b"]})
    assert (taken(of, "/x/y"), taken(of, "/x/z"), taken(of, "/a/b/c"), taken(of, "/a/b")) == ("r1", "r0", "r0", "r2")


@pytest.mark.parametrize(
    ("host", "route"),
    [
        ("h.com", "r0"),
        ("h.com:1234", "r0"),
        ("H.com", None),
        ("x.h.com", "r1"),
        ("x.y.h.com", "r1"),
        ("h.org", "r2"),
        ("p.com", "r3"),
        ("p.com:8000", "r3"),
    ],
)
def test_hosts(host: str, route: str | None) -> None:
    """Hosts are compared as they stand, wildcards at either end; a port means the one that was connected to."""
    of = router(
        {"hosts": ["h.com"]}, {"hosts": ["*.h.com"]}, {"hosts": ["h.*"]}, {"hosts": ["p.com:8000", "q.com:8001"]}
    )
    assert taken(of, "/", host=host) == route
    assert taken(of, "/", host="q.com:8001") is None


def test_headers() -> None:
    """A header matches any of its values in any case, or an expression after ``~*``; more headers win."""
    of = router(
        {"headers": {"X-V": ["One", "two"]}},
        {"headers": {"x-v": ["~*^t.o$"], "x-w": ["1"]}},
    )
    assert taken(of, "/", x_v="ONE") == "r0"
    assert taken(of, "/", x_v="two") == "r0"
    assert taken(of, "/", x_v="TWO", x_w="1") == "r1"
    assert taken(of, "/", x_v="three") is None


def test_captures_and_prefix() -> None:
    """An expression gives its groups by number and name, and what it matched is the prefix that is stripped."""
    of = router({"paths": [r"~/users/(?<uid>\w+)/(\d+)?"]})
    match = of.match("GET", "/users/bob/x", None, 80, {})
    assert match is not None
    assert (match.prefix, match.captures) == ("/users/bob/", {0: "/users/bob/", 1: "bob", "uid": "bob"})


def test_expressions_are_anchored_at_the_start_only() -> None:
    """An expression has to match from the first character, but not to the last."""
    of = router({"paths": ["~/a\\d"]})
    assert (taken(of, "/a1/more"), taken(of, "/x/a1")) == ("r0", None)


def test_path_that_is_no_text_matches_nothing() -> None:
    """A path whose bytes are no UTF-8 has no route."""
    assert taken(router({"paths": ["/"]}), "/\udcff") is None
