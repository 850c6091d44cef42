from __future__ import annotations

import pytest

from request_callout.lua import ScriptError
from tests.unit.lua.recording_host import Bench


def test_reads_of_kongs_table_ask_kong_once() -> None:
    """A key that Kong has is asked for once in a request; the engine's keys are never asked for."""
    bench = Bench()
    bench.host.shared["a"] = {"n": 1}
    assert bench.result("local s = kong.ctx.shared return s.a.n + s.a.n + (s.callouts and 1 or 0)") == 3
    assert bench.result("return kong.ctx.shared.a.n") == 1
    assert bench.host.calls == [("kong.ctx.shared.get", ["a"])]


def test_writes_reach_kong_and_are_read_back() -> None:
    """Setting a key sends it at once; nil removes it; reading gives what was written."""
    bench = Bench()
    assert bench.result("local s = kong.ctx.shared s.a = 'x' s.b = {1} s.c = 1 s.c = nil return {s.a, s.b[1]}") == [
        "x",
        1,
    ]
    assert bench.host.shared == {"a": "x", "b": [1], "c": None}


@pytest.mark.parametrize("first", ["kong.ctx.shared.t = {n = 1}", "local _ = kong.ctx.shared.t"])
def test_a_table_changed_in_place_is_sent_again(first: str) -> None:
    """A table that Kong knows and a script changes is sent before the script's next call, and at its end."""
    bench = Bench({"kong.request.get_path": "/p"})
    bench.host.shared["t"] = {"n": 1}
    seen = []
    bench.host.answers["kong.request.get_path"] = lambda: seen.append(dict(bench.host.shared["t"]))
    bench.script(f"{first} kong.ctx.shared.t.n = 2 kong.request.get_path() kong.ctx.shared.t.n = 3")
    assert seen == [{"n": 2}]
    assert bench.host.shared["t"] == {"n": 3}


def test_a_table_that_did_not_change_is_not_sent_again() -> None:
    """Reading a table costs no write."""
    bench = Bench({"kong.request.get_path": "/p"})
    bench.host.shared["t"] = {"n": 1}
    bench.script("local n = kong.ctx.shared.t.n kong.request.get_path()")
    bench.script("local n = kong.ctx.shared.t.n")
    assert bench.host.names() == ["kong.ctx.shared.get", "kong.request.get_path"]


def test_callouts_stay_local() -> None:
    """What a script writes at and below kong.ctx.shared.callouts is for the engine to export: Kong is not called."""
    bench = Bench()
    bench.script("kong.ctx.shared.callouts.a = {b = 1}")
    bench.script("kong.ctx.shared.callouts.a.b = 2")
    assert bench.context.get(("callouts", "a", "b")) == 2
    bench.script("kong.ctx.shared.callouts = {c = 1}")
    assert bench.context.get(("callouts",)) == {"c": 1}
    bench.script("kong.ctx.shared.callouts = nil kong.ctx.shared.callouts = {d = 1}")
    assert bench.context.get(("callouts",)) == {"d": 1}
    assert bench.host.calls == []


def test_what_kong_cannot_keep_is_refused_by_name() -> None:
    """A function in kong.ctx.shared is an error where it is set, or where the changed table is sent."""
    bench = Bench()
    with pytest.raises(ScriptError, match=r"line 1: kong\.ctx\.shared\.f: a function cannot be passed on"):
        bench.script("kong.ctx.shared.f = function() end")
    with pytest.raises(ScriptError, match=r"kong\.ctx\.shared\.t: a function cannot be passed on"):
        bench.script("kong.ctx.shared.t = {} kong.ctx.shared.t.f = function() end")
    with pytest.raises(ScriptError, match=r"key of kong\.ctx\.shared must be a string"):
        bench.script("kong.ctx.shared[1] = 1")


def test_the_plugins_own_table_lives_for_the_request() -> None:
    """kong.ctx.plugin is kept between scripts, may hold anything, and never reaches Kong."""
    bench = Bench()
    bench.script("kong.ctx.plugin.f = function() return 7 end")
    assert bench.result("return kong.ctx.plugin.f()") == 7
    assert bench.host.calls == []
