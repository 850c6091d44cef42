"""What keeps Python's objects out of scripts, and the state alive at its memory limit."""

from __future__ import annotations

import time
from typing import Any

import pytest

from request_callout.lua import library
from tests.unit.lua_library.conftest import Machine


def test_only_lua_values_are_reachable(machine: Machine) -> None:
    """Everything that can be reached from the library is made of Lua's own values, but for the two named userdata."""
    walk: Any = machine.lua.execute(b"""
      return function(lib)
        local seen, odd = {}, {}
        local function visit(value, path)
          if type(value) == "userdata" then
            if value ~= lib.null and value ~= lib.empty_array then odd[#odd + 1] = path end
          elseif type(value) == "table" and not seen[value] then
            seen[value] = true
            for key, member in next, value do visit(member, path .. "." .. tostring(key)) end
            visit(getmetatable(value), path .. ".metatable")
          end
        end
        visit(lib, "lib")
        return table.concat(odd, " ")
      end""")
    assert walk(machine.library) == b""


@pytest.mark.parametrize(
    "call",
    [
        "ngx.encode_base64(text)",
        "ngx.re.gsub(text, 'x', 'yy')",
        "ngx.decode_base64(text)",
        "string.rep(text, 4)",
        "cjson.encode({text, text})",
        "(function() local all = {} for i = 1, 1e6 do all[i] = ngx.md5(i) end end)()",
    ],
)
def test_memory_limit_holds_across_calls(machine: Machine, call: str) -> None:
    """A result that doesn't fit ends the script with Lua's memory error; the state, and the process, go on."""
    lua = machine.lua
    function: Any = lua.execute(
        b"local lib, source = ... local f = assert(loadstring("
        b"'local text, ngx, cjson, string = ... local result = ' .. source .. "
        b"' local more = {} for i = 1, 1000 do more[i] = {} end return #result')) "
        b"return function(text) return pcall(f, text, lib.ngx, lib.cjson, lib.string) end",
        machine.library,
        call.encode(),
    )
    text = b"x" * 4_000_000
    lua.set_max_memory(lua.get_memory_used() + 6_000_000)
    try:
        ok, error = function(text)
    finally:
        lua.set_max_memory(0)
    assert (ok, error) == (False, b"not enough memory")
    assert machine("collectgarbage() return ngx.md5('hello')") == '"5d41402abc4b2a76b9719d911017c592"'


def test_limit_is_on_again_after_a_call(machine: Machine) -> None:
    """A call into Python leaves the memory limit as it was."""
    machine.lua.set_max_memory(50_000_000)
    before = machine.lua.get_max_memory(total=True)
    machine("ngx.md5('x') ngx.re.match('x', 'x') ngx.decode_base64('!')")
    assert machine.lua.get_max_memory(total=True) == before


def test_new_states_are_cheap() -> None:
    """A state with the library takes a few milliseconds at most."""
    Machine()
    started = time.perf_counter()
    for _ in range(10):
        Machine()
    assert (time.perf_counter() - started) / 10 < 0.02


def test_failures_in_python_stay_there(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception in Python is nil in Lua, never an error value that a script could look into."""

    def fail(_text: bytes) -> bytes:
        raise RuntimeError("secret")

    monkeypatch.setitem(library._FUNCTIONS, "md5", fail)
    assert Machine()("return pcall(ngx.md5, 'x')") == "true nil"


@pytest.mark.parametrize("name", ["reverse", "upper", "lower", "sub", "char", "tostring"])
def test_running_out_of_memory_in_a_fast_function(name: str) -> None:
    """Where LuaJIT's own function would crash the process, running out of memory is an error."""
    for budget in range(1_000_000, 5_000_000, 500_000):
        machine = Machine()
        lua = machine.lua
        function: Any = lua.execute(
            b"local lib, name = ... local all = require('table.new')(1000000, 0) "
            b"local raw = lib.string[name] or tostring "
            b"local call = name == 'tostring' and function(i) return raw(i) end "
            b"or name == 'char' and function(i) return raw(i % 256, i / 256 % 256, i / 65536) end "
            b"or name == 'sub' and function(i) return (raw('x' .. i, 2, 9)) end "
            b"or function(i) return raw('x' .. i) end "
            b"local function deeper(i) local a, b, c, d, e, f local result = call(i) return result end "
            b"return function() return pcall(function() for i = 1, 1e6 do os.clock() all[i] = deeper(i) end end) end",
            machine.library,
            name.encode(),
        )
        lua.set_max_memory(lua.get_memory_used() + budget)
        try:
            ok, error = function()
        finally:
            lua.set_max_memory(0)
        assert (ok, error) == (False, b"not enough memory")


def test_strings_have_the_safe_methods_only_where_the_runtime_says_so(machine: Machine) -> None:
    """The library changes nothing global: the metatable of strings is the runtime's to set."""
    assert machine("return getmetatable('').__index == lib.string") == "false"
