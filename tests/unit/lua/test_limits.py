from __future__ import annotations

import contextlib
import gc
import itertools
import json
import time
from typing import cast

import pytest

from request_callout.config.settings import LuaSettings
from request_callout.lua import Lua, ScriptError
from request_callout.values import Value
from tests.unit.lua.recording_host import Bench

SMALL = LuaSettings(max_instructions=300_000, max_time_ms=2_000, max_memory_bytes=4 * 1024 * 1024)
LONG_MS = 100_000
"""For what is bounded by instructions: on a busy machine a second of work takes many."""

LOOP = "while true do end"

ENDLESS = {
    "loop": LOOP,
    "pcall": f"while true do pcall(function() {LOOP} end) end",
    "pcall of pcall": f"while true do pcall(pcall, pcall, function() {LOOP} end) end",
    "xpcall handler": f"xpcall(function() {LOOP} end, function() {LOOP} end)",
    "xpcall handler after an error": f"xpcall(error, function() {LOOP} end)",
    "coroutine": f"while true do coroutine.resume(coroutine.create(function() {LOOP} end)) end",
    "wrap in pcall": f"while true do pcall(coroutine.wrap(function() {LOOP} end)) end",
    "coroutine left behind": f"local co = coroutine.create(function() pcall(function() {LOOP} end) {LOOP} end) "
    f"while true do coroutine.resume(co) end",
    "recursion in pcall": "local function f() pcall(f) return f() end f()",
    "at the end of the stack": "local function spin() for i = 1, 1e9 do end end "
    "local function level(n) while true do pcall(n > 0 and level or spin, n - 1) end end "
    "local function deep(n) if n == 0 then level(8) end return 1 + deep(n - 1) end "
    "while true do for n = 5000, 12000, 5 do pcall(deep, n) end end",
    "overflow in a handler": "local function f() return 1 + f() end while true do xpcall(f, f) end",
    "overflow in a coroutine": "local function f() return 1 + f() end "
    "while true do coroutine.resume(coroutine.create(f)) end",
    "gsub callback": "('x'):gsub('.', function() while true do end end)",
    "sort comparator": "table.sort({2, 1}, function() while true do end end)",
    "iterator": "for _ in function() return 1 end do end",
    "string building": "local s = 'x' while true do s = (s .. 'x'):sub(-10) end",
    "goto": "::a:: goto a",
    "many pdk calls": "while true do pcall(kong.request.get_path) end",
}


@pytest.mark.parametrize("source", ENDLESS.values(), ids=ENDLESS.keys())
def test_an_endless_script_is_stopped(source: str) -> None:
    """Whatever loops, and whatever tries to catch the stop, ends with an error that names the limit."""
    bench = Bench({"kong.request.get_path": "/"}, lua=Lua(SMALL))
    started = time.monotonic()
    with pytest.raises(ScriptError, match=r"stopped: it took (more than 300000 instructions|longer than 2000 ms)"):
        bench.script(source)
    assert time.monotonic() - started < 5
    assert bench.result("return 'alive'") == "alive"


HUNGRY = {
    "table": "local t = {} for i = 1, 1e9 do t[i] = {} end",
    "strings": "local t = {} for i = 1, 1e9 do t[i] = ('x'):rep(1000) .. i end",
    "doubling": "local s = 'x' while true do s = s .. s end",
    "pcall": "local t = {} while true do pcall(function() t[#t + 1] = ('x'):rep(10000) .. #t end) end",
    "concat": "local t = {} for i = 1, 1000 do t[i] = ('x'):rep(100000) end return table.concat(t)",
    "coroutines": "local t = {} while true do t[#t + 1] = coroutine.create(print or pcall) end",
    "coroutine swallows": "local t = {} while true do "
    "coroutine.resume(coroutine.create(function() for i = 1, 1e9 do t[#t + 1] = {} end end)) end",
    "xpcall": "local t = {} while true do xpcall(function() t[#t + 1] = ('y'):rep(9999) .. #t end, tostring) end",
    "between pdk calls": "local t = {} while true do t[#t + 1] = ('x'):rep(1e6) .. #t kong.request.get_path() end",
    "big results": "local t = {} while true do t[#t + 1] = kong.request.get_raw_body() end",
}


