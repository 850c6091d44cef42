from __future__ import annotations

import pytest

from request_callout.config.settings import LuaSettings
from request_callout.lua import Lua, ScriptError, state
from tests.unit.lua.recording_host import Bench

# What kong-lua-sandbox 1.1 gives, by library.
BASE = "_VERSION assert error ipairs next pairs pcall select tonumber tostring type unpack xpcall _G require"
LIBRARIES = {
    "coroutine": "create resume running status wrap yield",
    "math": "abs acos asin atan atan2 ceil cos cosh deg exp fmod floor frexp huge ldexp log log10 max min modf pi pow "
    "rad random sin sinh sqrt tan tanh",
    "os": "clock date difftime time",
    "string": "byte char find format gmatch gsub len lower match rep reverse sub upper",
    "table": "concat insert maxn remove sort",
}
ABSENT = """
    load loadstring loadfile dofile getfenv setfenv rawget rawset rawequal rawlen getmetatable setmetatable
    collectgarbage gcinfo print module newproxy io debug package ffi jit python bit
    string.dump math.randomseed os.execute os.exit os.getenv os.remove os.rename os.tmpname os.setlocale
"""


def test_the_sandbox_has_kongs_functions() -> None:
    """Every function of kong-lua-sandbox 1.1 is there, and require."""
    names = BASE.split() + [f"{library}.{name}" for library, names in LIBRARIES.items() for name in names.split()]
    found = Bench().result(f"return {{{', '.join(f'{name} == nil' for name in names)}}}")
    assert [name for name, absent in zip(names, found, strict=True) if absent] == []


def test_the_sandbox_lacks_everything_else() -> None:
    """Loaders, metatables, raw access, input and output, and the host are not there."""
    names = ABSENT.split()
    found = Bench().result(f"return {{{', '.join(f'{name} == nil' for name in names)}}}")
    assert [name for name, absent in zip(names, found, strict=True) if not absent] == []


@pytest.mark.parametrize(
    "source",
    [
        "string.upper = nil",
        "string.mine = 1",
        "table.insert = nil",
        "math.pi = 3",
        "os.time = nil",
        "coroutine.wrap = nil",
        "kong.request.get_path = nil",
        "kong.mine = 1",
        "kong.ctx.mine = 1",
        "kong.log.err = nil",
        "ngx.null = 1",
        "ngx.re.match = 1",
        "require('cjson').encode = nil",
        "kong.unknown.thing = 1",
    ],
)
def test_libraries_cannot_be_replaced(source: str) -> None:
    """Writing to a library's table is an error that says so."""
    with pytest.raises(ScriptError, match=r"cannot modify .* protected by the sandbox"):
        Bench().script(source)


def test_replacing_a_library_ends_with_the_script() -> None:
    """A script may have a global of its own named string; methods of strings stay the sandbox's."""
    bench = Bench()
    assert bench.result("string = {upper = 1} return ('x'):upper()") == "X"
    assert bench.result("return string.upper('x')") == "X"


def test_modules() -> None:
    """Cjson can be required; others are refused, unless the server allows them and the state has them."""
    bench = Bench()
    assert bench.result("return require('cjson').encode({a = 1}) .. require('cjson.safe').encode({})") == '{"a":1}{}'
    with pytest.raises(ScriptError, match=r"require 'resty\.http' not allowed within sandbox"):
        bench.script("require('resty.http')")
    allowing = Bench(sandbox_requires=("bit", "resty.http"))
    assert allowing.result("return require('bit').band(6, 3)") == 2
    with pytest.raises(ScriptError, match=r"module 'resty\.http' is not available here"):
        allowing.script("require('resty.http')")
    with pytest.raises(ScriptError, match=r"cannot modify bit\.band"):
        allowing.script("require('bit').band = nil")


def test_further_globals_by_option() -> None:
    """sandbox_environment exposes globals, and members of libraries, of the full environment."""
    bench = Bench(sandbox_environment=("bit", "os.getenv", "rawget"))
    assert bench.result(
        "return {bit.bor(1, 2), type(os.getenv), type(os.time), rawget({a = 1}, 'a'), os.execute == nil}"
    ) == [
        3,
        "function",
        "function",
        1,
        True,
    ]


def test_the_unrestricted_mode_has_the_full_environment() -> None:
    """untrusted_lua = on gives metatables, loaders, io and os, and still nothing of the host."""
    bench = Bench(untrusted_lua="on")
    assert bench.result(
        "return {setmetatable({}, {__index = function() return 1 end}).x, loadstring('return 2')(), "
        "load(function() return nil end) ~= nil, type(io.open), type(os.getenv), type(require('ffi')), python == nil}"
    ) == [1, 2, True, "function", "function", "table", True]
    with pytest.raises(ScriptError, match="instructions"):
        bench.script("setmetatable({}, {__index = function() while true do end end}).x()")
    assert bench.result("y = 1 return loadstring('return y')()") == 1
    assert bench.result("return {table.pack(nil, 5).n, table.unpack({7, 8}, 2), rawlen({1, 2, 3})}") == [2, 8, 3]


def test_switched_off_lua_is_refused() -> None:
    """untrusted_lua = off refuses every script and expression, with a message that names the option."""
    lua = Lua(LuaSettings(untrusted_lua="off"))
    for source, is_expression in (("return 1", False), ("1", True)):
        ((_, message),) = lua.check(source, is_expression)
        assert "untrusted_lua" in message
    with pytest.raises(ScriptError, match="untrusted_lua"):
        lua.script("return 1", "where")
    with pytest.raises(ScriptError, match="untrusted_lua"):
        lua.template("$(1)", "where")
    assert lua.template("plain", "where").render(Bench().context) == "plain"


