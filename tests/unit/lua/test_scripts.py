from __future__ import annotations

from typing import Any

import pytest

from request_callout.config.settings import LuaSettings
from request_callout.lua import Lua, PdkError, ScriptError
from tests.unit.lua.recording_host import Bench


@pytest.mark.parametrize(
    ("source", "line", "message"),
    [
        ("x = = 1", 1, "unexpected symbol near '='"),
        ("local a\nif a then", 2, "'end' expected"),
        ("end", 1, "'<eof>' expected near 'end'"),
        ("end, function() ", 1, "'<eof>' expected"),
        ("x = 'open", 1, "unfinished string"),
        ("\x1bLJ\x02", 1, "compiled Lua is not accepted"),
        ("goto nowhere", 1, "nowhere"),
    ],
)
def test_a_syntax_error_is_found_with_its_line(source: str, line: int, message: str) -> None:
    """The check gives the line within the source and Lua's message; such a script cannot be made."""
    lua = Lua(LuaSettings())
    (found,) = lua.check(source, False)
    assert found[0] == line
    assert message in found[1]
    with pytest.raises(ScriptError, match=f"^where: line {line}: "):
        lua.script(source, "where")


def test_a_script_may_end_in_a_comment_or_a_return() -> None:
    """Nothing of how a script is compiled shows: comments at its end, a return, varargs are fine."""
    bench = Bench()
    for source in ("-- nothing", "return 1", "return", "local a, b = ... -- x", "goto done ::done::"):
        bench.script(source)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("\n\nerror('boo')", "line 3: boo"),
        ("local x\nreturn x.y", "line 2: attempt to index local 'x' (a nil value)"),
        ("local function f()\n  error('deep')\nend\nf()", "line 2: deep"),
        ("error('plain', 0)", "line 1: plain"),
        ("error({})", "line 1: error object is a table value"),
        ("error()", "line 1: error object is a nil value"),
        ("error(42)", "line 1: 42"),
        ("('x'):rep()\n", "line 1: bad argument"),
        ("string.rep()\n", "line 1: bad argument"),
        ("\nlocal x = table.concat(nil)", "line 2: bad argument"),
        ("\ncoroutine.wrap(function()\n error('inner') end)()", "line 3: inner"),
        ("error('line:7: mine', 0)", "line 7: mine"),
    ],
)
def test_a_runtime_error_has_the_scripts_line(source: str, message: str) -> None:
    """Every failure names the field and the line in the script, not a place in the runtime."""
    with pytest.raises(ScriptError) as caught:
        Bench().script(source)
    assert caught.value.where == "by_lua"
    assert caught.value.message.startswith(message)
    assert ".lua:" not in caught.value.message


def test_calls_pass_their_name_and_arguments_and_return_the_result() -> None:
    """Any function below kong is called by its full name; nil arguments keep their place."""
    bench = Bench({"kong.request.get_header": lambda *args: list(args), "kong.some.new.thing": 5})
    assert bench.result("return kong.request.get_header('a', nil, {1, ngx.null}, true, nil)") == [
        *("a", None, [1, None], True),
        None,
    ]
    assert bench.result("return kong.some.new.thing()") == 5
    assert bench.result("return type(kong.request.get_path)") == "function"


def test_a_pdk_error_can_be_caught_and_has_the_line() -> None:
    """PdkError is a Lua error at the script's line."""
    bench = Bench({"kong.request.get_path": PdkError("no path")})
    assert bench.result("local ok, err = pcall(kong.request.get_path) return {ok, err}") == [False, "line:1: no path"]
    with pytest.raises(ScriptError, match=r"^by_lua: line 2: no path$"):
        bench.script("\nlocal p = kong.request.get_path()")


@pytest.mark.parametrize("exception", [KeyError("x"), KeyboardInterrupt(), ValueError("v"), GeneratorExit()])
def test_other_exceptions_of_the_host_pass_through_unchanged(exception: BaseException) -> None:
    """What is no PdkError cannot be caught in Lua: it ends the script and reaches the caller as it is."""
    bench = Bench({"kong.response.exit": exception})
    with pytest.raises(type(exception)) as caught:
        bench.script("pcall(kong.response.exit, 200) kong.ctx.shared.callouts.after = true")
    assert caught.value is exception
    assert bench.context.get(("callouts", "after")) is None
    assert bench.result("return 1") == 1


