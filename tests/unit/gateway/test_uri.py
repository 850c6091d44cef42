"""Paths on their way from the client to the upstream."""

from __future__ import annotations

import pytest

from request_callout.gateway import query_args
from request_callout.gateway.uri import escaped, normalized, path_of, upstream_path


@pytest.mark.parametrize(
    ("path", "result"),
    [
        ("/a/%41%2f%7e", "/a/A%2F~"),
        ("/a/./b/../c", "/a/c"),
        ("/a//b", "/a/b"),
        ("/../../a", "/a"),
        ("/a/..", "/"),
        ("/a/.", "/a/"),
        ("/%20x", "/ x"),
        ("/%zz", "/%zz"),
        ("", ""),
    ],
)
def test_normalized(path: str, result: str) -> None:
    """Unreserved characters are decoded, reserved ones stay escaped, dot and empty segments go."""
    assert normalized(path) == result


def test_escaped_again() -> None:
    """What may not stand in a request line is percent-encoded, what is escaped stays."""
    assert escaped("/ x/é\udcff/%2F") == "/%20x/%C3%A9%FF/%2F"


def test_path_of() -> None:
    """The path ends at the first question mark that is not the target's first character."""
    assert (path_of("/a?b?c"), path_of("/a")) == ("/a", "/a")


@pytest.mark.parametrize(
    ("service", "path", "prefix", "strip", "result"),
    [
        ("/", "/a/b", "/a", True, "/b"),
        ("/", "/a", "/a", True, "/"),
        ("/", "/ab", "/a", True, "/b"),
        ("/base", "/a/b", "/a", True, "/base/b"),
        ("/base", "/a", "/a", True, "/base"),
        ("/base", "/a/", "/a/", True, "/base/"),
        ("/base", "/ab", "/a", True, "/base/b"),
        ("/base/", "/a", "/a", True, "/base"),
        ("/base/", "/a/", "/a/", True, "/base/"),
        ("/base/", "/a/b", "/a", True, "/base/b"),
        ("/base", "/", None, False, "/base"),
        ("/base", "/a/b", None, False, "/base/a/b"),
        ("/base/", "/a/b", None, False, "/base/a/b"),
    ],
)
def test_upstream_path(service: str, path: str, prefix: str | None, strip: bool, result: str) -> None:
    """The service's path and the rest of the request's are joined with exactly one slash."""
    assert upstream_path(path, prefix, service, strip_path=strip) == result


def test_query_arguments() -> None:
    """A repeated argument is a list, one without a value True; plus and percent are decoded, nameless ones skipped."""
    assert query_args.decode("a=1&b&a=%20x+y&=z&c=") == {"a": ["1", " x y"], "b": True, "c": ""}
    assert query_args.decode("a&b&c", 2) == {"a": True, "b": True}
    assert query_args.encode({"b": True, "a": ["1", "x y/"], "n": 1.5}) == "a=1&a=x%20y%2F&b&n=1.5"
    assert query_args.without("a=1&b&c=%20", "a") == "b=&c=+"