@pytest.mark.parametrize("source", HUNGRY.values(), ids=HUNGRY.keys())
def test_a_script_that_eats_memory_is_stopped(source: str) -> None:
    """Memory is bounded however it is taken, also in pieces between PDK calls; the process and others go on."""
    lua = Lua(LuaSettings(max_memory_bytes=8 * 1024 * 1024, max_instructions=100_000_000))
    other = Bench(lua=lua)
    assert other.result("return 1") == 1
    numbers = itertools.count()

    def body() -> str:
        return f"{next(numbers)}" + "b" * 1_000_000

    bench = Bench({"kong.request.get_path": "/", "kong.request.get_raw_body": body}, lua=lua)
    with pytest.raises(ScriptError, match=r"stopped: it took more than 8388608 bytes of memory|too large"):
        bench.script(source)
    bench.context.close()
    assert other.result("return 'alive'") == "alive"
    assert Bench(lua=lua).result("return 'alive'") == "alive"


def test_a_state_that_ran_out_of_memory_gets_no_new_requests() -> None:
    """Requests in flight keep their state and tables; new ones get a fresh state."""
    lua = Lua(SMALL)
    before = Bench(lua=lua)
    before.script("kong.ctx.shared.callouts.kept = 1")
    with pytest.raises(ScriptError, match="memory"):
        Bench(lua=lua).script("local t = {} while true do t[#t + 1] = ('x'):rep(10000) .. #t end")
    after = Bench(lua=lua)
    assert after.context.state is not before.context.state
    assert before.context.get(("callouts", "kept")) == 1
    assert before.result("return 2") == 2


def test_values_larger_than_the_budget_can_be_put_in() -> None:
    """The limit is for what scripts take: a big body from the engine or from Kong does not end the process."""
    bench = Bench({"kong.request.get_raw_body": lambda: "b" * 3_000_000}, lua=Lua(SMALL))
    bench.context.set(("callouts", "big"), {"body": "x" * 20_000_000})
    assert bench.result("return #kong.ctx.shared.callouts.big.body") == 20_000_000
    assert bench.result("return #kong.request.get_raw_body()") == 3_000_000
    assert bench.render("$(#callouts.big.body)") == "20000000"


def test_garbage_between_pdk_calls_does_not_count() -> None:
    """A script that makes and drops more than its budget, a piece at a time, is not stopped."""
    lua = Lua(LuaSettings(max_memory_bytes=8 * 1024 * 1024))
    bench = Bench({"kong.request.get_path": "/"}, lua=lua)
    assert (
        bench.result("for i = 1, 40 do local s = ('x'):rep(1e6) .. i kong.request.get_path() end return 'done'")
        == "done"
    )


def test_the_time_limit_counts_pdk_calls() -> None:
    """A script that waits for Kong longer than its time is ended at the next answer, and cannot catch it."""
    bench = Bench(max_time_ms=1)

    def slow() -> str:
        until = time.monotonic() + 0.003
        while time.monotonic() < until:
            pass
        return "/"

    bench.host.answers["kong.request.get_path"] = slow
    with pytest.raises(ScriptError, match="longer than 1 ms"):
        bench.script("pcall(kong.request.get_path) kong.ctx.shared.callouts.after = 1")
    assert bench.context.get(("callouts", "after")) is None


def test_deep_recursion_is_an_error_that_can_be_caught() -> None:
    """A stack overflow, in functions or in coroutines inside coroutines, is an ordinary error."""
    bench = Bench()
    assert (
        bench.result("local function f() return 1 + f() end local ok, err = pcall(f) return err:match('overflow')")
        == "overflow"
    )
    with pytest.raises(ScriptError, match="too many coroutines inside one another"):
        bench.script("local function f() return coroutine.wrap(f)() end f()")
    assert (
        bench.result(
            "local function f(n) if n == 0 then return 'ok' end return coroutine.wrap(f)(n - 1) end return f(90)"
        )
        == "ok"
    )


