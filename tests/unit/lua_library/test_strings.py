"""The sandbox's string and table libraries."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.lua_library.conftest import Machine

Run = Callable[[str], str]

SANDBOX_STRING = "byte char find format gmatch gsub len lower match rep reverse sub upper"
SANDBOX_TABLE = "concat insert maxn remove sort"


@pytest.mark.parametrize(("name", "members"), [("string", SANDBOX_STRING), ("table", SANDBOX_TABLE)])
def test_members_are_the_sandboxes(run: Run, name: str, members: str) -> None:
    """The libraries hold exactly the functions that kong-lua-sandbox 1.1 lets through."""
    got = run(
        f"local names = {{}} for name in pairs({name}) do names[#names+1] = name end table.sort(names) "
        "return table.concat(names, ' ')"
    )
    assert got == f'"{members}"'


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("return string.find('hello world', 'o w')", "5 7"),
        ("return string.find('hello', 'l', -2)", "4 4"),
        ("return string.find('hello', 'xyz')", "nil"),
        ("return string.find('a.b', '.', 1, true)", "2 2"),
        ("return string.find('abc', '', 4), string.find('abc', '', 5), string.match('abc', '.?', 5)", "4 nil nil"),
        ("return string.find('abc', '(b)(c)')", '2 3 "b" "c"'),
        ("return string.find(123, 2)", "2 2"),
        ("return string.match('2024-05-06', '(%d+)-(%d+)-(%d+)')", '"2024" "05" "06"'),
        ("return string.gsub('hello world', '%w+', '%0 %0', 1)", '"hello hello world" 1'),
        ("return string.gsub('abc', '', '-')", '"-a-b-c-" 4'),
        ("return string.gsub('abc', 'b', {b = 5})", '"a5c" 1'),
        ("return string.gsub('abc', '%w', function(c) if c ~= 'b' then return c:upper() end end)", '"AbC" 3'),
        ("return string.gsub('abc', 'b', function() return false end)", '"abc" 1'),
        ("return string.gsub('abc abc', '^abc', 'x')", '"x abc" 1'),
        ("local t = {} for a, b in string.gmatch('k=v, x=y', '(%w+)=(%w+)') do t[a] = b end return t", '{k="v",x="y"}'),
        (
            "return string.rep('ab', 3), string.rep('ab', 3, '-'), string.rep('', 1e9), string.rep('x', -1)",
            '"ababab" "ab-ab-ab" "" ""',
        ),
        (
            "return string.upper('aé'), string.lower('AB'), string.reverse('abc'), string.len('abc')",
            '"Aé" "ab" "cba" 3',
        ),
        ("return string.byte('A'), string.char(72, 105), string.sub('hello', 2, -2)", '65 "Hi" "ell"'),
        ("return string.format('%5.1f|%d|%s|%q', 3.14159, 42, 'x', 'a\"b')", '"  3.1|42|x|\\"a\\\\\\"b\\""'),
    ],
)
def test_strings(run: Run, source: str, expected: str) -> None:
    """String functions give what Lua 5.1's give."""
    assert run(source) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("local x = string.find(nil, 'x')", "line:1: bad argument #1 to 'find' (string expected, got no value)"),
        (
            "local x = string.gsub('x', 'x', true)",
            "line:1: bad argument #3 to 'gsub' (string/function/table expected, got boolean)",
        ),
        ("local x = string.gsub('x', 'x', function() return {} end)", "line:1: invalid replacement value (a table)"),
        ("local x = string.match('x', '[a')", "line:1: malformed pattern (missing ']')"),
        ("local x = string.match(('x'):rep(3000), '.-.-%')", "line:1: malformed pattern (ends with '%')"),
        ("local x = string.rep('x', 1e9)", "line:1: resulting string too large"),
        ("local x = table.insert({}, 1, 2, 3)", "line:1: wrong number of arguments to 'insert'"),
        ("local x = table.sort({3, 'x', 1})", "line:1: attempt to compare"),
        ("local x = table.sort({1}, 5)", "line:1: bad argument #2 to 'sort' (function expected, got number)"),
        ("local x = table.concat({{}})", "line:1: invalid value (table) at index 1 in table for 'concat'"),
    ],
)
def test_errors_name_the_scripts_line(run: Run, source: str, expected: str) -> None:
    """A misuse raises Lua's message with the position in the script."""
    assert run(f"{source} return x").startswith(f"error: {expected}")


