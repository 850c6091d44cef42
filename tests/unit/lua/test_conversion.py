from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from request_callout.lua import Headers, ScriptError
from request_callout.lua.conversion import MAX_DEPTH
from request_callout.values import text
from tests.unit.lua.recording_host import Bench

STRINGS = st.text(st.characters(codec="utf-8"), max_size=300) | st.binary(max_size=300).map(text)
SCALARS = (
    st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False).filter(lambda number: not number.is_integer())
    | STRINGS
)
VALUES = st.recursive(
    SCALARS | st.none(),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(STRINGS, inner, max_size=20),
    max_leaves=40,
)

bench = Bench()


@settings(max_examples=150, deadline=None)
@given(VALUES)
def test_every_value_comes_back_from_lua_as_it_went_in(value: Any) -> None:
    """What is put into the context is read back equal, whatever JSON value it is."""
    bench.context.set(("callouts", "x"), {"v": value})
    assert bench.context.get(("callouts", "x")) == {"v": value}
    bench.script(
        "local t = {} for k, v in pairs(kong.ctx.shared.callouts.x) do t[k] = v end kong.ctx.shared.callouts.y = t"
    )
    assert bench.context.get(("callouts", "y")) == {"v": value}


@pytest.mark.parametrize("size", [0, 1, 15, 16, 31, 32, 191, 192, 223, 224, 255, 256, 8159, 8160, 8191, 65535, 65536])
def test_sizes_at_every_boundary_of_the_encodings_survive(size: int) -> None:
    """Strings, lists and maps keep their size where the length of a length changes."""
    for value in ("x" * size, [1] * size, {str(n): n for n in range(size)}):
        bench.context.set(("callouts", "x"), [value])
        assert bench.context.get(("callouts", "x")) == [value]


@pytest.mark.parametrize(
    "number",
    [
        0,
        127,
        128,
        255,
        256,
        65535,
        65536,
        2**31 - 1,
        2**31,
        2**32,
        2**53,
        -1,
        -32,
        -33,
        -(2**31),
        -(2**31) - 1,
        -(2**53),
    ],
)
def test_whole_numbers_stay_whole(number: int) -> None:
    """A whole number comes back as an int of the same value."""
    bench.context.set(("callouts", "x"), number)
    back = bench.context.get(("callouts", "x"))
    assert back == number
    assert type(back) is int


def test_a_whole_float_becomes_an_int() -> None:
    """Lua has one kind of number, so 3.0 comes back as 3."""
    bench.context.set(("callouts", "x"), 3.0)
    assert repr(bench.context.get(("callouts", "x"))) == "3"


def test_infinity_and_nan_survive() -> None:
    """Numbers that JSON lacks still pass through Lua."""
    bench.context.set(("callouts", "x"), [math.inf, -math.inf, math.nan])
    infinite, negative, nan = bench.context.get(("callouts", "x"))
    assert (infinite, negative) == (math.inf, -math.inf)
    assert math.isnan(nan)


def test_null_is_ngx_null_and_absence_is_nil() -> None:
    """None inside a table is ngx.null, which is also cjson.null; None at a path removes what is there."""
    bench.context.set(("callouts", "x"), {"n": None, "list": [None, 1]})
    found = bench.result(
        "local x = kong.ctx.shared.callouts.x "
        "return {x.n == ngx.null, x.n == require('cjson').null, x.list[1] == ngx.null, x.absent == nil, #x.list}"
    )
    assert found == [True, True, True, True, 2]
    bench.context.set(("callouts", "x"), None)
    assert bench.context.get(("callouts", "x")) is None


def test_an_empty_list_stays_a_list_and_an_empty_dict_a_dict() -> None:
    """Lua has one empty table, yet lists and dicts keep apart, also in the script's own JSON."""
    bench.context.set(("callouts", "x"), {"list": [], "dict": {}})
    assert bench.context.get(("callouts", "x")) == {"list": [], "dict": {}}
    assert bench.result("return require('cjson').encode({kong.ctx.shared.callouts.x.list})") == "[[]]"
    assert bench.result("return require('cjson').decode('[[],{}]')") == [[], {}]


