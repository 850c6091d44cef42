"""What C does in one call can't be interrupted, so it has to be little: whatever subject, pattern and numbers say."""

from __future__ import annotations

import time

import pytest

from request_callout.lua import ScriptError
from tests.unit.lua.recording_host import Bench

NAN = ["0/0", "'nan'", "-(0/0)"]


@pytest.mark.parametrize("nan", NAN)
@pytest.mark.parametrize(
    ("call", "result"),
    [
        ("('abc'):find('b', {})", "2"),
        ("('abc'):match('%w', {})", "a"),
        ("('abc'):find('b', {}, true)", "2"),
        ("('abc'):rep({})", ""),
        ("('abc'):gsub('b', 'x', {})", "abc"),
        ("('abc'):gsub('b', string.upper, {})", "abc"),
        ("ngx.re.match('abc', 'b', '', {{pos = {}}})[0]", "b"),
    ],
)
def test_nan_is_the_least_integer(call: str, result: str, nan: str) -> None:
    """NaN as a position or a count is the least integer, as C makes it."""
    assert Bench().result(f"return tostring(({call.format(nan)}))") == result


@pytest.mark.parametrize("infinity", ["1/0", "-1/0", "1e300", "-1e300"])
def test_numbers_beyond_integers_are_cut_off(infinity: str) -> None:
    """A position beyond what C counts with is the last or the first one."""
    last = not infinity.startswith("-")
    assert Bench().result(f"return tostring(('abc'):find('a', {infinity}))") == ("nil" if last else "1")
    assert Bench().result(f"return (''):rep({infinity})") == ""


LONG_PATTERNS = {
    "a literal": "(('a'):rep(2e6)):match(('a'):rep(20000) .. 'b')",
    "a literal of some length": "(('a'):rep(2e6)):find(('a'):rep(100) .. '.b')",
    "a set": "(('a'):rep(2e6)):match('[' .. ('b'):rep(10000) .. ']')",
    "a repeated set": "(('a'):rep(2e6)):match('[' .. ('b'):rep(30000) .. ']*c')",
    "in gsub": "(('a'):rep(2e6)):gsub(('a'):rep(20000) .. 'b', '')",
}


@pytest.mark.parametrize("call", LONG_PATTERNS.values(), ids=LONG_PATTERNS.keys())
def test_the_length_of_a_pattern_counts_as_work(call: str) -> None:
    """A long literal or set is walked through at each byte of the subject: that runs under the limits."""
    started = time.process_time()
    with pytest.raises(ScriptError, match="stopped"):
        Bench().result(f"return {call}")
    assert time.process_time() - started < 3


def test_very_long_patterns_are_refused() -> None:
    """A pattern over 32 KiB is an error at the script's line; a plain search has no such bound."""
    with pytest.raises(ScriptError, match="line 2: pattern too long"):
        Bench().script("\nlocal x = ('x'):match(('x'):rep(40000) .. '(')")
    assert Bench().result("return (('x'):rep(40000) .. '('):find(('x'):rep(40000) .. '(', 1, true)") == 1
