"""How much memory compiled patterns may keep: scripts choose them, and how many."""

from __future__ import annotations

import pytest

from request_callout.lua import regex
from request_callout.lua.regex import CACHE_BYTES, TOO_LONG, Engine


@pytest.mark.parametrize("pattern", ["(?i)(?:[^a]|b){300}", "(?:a{100}){190}", "[a-z0-9_]{19000}", "a(?#%)"])
def test_compiled_patterns_are_kept_by_their_weight(pattern: str) -> None:
    """However many patterns are compiled, what is kept of them stays within one bound, and the last ones are there."""
    engine = Engine()
    for number in range(600 if "%" in pattern else 12):
        assert engine.compile(f"{pattern}{number}".encode(), b"") is not None
        assert regex._cache.currsize <= CACHE_BYTES
    assert (f"{pattern}{number}".encode(), b"") in regex._cache
    assert len(regex._cache) <= 512


@pytest.mark.parametrize("pattern", ["a{20001}", "(?:a{200}){200}", "[ab]{19000}(?i)(?:[^a]|é){300}"])
def test_a_pattern_too_heavy_is_refused(pattern: str) -> None:
    """A pattern that would take much memory when compiled is an error that says so."""
    engine = Engine()
    assert engine.compile(pattern.encode(), b"u") is None
    assert b"regular expression is too large" in engine.problem()


def test_a_pattern_is_not_kept_after_a_long_search() -> None:
    """What a long search leaves for the next one of the same pattern is let go with the pattern."""
    engine = Engine()
    pattern = b"(?:(a)|(b))*[^ab]"
    assert engine.compile(pattern, b"") is not None
    engine.set_subject(b"ab" * 100_000)
    assert engine.search(pattern, b"", 0) == TOO_LONG
    assert (pattern, b"") not in regex._cache
    engine.set_subject(b"abc")
    assert engine.search(pattern, b"", 0) == 3