WALK = rb"""
do
  local seen, odd = {}, {}
  local getmetatable = debug.getmetatable
  local python_objects = debug.getregistry().POBJECT
  local function walk(value, path, depth)
    local kind = type(value)
    if kind == "cdata" or kind == "userdata" then
      local mt = getmetatable(value)
      if kind == "cdata" or (mt and (mt == python_objects or rawget(mt, "__gc") or rawget(mt, "__index"))) then
        odd[#odd + 1] = path
      end
    end
    if kind == "function" and debug.getinfo(value, "S").what == "C" then
      local i = 1
      while true do
        local name, upvalue = debug.getupvalue(value, i)
        if not name then break end
        local mt = type(upvalue) == "userdata" and getmetatable(upvalue)
        if mt and (mt == python_objects or rawget(mt, "__gc")) then odd[#odd + 1] = path .. "^" .. i end
        i = i + 1
      end
    end
    if kind ~= "table" or seen[value] then return end
    seen[value] = true
    for k, v in pairs(value) do
      walk(k, path .. ".<key>")
      walk(v, path .. "." .. tostring(k))
    end
    local mt = getmetatable(value)
    if mt then walk(rawget(mt, "__index"), path .. ".__index") end
  end
  walk(base, "_G")
  walk(getmetatable("").__index, "string")
  walk(modules, "require")
  if PLANT then walk(PLANT, "planted") end
  local count = 0
  for _ in pairs(seen) do count = count + 1 end
  WALKED = count .. ":" .. table.concat(odd, " ")
end
"""


def _walked(monkeypatch: pytest.MonkeyPatch, before: bytes = b"") -> tuple[int, str]:
    prelude = dict(state._prelude())
    head, _, tail = prelude["sandbox"].rpartition(b"return {")
    prelude["sandbox"] = head + before + WALK + b"return {" + tail
    monkeypatch.setattr(state, "_prelude", lambda: prelude)
    count, _, odd = state.State(LuaSettings())._runtime.globals()[b"WALKED"].decode().partition(":")
    return int(count), odd


def test_no_object_of_python_is_within_a_scripts_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    """All tables reachable from a script's globals hold no userdata of the host, and functions none as upvalue."""
    count, odd = _walked(monkeypatch)
    assert count > 20
    assert odd == ""


def test_the_walk_would_find_an_object_of_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check above fails if a Python object is planted."""
    registry = b"for k, v in pairs(debug.getregistry()) do if k == 'Py_None' then PLANT = {v} end end "
    assert _walked(monkeypatch, registry)[1] == "planted.1"


PROTECTED = ("kong", "kong.request", "ngx", "ngx.re", "string", "table", "coroutine", "require('cjson')")


@pytest.mark.parametrize(
    "call", ["table.insert({}, 'x')", "table.insert({}, 1, 'x')", "table.sort({})", "table.remove({})"]
)
@pytest.mark.parametrize("place", [*PROTECTED, "require('cjson').array_mt", "require('cjson').empty_array_mt"])
def test_table_functions_do_not_write_into_protected_tables(place: str, call: str) -> None:
    """Functions that go around metatables refuse the tables that scripts of all configurations see."""
    lua = Lua()
    with pytest.raises(ScriptError, match="protected by the sandbox"):
        Bench(lua=lua).script(f"local x = {call.format(place)}")
    assert Bench(lua=lua).result(f"return rawequal == nil and next({place}) == nil") is True


def test_lists_keep_their_kind_in_the_unrestricted_mode() -> None:
    """Where setmetatable is there, cjson's metatables work as in Kong, also on lists that have one already."""
    bench = Bench(untrusted_lua="on")
    bench.context.set(("callouts", "a"), {"list": ["x"], "empty": []})
    source = """
      local cjson, a = require("cjson"), kong.ctx.shared.callouts.a
      local made = setmetatable({}, cjson.array_mt)
      local kept = setmetatable(cjson.decode("[]"), cjson.array_mt)
      local object = setmetatable(cjson.decode("[]"), nil)
      return { cjson.encode({ made }), cjson.encode({ kept }), cjson.encode({ object }),
        getmetatable(a.list) == cjson.array_mt, made, setmetatable(a.list, nil), object }
    """
    assert bench.result(source) == ["[[]]", "[[]]", "[{}]", True, [], ["x"], {}]
    with pytest.raises(ScriptError, match=r"cannot modify cjson\.array_mt"):
        bench.script("getmetatable(kong.ctx.shared.callouts.a.empty).__index = print")


@pytest.mark.parametrize(
    "name", ['kong["a.b"]', 'kong.request["get-path"]', 'kong[("x"):rep(65)]', 'kong[""]', "kong.a.b.c.d", "kong[1]"]
)
def test_what_can_be_no_pdk_function_is_nil(name: str) -> None:
    """A name that no PDK could have, for its characters, length or depth, is nil as in Kong."""
    assert Bench().result(f"return {name} == nil and kong.a.b.c ~= nil") is True


def test_rawset_keeps_off_protected_tables() -> None:
    """A server may add rawset to the sandbox: it works on a script's own tables alone."""
    bench = Bench(sandbox_environment=("rawset",))
    assert bench.result("local t = {} rawset(t, 1, 2) return t[1]") == 2
    for place in ("string", "kong", "ngx.re", "require('cjson')", "require('cjson').array_mt"):
        with pytest.raises(ScriptError, match="protected by the sandbox"):
            bench.script(f"rawset({place}, 'upper', 1)")