def test_nested_coroutines_that_wait_count_for_their_own_run() -> None:
    """The depth of a run that waits for Kong does not count for others, and is right again afterwards."""
    bench = Bench()
    deep = "local function f(n) if n == 0 then return kong.request.get_path() end return coroutine.wrap(f)(n - 1) end "
    other = Bench({"kong.request.get_path": "/"}, lua=bench.lua)
    bench.host.answers["kong.request.get_path"] = lambda: other.result(deep + "return f(90)")
    assert bench.result(deep + "for i = 1, 5 do f(90) end return f(95)") == "/"


@pytest.mark.parametrize("work", ["s:sub(2)", "s .. s", "('%s%s'):format(s, s)", "s .. 'a' < s .. 'b'"])
def test_work_in_c_functions_counts(work: str) -> None:
    """A loop over costly C functions is few instructions, but is stopped long before the time limit."""
    bench = Bench({"kong.request.get_path": "/"}, max_time_ms=LONG_MS)
    for call in ("", "kong.request.get_path()"):
        started = time.process_time()
        with pytest.raises(ScriptError, match="than 10000000 instructions"):
            bench.script(f"local s = ('x'):rep(1e6) while true do local x = {work} {call} end")
        assert time.process_time() - started < 5


def test_a_limit_in_an_expression_ends_it() -> None:
    """Expressions have the same limits as scripts."""
    with pytest.raises(ScriptError, match="instructions"):
        Bench(lua=Lua(SMALL)).render(f"$((function() {LOOP} end)())")


def test_programs_of_dropped_configurations_are_forgotten() -> None:
    """A script that nothing refers to any more is removed from the state."""
    lua = Lua(SMALL)
    for _ in range(50):
        Bench(lua=lua).script("return 1")
    gc.collect()
    assert len(lua.state().programs) <= 1


LEFT_BEHIND = {
    "a global": "kept = ('x'):rep(15e6) .. {}",
    "a global of a function": "kept = ('x'):rep(15e6) .. {} function f() return kept end f()",
    "a local": "local kept = ('x'):rep(15e6) .. {} kong.request.get_path()",
    "a value in the context": "kong.ctx.shared.callouts.kept = ('x'):rep(15e6) .. {}",
    "arguments of a call": "kong.log.notice(('x'):rep(15e6) .. {})",
    "an error": "error(('x'):rep(15e6) .. {})",
    "a text to decode": "require('cjson').decode(('x'):rep(15e6) .. {})",
    "a value to encode": "require('cjson').encode({{('x'):rep(15e6) .. {}, print or pcall}})",
    "a value to send": "kong.ctx.shared.other = {{('x'):rep(15e6) .. {}, print or pcall}}",
    "a result": "kong.ctx.shared.other = ('x'):rep(15e6) .. {}",
}


@pytest.mark.parametrize("source", LEFT_BEHIND.values(), ids=LEFT_BEHIND.keys())
def test_nothing_of_a_closed_context_is_kept(source: str) -> None:
    """Whatever a run held is garbage once its context is closed, though its worker and its program stay."""
    lua = Lua()
    numbers = itertools.count()
    answers: dict[str, object] = {"kong.request.get_path": "/", "kong.log.notice": None}
    program = lua.script(source.replace("{}", "kong.plugin.get_id()").replace("{{", "{").replace("}}", "}"), "by_lua")
    template = lua.template("$(('x'):rep(15e6) .. kong.plugin.get_id())", "field")
    state = lua.state()

    def kept() -> int:
        for _ in range(4):  # the runtime halves its buffers at each collection
            state._runtime.gccollect()
        return state._memory_used()

    for _ in range(3):
        bench = Bench({**answers, "kong.plugin.get_id": lambda: str(next(numbers))}, lua=lua)
        with contextlib.suppress(ScriptError):
            program.run(bench.context)
        bench.context.close()
    assert kept() < 4_000_000
    bench = Bench({**answers, "kong.plugin.get_id": lambda: str(next(numbers))}, lua=lua)
    assert len(template.render(bench.context)) > 15_000_000
    bench.context.close()
    assert kept() < 4_000_000
    assert not state.worn