def test_a_result_that_lua_cannot_hold_is_an_error_of_the_call() -> None:
    """A host's result of an unknown type is reported by the name of the function."""
    bench = Bench({"kong.request.get_path": object()})
    with pytest.raises(ScriptError, match=r"the result of kong\.request\.get_path"):
        bench.script("kong.request.get_path()")


SCENES = {
    "pcall": "local ok, p = pcall(function() return P() end) return p",
    "xpcall": "local ok, p = xpcall(function(a) return P() .. a end, function(e) return e end, '') return p",
    "handler of xpcall": "local ok, p = xpcall(error, function(e) return P() .. e.x end, {x = ''}) return p",
    "iterator": "for p in function(_, n) if not n then return P() end end do return p end",
    "coroutine": "local co = coroutine.create(function(a) local b = coroutine.yield(P() .. a) return b .. P() end) "
    "local _, one = coroutine.resume(co, '1') local _, two = coroutine.resume(co, '2') "
    "return (one == '/p1' and two == '2/p') and P() or one .. two",
    "wrap in wrap": "return coroutine.wrap(function() return coroutine.wrap(function() return P() end)() end)()",
    "gsub": "return (('x'):gsub('.', function() return P() end))",
    "gmatch": "for _ in ('a'):gmatch('.') do return P() end",
    "sort": "local t, p = {3, 1, 2} table.sort(t, function(a, b) p = P() return a < b end) return p",
    "ngx.re.gsub": "return (ngx.re.gsub('x', '.', function() return P() end))",
    "metamethod": "return kong.ctx.shared.read_by_index",
}


@pytest.mark.parametrize("scene", SCENES.values(), ids=SCENES.keys())
def test_pdk_calls_work_everywhere_in_a_script(scene: str) -> None:
    """A call's result arrives in protected calls, iterators, coroutines, callbacks and metamethods."""
    bench = Bench({"kong.request.get_path": "/p"})
    bench.host.shared["read_by_index"] = "/p"
    assert bench.result(f"local function P() return kong.request.get_path() end {scene}") == "/p"


@pytest.mark.parametrize(
    ("call", "given"),
    [
        ("xpcall(function(a) return a, 2 end, error, 1)", "true 1 2"),
        ("xpcall(error, function(e) return e .. 'b', 'c' end, 'a')", "false ab"),
        ("xpcall(error, function() end)", "false nil"),
        ("xpcall(error, error)", "false error in error handling"),
        ("(pcall(xpcall, error, 'x'))", "false"),
        ("xpcall(error, function(e) local _, inner = pcall(error, 'b') return e .. inner end, 'a')", "false ab"),
    ],
)
def test_xpcall_gives_what_lua_gives(call: str, given: str) -> None:
    """All results of the function, or the one of its handler."""
    text = "for i = 1, select('#', ...) do found[i] = tostring((select(i, ...))) end"
    assert (
        Bench().result(f"local found = {{}} (function(...) {text} end)({call}) return table.concat(found, ' ')")
        == given
    )


def test_a_traceback_of_an_error_names_its_place() -> None:
    """Where scripts have ``debug``, a traceback as handler is taken where the error is."""
    script = (
        "local function f() local function g() error('x') end g() end local _, v = xpcall(f, debug.traceback) return v"
    )
    assert "in function 'g'" in Bench(untrusted_lua="on").result(script)