def test_a_list_emptied_by_a_script_is_still_a_list() -> None:
    """Removing the last element does not turn a list into an object."""
    bench.context.set(("callouts", "x"), [1])
    bench.script("table.remove(kong.ctx.shared.callouts.x)")
    assert bench.context.get(("callouts", "x")) == []


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{1, 2, 3}", [1, 2, 3]),
        ("{[2] = 'b'}", [None, "b"]),
        ("{1, x = 2}", {"1": 1, "x": 2}),
        ("{[0] = 'a'}", {"0": "a"}),
        ("{[1.5] = 'a'}", {"1.5": "a"}),
        ("{}", {}),
    ],
)
def test_tables_become_lists_or_dicts_as_in_cjson(source: str, expected: Any) -> None:
    """Keys 1 to n make a list, with null in holes; any other key makes an object with text keys."""
    assert bench.result(f"return {source}") == expected


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{[1000] = 1}", "sparse"),
        ("{[{}] = 1}", "table key"),
        ("{f = function() end}", "function"),
        ("coroutine.create(function() end)", "thread"),
        ("(function() local t = {} t.t = t return t end)()", "contains itself"),
    ],
)
def test_what_has_no_form_outside_lua_is_refused(source: str, message: str) -> None:
    """Functions, threads, cycles, sparse arrays and odd keys give an error that says which it was."""
    with pytest.raises(ScriptError, match=message):
        bench.result(f"return {source}")


@pytest.mark.parametrize(
    ("value", "message"),
    [({1.5: "x"}, "key"), (object(), "object"), (10**400, "too large")],
)
def test_what_has_no_form_in_lua_is_refused(value: Any, message: str) -> None:
    """Other types, odd keys and numbers out of range give an error."""
    with pytest.raises(ScriptError, match=message):
        bench.context.set(("callouts", "x"), [value])


def test_nesting_is_limited() -> None:
    """A value as deep as the limit passes; one level more, or a list within itself, gives an error."""
    value: Any = 1
    for _ in range(MAX_DEPTH):
        value = [value]
    bench.context.set(("callouts", "x"), value)
    assert bench.context.get(("callouts", "x")) == value
    with pytest.raises(ScriptError, match="nests deeper"):
        bench.context.set(("callouts", "x"), [value])
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ScriptError, match="contains itself"):
        bench.context.set(("callouts", "x"), endless)


def test_a_table_that_is_wide_by_sharing_hits_a_limit() -> None:
    """Forty tables that each hold the next twice would be a value of 2^40 members: a limit ends it."""
    small = Bench(max_memory_bytes=8 * 1024 * 1024, max_instructions=5_000_000)
    with pytest.raises(ScriptError, match="stopped"):
        small.result("local t = {1} for _ = 1, 40 do t = {t, t} end return t")


def test_headers_are_found_in_any_case() -> None:
    """A table of headers is looked up in any case, and with _ for -."""
    bench.context.set(("callouts", "x"), {"headers": Headers({"x-request-id": "7", "a": ["1", "2"]})})
    found = bench.result(
        "local h = kong.ctx.shared.callouts.x.headers "
        "return {h['X-Request-ID'], h.x_request_id, h['x-request-id'], h.A[2], h.absent == nil, h[1] == nil}"
    )
    assert found == ["7", "7", "7", "2", True, True]


def test_a_path_through_missing_tables_is_made() -> None:
    """Setting below what is not there makes the tables on the way."""
    fresh = Bench()
    fresh.context.set(("a", "b", "c"), 1)
    assert fresh.context.get(("a",)) == {"b": {"c": 1}}
    assert fresh.context.get(("a", "b", "c", "d")) is None
    assert fresh.context.get(("nowhere", "at", "all")) is None
