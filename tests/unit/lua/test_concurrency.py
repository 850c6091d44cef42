from __future__ import annotations

import random

import gevent
import pytest
from gevent.event import Event

from request_callout.config.settings import LuaSettings
from request_callout.lua import Lua, ScriptError
from tests.unit.lua.recording_host import Bench

SCRIPT = """
local me = kong.request.get_path()
x = me
local seen = {}
for i = 1, 5 do
  local ok, echoed = pcall(kong.request.get_header, me .. i)
  seen[#seen + 1] = echoed
  kong.ctx.shared["k" .. i] = {me}
  local co = coroutine.wrap(function() coroutine.yield(kong.request.get_header("co" .. me)) end)
  seen[#seen + 1] = co()
end
kong.ctx.shared.callouts.seen = seen
kong.ctx.shared.callouts.x = x
"""


def test_two_hundred_requests_interleave_in_one_state() -> None:
    """Greenlets that switch at every PDK call keep their results, globals and tables apart."""
    lua = Lua(LuaSettings())
    script = lua.script(SCRIPT, "where")
    template = lua.template("$(kong.request.get_path()):$(callouts.x):$(shared.k1[1])", "where")
    chance = random.Random(7)
    results: dict[int, tuple[object, object, str]] = {}

    def request(number: int) -> None:
        bench = Bench(lua=lua)

        def switching(value: str) -> str:
            for _ in range(chance.randrange(3)):
                gevent.sleep(0)
            return value

        bench.host.answers["kong.request.get_path"] = lambda: switching(f"r{number}")
        bench.host.answers["kong.request.get_header"] = switching
        script.run(bench.context)
        rendered = template.render(bench.context)
        results[number] = (bench.context.get(("callouts", "seen")), bench.host.shared, rendered)
        bench.context.close()

    gevent.joinall([gevent.spawn(request, number) for number in range(200)], raise_error=True)
    for number in range(200):
        seen, shared, rendered = results[number]
        me = f"r{number}"
        expected = [text for i in range(1, 6) for text in (f"{me}{i}", f"co{me}")]
        assert seen == expected
        assert shared == {f"k{i}": [me] for i in range(1, 6)}
        assert rendered == f"{me}:{me}:{me}"


def test_a_greenlet_killed_in_a_call_leaves_the_state_working() -> None:
    """A script whose greenlet is killed while Kong is asked is dropped; others in the state go on."""
    lua = Lua(LuaSettings())
    bench, other = Bench(lua=lua), Bench(lua=lua)
    waiting, never = Event(), Event()

    def wait() -> None:
        waiting.set()
        never.wait()

    bench.host.answers["kong.request.get_path"] = wait
    greenlet = gevent.spawn(bench.script, "pcall(kong.request.get_path) kong.ctx.shared.callouts.after = 1")
    assert waiting.wait(5)
    greenlet.kill()
    assert other.result("return 1") == 1
    assert bench.context.get(("callouts", "after")) is None


def test_a_limit_of_one_request_does_not_touch_those_that_wait() -> None:
    """While one script is stopped by its limits, another that waits for Kong goes on and finishes."""
    lua = Lua(LuaSettings(max_instructions=200_000, max_memory_bytes=4 * 1024 * 1024))
    waiting_one, other = Bench(lua=lua), Bench(lua=lua)

    def meanwhile() -> str:
        for source in ("while true do end", "local t = {} while true do t[#t + 1] = ('x'):rep(10000) .. #t end"):
            with pytest.raises(ScriptError, match="stopped"):
                other.script(source)
        return "/p"

    waiting_one.host.answers["kong.request.get_path"] = meanwhile
    assert waiting_one.result("local t = {1, 2, kong.request.get_path()} return t") == [1, 2, "/p"]
