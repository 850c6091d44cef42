"""cjson and cjson.safe."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.lua_library.conftest import Machine

Run = Callable[[str], str]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("{}", "{}"),
        ("{1, 2, 3}", "[1,2,3]"),
        ("{a = 1}", '{"a":1}'),
        ("{[1] = 1, [3] = 3}", "[1,null,3]"),
        ("{[1] = 1, x = 2, [2] = nil}", None),
        ("cjson.null", "null"),
        ("ngx.null", "null"),
        ("nil", "null"),
        ("true", "true"),
        ("1e15", "1e+15"),
        ("0.1", "0.1"),
        ("1/3", "0.33333333333333"),
        ("123456789012", "123456789012"),
        (r"'a/b\"\\\n\1\127é'", r'"a\/b\"\\\n\u0001\u007fé"'),
        ("cjson.empty_array", "[]"),
        ("setmetatable({}, cjson.empty_array_mt)", "[]"),
        ("setmetatable({x = 1}, cjson.empty_array_mt)", '{"x":1}'),
        ("setmetatable({x = 1}, cjson.array_mt)", "[]"),
        ("cjson.decode('[]')", "[]"),
        ('cjson.decode(\'{"a":[],"b":{}}\').a', "[]"),
        ("{[1.5] = 2}", '{"1.5":2}'),
    ],
)
def test_encode(run: Run, value: str, expected: str | None) -> None:
    """Values are written as lua-cjson writes them with OpenResty's defaults."""
    got = run(f"return cjson.encode({value})")
    if expected is None:
        assert sorted(json.loads(json.loads(got.replace("\\\n", "\\n"))).items()) == [("1", 1), ("x", 2)]
    else:
        assert run(f"return cjson.encode({value}) == {_long(expected)} or cjson.encode({value})") == "true"


def _long(text: str) -> str:
    return f"[==[{text}]==]"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a":[1,2,{"b":null}]}', "{a={1=1,2=2,3={b=userdata: NULL}}}"),
        (r'"\u00e9\ud83d\ude00\n\/"', '"é😀\\\n/"'),
        (" [ 1 , -2.5e3 , true , false ] ", "{1=1,2=-2500,3=true,4=false}"),
        ("12345678901234567890", "1.2345678901235e+19"),
        ("[]", "{}"),
        ('"a\tb"', '"a\\9b"'),
        ("0x1F", "31"),
        ("-Infinity", "-inf"),
        ("[01]", "{1=1}"),
    ],
)
def test_decode(run: Run, text: str, expected: str) -> None:
    """Texts are read as lua-cjson reads them, also where it is laxer than JSON."""
    assert run(f"return cjson.decode({_long(text)})") == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Expected value but found T_END at character 1"),
        ("[1,2", "Expected comma or array end but found T_END at character 5"),
        ('{"a" 1}', "Expected colon but found T_NUMBER at character 6"),
        ("{a:1}", "Expected object key string but found invalid token at character 2"),
        ("[1,]", "Expected value but found T_ARR_END at character 4"),
        ("[.5]", "Expected value but found invalid token at character 2"),
        ('{"a":nope}', "Expected value but found invalid token at character 6"),
        ("[1] x", "Expected the end but found invalid token at character 5"),
        ("[" * 1001, "Found too many nested data structures (1001) at character 1001"),
        (r'"\ud800"', "Expected value but found invalid unicode escape code at character 2"),
        (r'"\x"', "Expected value but found invalid escape code at character 2"),
        ('"abc', "Expected value but found unexpected end of string at character 5"),
    ],
)
def test_malformed_texts(run: Run, text: str, message: str) -> None:
    """A malformed text raises lua-cjson's message; cjson.safe returns nil and it."""
    assert run(f"local x = cjson.decode({_long(text)}) return x") == f"error: line:1: {message}"
    assert run(f"return cjson_safe.decode({_long(text)})") == f'nil "{message}"'


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("print", "Cannot serialise function: type not supported"),
        ("{[true] = 1}", "Cannot serialise boolean: table key must be a number or string"),
        ("{[1] = 1, [100] = 2}", "Cannot serialise table: excessively sparse array"),
        ("0/0", "Cannot serialise number: must not be NaN or Infinity"),
        ("(function() local t = {} t[1] = t return t end)()", "Cannot serialise, excessive nesting (1001)"),
    ],
)
def test_values_that_cannot_be_encoded(run: Run, value: str, message: str) -> None:
    """A value that JSON can't hold raises lua-cjson's message; cjson.safe returns nil and it."""
    assert run(f"local x = cjson.encode({value}) return x") == f"error: line:1: {message}"
    assert run(f"return cjson_safe.encode({value})") == f'nil "{message}"'


def test_numbers_are_as_precise_as_in_kong(run: Run) -> None:
    """Kong has cjson.safe write 16 digits, so that numbers of a database survive; cjson itself has 14."""
    numbers = "{1e14, 1234567890123456, 2^53, 1/3, 1e16}"
    found = run(f"return cjson_safe.encode({numbers}), cjson.encode({numbers}), cjson_safe.new().encode(1/3)")
    assert found == (
        '"[100000000000000,1234567890123456,9007199254740992,0.3333333333333333,1e+16]" '
        '"[1e+14,1.2345678901235e+15,9.007199254741e+15,0.33333333333333,1e+16]" "0.33333333333333"'
    )


def test_settings_belong_to_an_instance(run: Run) -> None:
    """What new() gives can be set up, without any effect on the instances that others use."""
    assert (
        run(
            "local own = cjson.new() own.encode_empty_table_as_object(false) own.encode_escape_forward_slash(false) "
            "own.decode_array_with_array_mt(true) own.encode_number_precision(3) "
            "return own.encode({}), own.encode('/'), own.encode(1/3), getmetatable(own.decode('[1]')) == own.array_mt,"
            " cjson.encode({}), #cjson.encode('/'), getmetatable(cjson.decode('[1]'))"
        )
        == '"[]" "\\"/\\"" "0.333" true "{}" 4 nil'
    )
    assert "use cjson.new()" in run("cjson.encode_max_depth(5)")
    assert run("return cjson.encode_max_depth(), cjson.encode_sparse_array()") == "1000 false 2 10"


def test_both_nulls_are_one(run: Run) -> None:
    """cjson.null, ngx.null and a decoded null are the same value, a userdata as in OpenResty."""
    assert run(
        "return cjson.null == ngx.null, cjson.decode('null') == ngx.null, type(ngx.null), tostring(ngx.null)"
    ) == ('true true "userdata" "userdata: NULL"')


_machine = Machine()
_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**45), 2**45)
    | st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(alphabet='abcé"/\n', min_size=1, max_size=4), inner, max_size=4)
    ),
    max_leaves=25,
)


@settings(max_examples=300, deadline=None)
@given(value=_json, ascii_only=st.booleans(), indent=st.sampled_from([None, 1]))
def test_round_trip(value: Any, ascii_only: bool, indent: int | None) -> None:
    """What another encoder wrote comes back as the same value, empty arrays and nulls included."""
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    function: Any = _machine.lua.execute(
        b"local cjson = ... return function(s) return cjson.encode(cjson.decode(s)) end", _machine.library[b"cjson"]
    )
    assert json.loads(function(text.encode())) == value
