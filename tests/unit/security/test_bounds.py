"""What no script may do to the process: hang it, end it, or make it keep memory. Each attack has its own process."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

CPU_SECONDS = 2

PREPARE = """
import sys
from request_callout.config.settings import LuaSettings
from request_callout.lua import Lua, ScriptError
from tests.unit.lua.recording_host import Bench

def resident():
    with open('/proc/self/statm') as file:
        return int(file.read().split()[1]) * 4 // 1024

def attack(lua, source):
    bench = Bench({"kong.request.get_path": "/"}, lua=lua)
    try:
        return bench.result(source)
    except ScriptError as error:
        return str(error)[:200]
    finally:
        bench.context.close()

lua = Lua(LuaSettings(max_time_ms=1000))
"""


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def run(program: str) -> str:
    """The output of a program; fails if it took more than CPU_SECONDS of the processor, or ended by a signal."""
    done = subprocess.run(
        [sys.executable, "-c", PREPARE + program], capture_output=True, text=True, timeout=60, preexec_fn=_limit
    )
    assert done.returncode == 0, f"ended with {done.returncode}: {done.stderr[-500:]}"
    return done.stdout.strip()


UNSTOPPABLE = {
    "find": "return (('a'):rep(3e4)):find('a*a*a*a*b', 0/0)",
    "match": "return (('a'):rep(3e4)):match('a*a*a*a*b', 0/0)",
    "plain find": "return (('a'):rep(8e6)):find(('a'):rep(4e6) .. 'b', 0/0, true)",
    "gsub": "return (('a'):rep(3e4)):gsub('a*a*a*a*b', 'x', 0/0)",
    "rep": "return ('a'):rep(0/0)",
    "insert": "table.insert({1}, -1/0, 2)",
    "concat": "return pcall(table.concat, {}, 'x', -1/0, 1/0)",
    "regular expression": "return ngx.re.find(('a'):rep(3e4), '(a+)+$', '', {pos = 0/0})",
    "format": "return pcall(string.format, '%99999d', 1)",
    "date": "return #os.date(('%c'):rep(1e4), 1e300 - 1e300)",
}


@pytest.mark.parametrize("source", UNSTOPPABLE.values(), ids=UNSTOPPABLE.keys())
def test_odd_numbers_do_not_get_around_the_bounds(source: str) -> None:
    """NaN and infinity as an argument never let C do unbounded work, which no limit could stop."""
    assert run(f'attack(lua, """{source}""")\nprint(attack(lua, "return 1"))') == "1"


SURVIVED = {
    "a coroutine that resumes itself": "local co co = coroutine.wrap(function() return co() end) return pcall(co)",
    "deep JSON": "local c = require('cjson').new() c.decode_max_depth(2147483647) pcall(c.decode, ('['):rep(1e6))",
    "a cycle as JSON": "local c = require('cjson').new() c.encode_max_depth(2147483647) local t = {} t.t = t "
    "pcall(c.encode, t)",
    "recursion through gsub": "local function f() return (('x'):gsub('x', f)) end pcall(f)",
    "recursion through sort": "local function f() table.sort({2, 1}, f) end pcall(f)",
    "recursion in a handler": "local function f() return 1 + f() end xpcall(f, f)",
    "memory in a handler": "xpcall(error, function() local t = {} while true do "
    "t[#t + 1] = ('x'):rep(1e6) .. #t end end)",
    "a suspended coroutine each": "local t = {} for i = 1, 1e6 do t[i] = coroutine.wrap(coroutine.yield) t[i]() end",
    "an error of 16 MB": "error(('x'):rep(16e6))",
    "recursion in a pattern": "for _, p in ipairs{'(?R)', '((?2))((?1))', '(a|(?1))*b'} do "
    "ngx.re.find(('a'):rep(1e5), p) end",
    "captures in a pattern": "ngx.re.find(('ab'):rep(7e6), '(?:(a)|(b))*c')",
    "bad UTF-8 in a pattern": "ngx.re.find('\\255\\237\\160\\128\\0', '\\\\X+', 'U')",
}


def test_the_process_survives() -> None:
    """Deep recursion, memory bombs and odd patterns end with an error or a result, and the next script runs."""
    program = f"""
for source in {list(SURVIVED.values())!r}:
    attack(lua, source)
    assert attack(lua, "return 1") == 1, source
print("alive")"""
    assert run(program) == "alive"


HOARDED = {
    "names of PDK functions": ("pcall(kong[('x'):rep(8e6) .. '%d'])", 12),
    "compiled regular expressions": ("ngx.re.find('a', '(?i)(?:[^%d]|b){300}(?:[^a]|c){300}(?:[^a]|d){300}', 'u')", 16),
    "analysed patterns": ("('x'):find(('a%%d'):rep(15000) .. '%d')", 24),
}


@pytest.mark.parametrize(("source", "count"), HOARDED.values(), ids=HOARDED.keys())
def test_nothing_a_script_names_is_kept_without_a_bound(source: str, count: int) -> None:
    """Caches keyed by a script's own texts stay small in memory, however long the texts are."""
    program = f"""
attack(lua, "return 1")
before = resident()
for n in range({count}):
    attack(lua, {source!r} % n)
lua.state()._runtime.gccollect()
lua.state()._runtime.gccollect()
print(resident() - before)"""
    assert int(run(program)) < 48


def test_a_finished_request_is_let_go() -> None:
    """The values of a closed context are garbage, also those of runs that waited for Kong at the same time."""
    program = """
benches = [Bench(lua=lua) for _ in range(8)]
def nest(place):
    if place < len(benches):
        benches[place].host.answers["kong.request.get_path"] = lambda: nest(place + 1)
        benches[place].script("kong.ctx.shared.callouts.big = ('x'):rep(8e6) .. %d kong.request.get_path()" % place)
    return "/"
nest(0)
for bench in benches:
    bench.context.close()
state = lua.state()
state._runtime.gccollect()
state._runtime.gccollect()
print(state._memory_used() >> 20)"""
    assert int(run(program)) < 16
