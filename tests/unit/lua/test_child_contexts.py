"""Contexts below another, further names for expressions, and nil with members."""

from __future__ import annotations

import pytest

from request_callout.lua import LuaContext, ScriptError, Uses, analyse, encode
from tests.unit.lua.recording_host import Bench


def value(bench: Bench, context: LuaContext, source: str) -> object:
    return bench.lua.template(f"$({source})", "field").value(context)


def test_what_is_set_below_stays_below() -> None:
    """A child's callout is its own; those of the parent are seen in it, and changes of them are the parent's."""
    bench = Bench()
    bench.context.set(("callouts", "other"), {"n": 1})
    one, two = bench.context.child(), bench.context.child()
    one.set(("callouts", "own"), {"n": 10})
    two.set(("callouts", "own"), {"n": 20})
    script = bench.lua.script(
        "local c = kong.ctx.shared.callouts c.other.n = c.other.n + c.own.n c.own.n = 0 c.made = {}", "by_lua"
    )
    script.run(one)
    assert one.get(("callouts", "own")) == {"n": 0}
    assert two.get(("callouts", "own")) == {"n": 20}
    assert bench.context.get(("callouts",)) == {"other": {"n": 11}, "made": {}}
    assert value(bench, two, "callouts.other.n + callouts.own.n") == 31


def test_kongs_table_is_one_for_all() -> None:
    """What a script below sets in the shared context is read above, and sent to Kong once it is changed in place."""
    bench = Bench()
    child = bench.context.child()
    bench.lua.script("kong.ctx.shared.t = {n = 1}", "by_lua").run(child)
    bench.script("kong.ctx.shared.t.n = kong.ctx.shared.t.n + 1")
    assert bench.host.shared == {"t": {"n": 2}}
    assert value(bench, child, "shared.t.n") == 2


@pytest.mark.parametrize("source", ["callouts", "(function() return callouts end)()"])
def test_copies_have_what_is_above_too(source: str) -> None:
    """An expression that works on copies finds the parent's callouts beside the child's, and changes none of them."""
    bench = Bench()
    bench.context.set(("callouts", "other"), {"n": 1})
    child = bench.context.child()
    child.set(("callouts", "own"), {"n": 2})
    both = f"(function() local c = {source} c.other.n = c.other.n + c.own.n return c.other.n end)()"
    assert value(bench, child, both) == 3
    assert value(bench, child, both) == 3


def test_a_closed_child_leaves_its_parent() -> None:
    """Closing a child takes nothing from the context above it, nor from its siblings."""
    bench = Bench()
    bench.context.set(("callouts", "other"), 7)
    one, two = bench.context.child(), bench.context.child()
    one.close()
    assert value(bench, two, "callouts.other") == 7
    assert bench.value("$(callouts.other)") == 7


def test_further_names_are_there_for_one_run() -> None:
    """Names are globals of the expressions that get them; changing what they hold changes nothing for the next."""
    bench = Bench()
    view = bench.context.seeing(encode({"item": {"n": 1}, "index": 3}), forgiving=False)
    changing = "(function() item.n = item.n + index return item.n end)()"
    assert [value(bench, view, changing) for _ in range(2)] == [4, 4]
    assert bench.value("$(item)") is None
    assert bench.lua.template("$(item.n)/$(index)", "field").render(view) == "1/3"


def test_scripts_do_not_get_the_names() -> None:
    """A script with such a context has globals like any other."""
    bench = Bench()
    view = bench.context.seeing(encode({"item": 1}), forgiving=True)
    bench.lua.script("kong.ctx.shared.callouts.kind = type(item)", "by_lua").run(view)
    assert bench.context.get(("callouts", "kind")) == "nil"
    with pytest.raises(ScriptError):
        bench.lua.script("local x = item.x", "by_lua").run(view)


def test_a_large_element_fits_beside_the_budget() -> None:
    """What an expression is given counts little against the memory that it may take itself."""
    bench = Bench(max_memory_bytes=1024 * 1024)
    view = bench.context.seeing(encode({"item": "x" * 900_000}), forgiving=False)
    assert value(bench, view, "#item") == 900_000


def test_nil_has_members_where_that_is_asked_for() -> None:
    """Members of nil are nil for a forgiving expression, at any depth; for the next one they are an error again."""
    bench = Bench()
    view = bench.context.seeing(None, forgiving=True)
    assert value(bench, view, "callouts.a.b.c or 'none'") == "none"
    for strict in (bench.context, bench.context.child()):
        with pytest.raises(ScriptError, match="attempt to index"):
            value(bench, strict, "callouts.a.b")


def test_an_error_does_not_leave_nil_with_members() -> None:
    """Also after a forgiving expression that failed, or was stopped, nil is as it was."""
    bench = Bench(max_instructions=10_000)
    view = bench.context.seeing(None, forgiving=True)
    for source in ("error('x')", "(function() while true do end end)()", "kong.request.get_path()"):
        with pytest.raises(ScriptError):
            value(bench, view, source)
        with pytest.raises(ScriptError, match="attempt to index"):
            bench.value("$(callouts.a.b)")


@pytest.mark.parametrize(
    ("source", "element", "path"),
    [
        ("item", True, ("item",)),
        ("index", True, ("index",)),
        ("item.a['b'][1]", True, ("item", "a", "b", 1)),
        ("item.a .. 'x'", True, None),
        ("callouts.A.item", False, ("callouts", "A", "item")),
        ("x.item + y.index", False, None),
        ("_G.x", True, None),
    ],
)
def test_whether_an_element_is_read(source: str, element: bool, path: tuple[str | int, ...] | None) -> None:
    """The names of an element are seen where they stand alone, and not where they are members."""
    uses = analyse(source, is_expression=True)
    assert (uses.element, uses.path) == (element, path)


def test_a_script_reads_no_element() -> None:
    """In a script ``item`` is a name like any other."""
    assert analyse("local x = item", is_expression=False) == Uses(frozenset(), False, frozenset(), None)