COSTLY = {
    "comparison": "local a, b = ('a'):rep(16e6) .. 'b', ('a'):rep(16e6) .. 'c' while true do if a < b then end end",
    "concatenation": "local s = ('x'):rep(16e6) while true do local x = s .. 'b' end",
    "sub": "local s = ('x'):rep(16e6) while true do local x = s:sub(2) end",
    "format": "local s = ('x'):rep(16e6) while true do local x = ('%q'):format(s) end",
    "number": "local s = ('1'):rep(16e6) while true do tonumber(s) end",
    "maxn": "local t = {} for i = 1, 2e6 do t[i] = i end while true do table.maxn(t) end",
    "remove": "local t = {} for i = 1, 1e6 do t[i] = i end while true do table.remove(t, 1) end",
    "next": "local t = {} for i = 1, 4e5 do t['k' .. i] = 1 end for k in pairs(t) do t[k] = nil end "
    "while true do next(t) end",
    "JSON": "local s = '[' .. ('1,'):rep(4e5) .. '1]' while true do require('cjson').decode(s) end",
    "small JSON": "while true do require('cjson').decode('[1]') end",
    "regular expressions": "local s = ('a'):rep(2000) while true do ngx.re.match(s, '(?:a|b)*c') end",
}


@pytest.mark.parametrize("source", COSTLY.values(), ids=COSTLY.keys())
def test_the_cpu_time_of_a_run_is_bounded(source: str) -> None:
    """However long a single instruction may take, a run under the default limits ends soon after a second."""
    bench = Bench(max_time_ms=LONG_MS)
    started = time.process_time()
    with pytest.raises(ScriptError, match="than 10000000 instructions"):
        bench.script(source)
    assert time.process_time() - started < 2.5


DOCUMENTS = {
    "objects": [
        {"id": n, "name": f"user {n}", "tags": ["a", "b"], "score": 1.5 * n, "no": None} for n in range(12_500)
    ],
    "numbers": list(range(150_000)),
    "strings": ['a string with "quotes" and\nlines'] * 25_000,
}


@pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS.keys())
def test_a_large_json_body_is_within_the_default_limits(document: list[Value]) -> None:
    """JSON counts by its bytes: a script may decode and encode bodies of a megabyte, with time to spare."""
    text = json.dumps(document)
    assert 900_000 < len(text) < 1_250_000
    bench = Bench({"kong.request.get_raw_body": text})
    source = "local c = require('cjson') local t = c.decode(kong.request.get_raw_body()) return { #t, #c.encode(t) }"
    count, size = cast("list[int]", bench.result(source))
    assert count == len(document)
    assert size > 500_000


def test_two_megabytes_of_json_can_be_decoded() -> None:
    """A script may decode a body of two megabytes under the default limits."""
    document = [{"id": n, "name": f"user {n}", "tags": ["a", "b"], "score": 1.5 * n, "no": None} for n in range(25_000)]
    text = json.dumps(document)
    assert len(text) > 1_900_000
    bench = Bench({"kong.request.get_raw_body": text})
    assert bench.result("return #require('cjson').decode(kong.request.get_raw_body())") == len(document)


def test_the_time_between_two_runs_counts_for_neither() -> None:
    """A run has all its CPU time, however much the process has used since the last one, and wherever the hook comes."""
    bench = Bench(lua=Lua(LuaSettings(max_instructions=20_000)))  # and so 2 ms of CPU time
    scripts = [bench.lua.script(f"for i = 1, {steps} do end", "by_lua") for steps in range(60)]
    for script in scripts * 10:
        idle = time.process_time() + 0.0022
        while time.process_time() < idle:
            pass
        script.run(bench.context)
