"""Requests of different configurations run in one Lua state: nothing that one script does reaches another's values."""

from __future__ import annotations

import pytest

from request_callout.config.settings import LuaSettings
from request_callout.lua import Lua, ScriptError
from tests.unit.lua.recording_host import Bench

METAMETHODS = ("__index", "__newindex", "__call", "__tostring", "__len", "__eq", "__lt", "__concat", "__metatable")


@pytest.mark.parametrize("name", ["array_mt", "empty_array_mt"])
@pytest.mark.parametrize("module", ["cjson", "cjson.safe"])
def test_a_script_cannot_change_the_metatable_of_other_scripts_lists(module: str, name: str) -> None:
    """What a script sets on cjson's metatables has no effect on the lists of another request."""
    lua = Lua()
    for metamethod in METAMETHODS:
        source = f"pcall(function() require('{module}').{name}.{metamethod} = function() return 'stolen' end end)"
        Bench(lua=lua).script(source)
    victim = Bench(lua=lua)
    victim.context.set(("callouts", "a"), {"list": ["x"], "empty": []})
    assert victim.render("$(callouts.a.list[2]) $(callouts.a.empty[1])") == " "
    assert victim.result("local t = kong.ctx.shared.callouts.a t.list[2] = 'y' t.empty[1] = 'z' return t") == {
        "list": ["x", "y"],
        "empty": ["z"],
    }
    assert victim.result("return tostring(kong.ctx.shared.callouts.a.list):sub(1, 6)") == "table:"
    with pytest.raises(ScriptError, match="attempt to call"):
        victim.script("kong.ctx.shared.callouts.a.list()")


def test_no_table_within_reach_keeps_what_a_script_writes() -> None:
    """Every table that a script reaches from its globals and modules refuses a new key or forgets it with the run."""
    lua = Lua()
    walk = """
      local seen = {}
      local function visit(value, depth)
        if type(value) ~= 'table' or seen[value] or depth > 6 then return end
        seen[value] = true
        pcall(function() value.planted = 'by another script' end)
        for _, member in next, value do visit(member, depth + 1) end
        for _, name in pairs(%s) do
          local ok, member = pcall(function() return value[name] end)
          if ok then visit(member, depth + 1) end
        end
      end
      for _, root in pairs({_G, kong, ngx, string, table, math, os, coroutine, require('cjson'),
        require('cjson.safe'), require('cjson').new(), kong.ctx, kong.ctx.plugin, kong.log, kong.request}) do
        visit(root, 0)
      end
    """
    names = "array_mt empty_array_mt new re null log request response service ctx plugin nginx var re socket config"
    Bench(lua=lua).script(walk % ("{" + ", ".join(f"'{name}'" for name in names.split()) + "}"))
    places = "_G kong ngx ngx.re string table math os coroutine kong.ctx.plugin require('cjson') require('cjson.safe')"
    checked = [*places.split(), "require('cjson').array_mt", "require('cjson').empty_array_mt"]
    probe = ", ".join(f"(type(({place}).planted) == 'string')" for place in checked)
    found = Bench(lua=lua).result(f"return {{{probe}}}")
    assert [place for place, kept in zip(checked, found, strict=True) if kept] == []


@pytest.mark.parametrize(
    "expression",
    [
        'kong["response.exit"](200, "x")',
        'kong["response"]["exit"](200)',
        'kong["service.request.set_header"]("a", "b")',
        'kong.service["request.set_header"]("a", "b")',
        'kong["ctx.shared.set"]("a", "b")',
        'kong["log.set_serialize_value"]("a", "b")',
        'kong["nginx.set_ctx"]("a", "b")',
    ],
)
def test_an_expression_changes_nothing_however_the_function_is_spelled(expression: str) -> None:
    """A PDK function that changes something is refused in an expression also under a name with dots in it."""
    bench = Bench(dict.fromkeys(("kong.response.exit", "kong.service.request.set_header", "kong.nginx.set_ctx")))
    with pytest.raises(ScriptError):
        bench.render(f"$({expression})")
    assert bench.host.calls == []


@pytest.mark.parametrize(
    "expression",
    [
        'ngx.re.match("abc", "b", nil, callouts.a)',
        'ngx.re.match("abc", "b", nil, nil, callouts.a)',
        'ngx.re.find("abc", "b", nil, callouts.a)',
        'select(2, pcall(ngx.re.match, "abc", "b", nil, nil, callouts.a))',
        'table["insert"](callouts.a, 1)',
        '(pcall(table["sort"], callouts.a) and 1)',
    ],
)
def test_an_expression_cannot_write_through_a_library_function(expression: str) -> None:
    """A library function that writes into a table it is given gets a copy in an expression."""
    bench = Bench()
    bench.context.set(("callouts", "a"), {"kept": "as it was"})
    bench.render(f"$({expression} and 1)")
    assert bench.context.get(("callouts", "a")) == {"kept": "as it was"}


def test_contexts_of_two_requests_share_nothing() -> None:
    """Globals, kong.ctx.plugin and kong.ctx.shared of one request are not there for another in the same state."""
    lua = Lua()
    first, second = Bench(lua=lua), Bench(lua=lua)
    first.script("secret = 1 _G.other = 2 kong.ctx.plugin.a = 3 kong.ctx.shared.callouts.b = 4")
    assert first.context.state is second.context.state
    assert (
        second.result(
            "return {secret == nil, _G.other == nil, kong.ctx.plugin.a == nil, kong.ctx.shared.callouts.b == nil}"
        )
        == [True] * 4
    )


@pytest.mark.parametrize(
    ("allowed", "written", "read"),
    [
        (("bit",), "bit.band = function() return 'stolen' end", "tostring(bit.band(1, 1))"),
        (("load",), "load('planted = 1')()", "tostring(load('return planted')())"),
        (("math",), "math.sin = function() return 'stolen' end", "tostring(math.sin(0))"),
        (("os.getenv",), "os.getenv = function() return 'stolen' end", "type(os.getenv('PATH') or os)"),
    ],
)
def test_what_the_server_adds_to_the_sandbox_is_no_channel(allowed: tuple[str, ...], written: str, read: str) -> None:
    """Globals that --sandbox-environment adds can't be changed for other scripts either."""
    lua = Lua(LuaSettings(sandbox_environment=allowed))
    before = Bench(lua=lua).result(f"return {read}")
    Bench(lua=lua).script(f"pcall(function() {written} end)")
    assert Bench(lua=lua).result(f"return {read}") == before