def test_coroutines_behave_as_in_lua() -> None:
    """Values pass both ways, status is told, errors are results of resume and raised by wrap."""
    bench = Bench()
    assert bench.result(
        """
        local co = coroutine.create(function(a, b)
          local c = coroutine.yield(a + b)
          local d, e = coroutine.yield(c * 2)
          return d + e
        end)
        local out = {coroutine.status(co)}
        for _, args in ipairs({{1, 2}, {10}, {3, 4}}) do
          local ok, value = coroutine.resume(co, unpack(args))
          out[#out + 1] = value
        end
        out[#out + 1] = coroutine.status(co)
        local ok, err = coroutine.resume(co)
        out[#out + 1] = err
        ok, err = pcall(coroutine.wrap(function() error('e', 0) end))
        out[#out + 1] = err
        out[#out + 1] = tostring(coroutine.running() == nil)
        return out
        """
    ) == ["suspended", 3, 20, 7, "dead", "cannot resume dead coroutine", "e", "true"]
    with pytest.raises(ScriptError, match="yield from outside a coroutine"):
        bench.script("coroutine.yield(1)")


def test_log_functions_send_text_at_their_level() -> None:
    """kong.log, its levels and ngx.log reach kong.log.LEVEL with all arguments as text."""
    levels = ("alert", "crit", "err", "warn", "notice", "info", "debug")
    bench = Bench({f"kong.log.{level}": None for level in levels})
    bench.script("kong.log('a', 1, nil, true) kong.log.err('e') ngx.log(ngx.WARN, 'w', 2) kong.log.debug()")
    bench.script("ngx.log(ngx.ERR, {}) ")
    assert bench.host.calls[:4] == [
        ("kong.log.notice", ["a", "1", "nil", "true"]),
        ("kong.log.err", ["e"]),
        ("kong.log.warn", ["w", "2"]),
        ("kong.log.debug", [""]),
    ]
    assert bench.host.calls[4][1][0].startswith("table: ")


def test_nginx_variables_are_read_and_not_written() -> None:
    """ngx.var.NAME asks kong.nginx.get_var; setting one is an error."""
    bench = Bench({"kong.nginx.get_var": lambda name: f"<{name}>"})
    assert bench.result("return ngx.var.request_id") == "<request_id>"
    with pytest.raises(ScriptError, match=r"ngx\.var\.x cannot be set"):
        bench.script("ngx.var.x = 1")


def test_globals_of_a_script_end_with_it() -> None:
    """Every run has its own globals, also through _G."""
    bench = Bench()
    assert bench.result("x = 1 _G.y = 2 return {x, y, _G.x, _G._G == _G}") == [1, 2, 1, True]
    assert bench.result("return {x == nil, y == nil}") == [True, True]


def test_scripts_do_not_have_the_shortcuts_of_expressions() -> None:
    """headers, query_params, uri_captures, shared and callouts are nil in by_lua."""
    names = ("headers", "query_params", "uri_captures", "shared", "callouts")
    assert Bench().result(f"return {{{', '.join(f'{name} == nil' for name in names)}}}") == [True] * 5


def test_the_same_script_runs_twice_at_once_with_its_own_globals() -> None:
    """A run that waits for Kong keeps its globals while the same script runs again."""
    bench = Bench()
    script = bench.lua.script(
        "x = (x or 0) + 1 local n = kong.request.get_path() kong.ctx.shared.callouts[tostring(n)] = x", "where"
    )
    depth = 0

    def again() -> Any:
        nonlocal depth
        depth += 1
        mine = depth
        if depth < 3:
            script.run(bench.context)
        return mine

    bench.host.answers["kong.request.get_path"] = again
    script.run(bench.context)
    assert bench.context.get(("callouts",)) == {"1": 1, "2": 1, "3": 1}


def test_a_closed_context_cannot_be_used() -> None:
    """After close, a run is an error of the program, and does not leave a context behind."""
    bench = Bench()
    bench.context.close()
    bench.context.close()
    with pytest.raises(RuntimeError, match="closed"):
        bench.script("return 1")


def test_contexts_do_not_see_each_other() -> None:
    """What one request keeps is not there for another in the same state."""
    one = Bench()
    two = Bench(lua=one.lua)
    one.script("kong.ctx.shared.callouts.x = 1 kong.ctx.plugin.y = 2")
    assert two.result("return {kong.ctx.shared.callouts.x == nil, kong.ctx.plugin.y == nil}") == [True, True]
    assert one.result("return kong.ctx.plugin.y") == 2