def test_a_callback_may_yield(run: Run) -> None:
    """A yield crosses the callbacks of gsub and sort, and of ngx.re's replacement."""
    source = """
      local co = coroutine.create(function()
        local text = string.gsub("abc", "%w", function(c) return coroutine.yield(c) end)
        local list = {3, 1, 2}
        table.sort(list, function(a, b) coroutine.yield("sort") return a < b end)
        local re = ngx.re.gsub("x1y2", "[0-9]", function(m) return coroutine.yield(m[0]) end)
        return text, table.concat(list), re
      end)
      local asked, value = {}, nil
      while true do
        local results = { coroutine.resume(co, value) }
        assert(results[1], results[2])
        if coroutine.status(co) == "dead" then return results[2], results[3], results[4] end
        value = "<" .. results[2] .. ">"
      end"""
    assert run(source) == '"<a><b><c>" "123" "x<1>y<2>"'


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(st.integers(-50, 50), st.floats(allow_nan=False, allow_infinity=False)), max_size=80))
def test_sorts_as_c_does(values: list[float]) -> None:
    """Numbers come out in order, ascending without and descending with a comparison that says so."""
    machine = _SORTER
    source = "{" + ",".join(f"{value!r}" for value in values) + "}"
    assert machine(
        f"local a, b, c = {source}, {source}, {source} table.sort(a) lib_table.sort(b) "
        "table.sort(c, function(x, y) return x > y end) "
        "for i = 1, #a do assert(a[i] == b[i] and c[#a + 1 - i] == b[i]) end return #a"
    ) == str(len(values))


_SORTER = Machine()
_SORTER.lua.execute(b"lib_table = { sort = table.sort }")


def test_sort_ends_with_any_comparison(run: Run) -> None:
    """A comparison that contradicts itself ends the sort all the same, with the same elements."""
    assert (
        run(
            "local t = {} for i = 1, 500 do t[i] = i end table.sort(t, function() return true end) "
            "local sum = 0 for i = 1, 500 do sum = sum + t[i] end return #t, sum"
        )
        == "500 125250"
    )


def test_insert_at_any_position(run: Run) -> None:
    """table.insert shifts what is behind, also for positions outside the list."""
    assert run("local t = {1, 2, 3} table.insert(t, 2, 9) table.insert(t, 5) table.insert(t, 1, 0) return t") == (
        "{1=0,2=1,3=9,4=2,5=3,6=5}"
    )
    assert run("local t = {1} table.insert(t, -1, 7) return t[-1], t[0], t[2]") == "7 nil 1"


@pytest.mark.parametrize(
    "source",
    [
        "string.find(string.rep('a', 4e6), string.rep('a', 2e6) .. 'b', 1, true)",
        "string.rep('', 1e15)",
        "string.upper(string.rep('x', 1e7))",
        "string.gsub(string.rep(' ', 1e6), '%s+', '')",
        "string.find(string.rep('a', 1e6), '^a*$')",
        "table.concat({string.rep('x', 1e6), string.rep('y', 1e6)})",
        "string.format('%99d', 1)",
    ],
)
def test_long_work_in_c_is_short(machine: Machine, source: str) -> None:
    """What no hook can interrupt takes well under half a second even here."""
    started = time.perf_counter()
    machine(f"return #tostring({source})")
    assert time.perf_counter() - started < 0.5


@pytest.mark.parametrize(
    "call",
    [
        "string.find(text, 'a*a*a*a*b')",
        "string.match(text, '.-.-.-.-b')",
        "string.gsub(text, 'a*a*a*b', '')",
        "string.gsub(text, 'a-a-a-b', function() end)",
        "(function() for x in string.gmatch(text, 'a*a*a*b') do end end)()",
    ],
)
def test_patterns_that_explode_are_interruptible(machine: Machine, call: str) -> None:
    """A pattern that would take C for ever is matched by Lua code that a hook can stop."""
    got = machine(
        "local text = string.rep('a', 3000) local ticks = 0 "
        "debug.sethook(function() ticks = ticks + 1 if ticks > 200 then debug.sethook() error('stopped', 0) end end,"
        f" '', 1000); {call} debug.sethook() return 'ended'"
    )
    assert got == "error: stopped"
