from __future__ import annotations

import pytest

from request_callout.lua import Uses, analyse
from request_callout.lua.analysis import Path, assigns_members, may_change_tables

ALL = frozenset({"headers", "query_params", "uri_captures"})


@pytest.mark.parametrize(
    ("source", "callouts", "everything"),
    [
        ("callouts.A.response.body", {"A"}, False),
        ("callouts['A'].response", {"A"}, False),
        ('callouts["a-b"].response .. callouts.B.x', {"a-b", "B"}, False),
        ("callouts[ [[A]] ].response", {"A"}, False),
        ("callouts['\\65'].x", {"A"}, False),
        ("shared.callouts.A.x", {"A"}, False),
        ("kong.ctx.shared.callouts.A", {"A"}, False),
        ("kong['ctx']['shared'].callouts['A']", {"A"}, False),
        ("kong.ctx.shared.other.thing", set(), False),
        ("shared.other", set(), False),
        ("kong.request.get_path()", set(), False),
        ("x.callouts.A + x.shared", set(), False),
        ("-- callouts\n1", set(), False),
        ("'callouts.A'", set(), False),
        ("callouts[name].x", set(), True),
        ("callouts", set(), True),
        ("pairs(callouts)", set(), True),
        ("callouts['A' .. x]", set(), True),
        ("shared[x]", set(), True),
        ("f(shared)", set(), True),
        ("kong.ctx.shared", set(), True),
        ("kong.ctx[x]", set(), True),
        ("(kong).ctx.shared.callouts.A", set(), True),
        ("kong[x]", set(), True),
        ("f(kong.ctx)", set(), True),
        ("_G['call' .. 'outs']", set(), True),
        ("callouts.A.x .. 'unfinished", set(), True),
    ],
)
def test_the_callouts_that_an_expression_reads(source: str, callouts: set[str], everything: bool) -> None:
    """Names are resolved where they are constant; any other use counts as a use of all."""
    uses = analyse(source, True)
    assert uses.all_callouts is everything
    if not everything:
        assert uses.callouts == callouts


@pytest.mark.parametrize(
    ("source", "callouts", "everything"),
    [
        ("local b = kong.ctx.shared.callouts.A.response.body", {"A"}, False),
        ("local k = kong k.ctx.shared.x = 1", set(), True),
        ("local s = kong.ctx.shared", set(), True),
        ("local c = kong.ctx.shared.callouts", set(), True),
        ("local callouts = 1 return callouts", set(), False),
        ("local log = kong.log log('x')", set(), False),
        ("load('x')", set(), True),
    ],
)
def test_the_callouts_that_a_script_reads(source: str, callouts: set[str], everything: bool) -> None:
    """In scripts only kong leads to the callouts, and an alias of it counts as a use of all."""
    uses = analyse(source, False)
    assert uses == Uses(frozenset(callouts), everything, frozenset(), None)


@pytest.mark.parametrize(
    ("source", "shortcuts"),
    [
        ("headers.x", {"headers"}),
        ("f(headers) .. query_params.q", {"headers", "query_params"}),
        ("uri_captures[1]", {"uri_captures"}),
        ("callouts.a.response.headers.x", set()),
        ("kong.request.get_header('headers')", set()),
        ("_G.headers", ALL),
        ("'unfinished", ALL),
    ],
)
def test_the_shortcuts_that_an_expression_names(source: str, shortcuts: set[str]) -> None:
    """A shortcut counts if its name stands there as a variable."""
    assert analyse(source, True).shortcuts == shortcuts


@pytest.mark.parametrize(
    ("source", "path"),
    [
        ("callouts.auth.response.body.access_token", ("callouts", "auth", "response", "body", "access_token")),
        (" callouts['a'].response.body.items[1].id ", ("callouts", "a", "response", "body", "items", 1, "id")),
        ("shared.callouts.a.response", ("callouts", "a", "response")),
        ("kong.ctx.shared.callouts.a.x", ("callouts", "a", "x")),
        ("headers.host", ("headers", "host")),
        ('headers["X-A"] -- comment', ("headers", "X-A")),
        ("query_params.q", ("query_params", "q")),
        ("uri_captures[1]", ("uri_captures", 1)),
        ("callouts", None),
        ("callouts[x].y", None),
        ("callouts.a[1.5]", None),
        ("callouts.a[-1]", None),
        ("callouts.a .. 'x'", None),
        ("(callouts.a)", None),
        ("callouts.a()", None),
        ("callouts.a:b()", None),
        ("callouts.a.b 'x'", None),
        ("other.a", None),
        ("shared.a", None),
        ("kong.ctx.shared.a", None),
        ("kong.request.x", None),
        ("nil", None),
        ("", None),
    ],
)
def test_a_constant_path_is_recognised(source: str, path: Path | None) -> None:
    """An expression that only follows constant keys from a known root gives its path."""
    assert analyse(source, True).path == path


@pytest.mark.parametrize(
    ("source", "changes"),
    [
        ("callouts.a.response.body", False),
        ("table.concat(callouts.a.items)", False),
        ("table.insert(callouts.a, 1)", True),
        ("(function() callouts.a = 1 end)()", True),
        ("table['ins' .. 'ert'](callouts, 1)", True),
        ("f(table)", True),
        ("'function table.insert'", False),
        ("callouts.table", False),
    ],
)
def test_an_expression_that_could_change_tables_is_seen(source: str, changes: bool) -> None:
    """Only function literals and a few library functions can change what an expression reads."""
    assert may_change_tables(source) is changes


@pytest.mark.parametrize(
    ("source", "assigns"),
    [
        ("local a = kong.ctx.shared.callouts.a", False),
        ("local a, b = 1, 2 c = a", False),
        ("for i = 1, 3 do kong.log(i) end", False),
        ("kong.response.exit(200, {a = 1, b = x.y, [1] = 2, c = {d = 3}})", False),
        ("if a.b == 1 then x = 2 end", False),
        ("a.b = 1", True),
        ("a[b] = 1", True),
        ("x, a.b = 1, 2", True),
        ("a.b, x = 1, 2", True),
        ("a[1], x = 1, 2", True),
        ("f().x, y = 1, 2", True),
        ("local t = {a = 1} t.a = 2", True),
        ("'", True),
    ],
)
def test_an_assignment_to_a_member_is_seen(source: str, assigns: bool) -> None:
    """A script that assigns to plain names only, or in a constructor, changes no table that was there before."""
    assert assigns_members(source) is assigns
