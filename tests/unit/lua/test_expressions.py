from __future__ import annotations

from typing import Any

import pytest

from request_callout.config.settings import LuaSettings
from request_callout.lua import Headers, Lua, ScriptError
from tests.unit.lua.recording_host import Bench, RecordingHost


@pytest.fixture
def bench() -> Bench:
    bench = Bench(
        {"kong.request.get_path": "/p"},
        headers={"x-request-id": "7", "accept": ["a", "b"]},
        query_params={"q": "1", "flag": True},
        uri_captures={"unnamed": ["first", "second"], "named": {"id": "42"}},
    )
    body = {"token": "T", "n": 1.5, "items": [{"id": 3}], "null": None, "ok": False}
    bench.context.set(("callouts", "auth"), {"response": {"body": body, "headers": Headers({"x-a": "1"})}})
    return bench


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("Bearer $(callouts.auth.response.body.token)", "Bearer T"),
        ("$(callouts['auth'].response.body.items[1].id)", "3"),
        ("$(shared.callouts.auth.response.body.token)", "T"),
        ("$(kong.ctx.shared.callouts.auth.response.body.token)", "T"),
        ("$(callouts.auth.response.headers['X-A'])", "1"),
        ("$(headers['X-Request-Id'])/$(headers.x_request_id)", "7/7"),
        ("$(headers.accept[2])", "b"),
        ("$(query_params.q)$(tostring(query_params.flag))", "1true"),
        ("$(uri_captures[1]).$(uri_captures[2]).$(uri_captures.id)", "first.second.42"),
        ("$(kong.request.get_path())", "/p"),
        ("$(1/3) $(2^53) $(1e100) $(-0.5) $(10)", "0.33333333333333 9.007199254741e+15 1e+100 -0.5 10"),
        ("$(true)", "true"),
        ("[$(nil)$(false)$(ngx.null)$(callouts.auth.response.body.null)]", "[]"),
        ("$('$(x)')", "$(x)"),
        ("$((function() local t = {} for i = 1, 3 do t[i] = i end return table.concat(t, ',') end)())", "1,2,3"),
        ("no expression", "no expression"),
        ("", ""),
        ("$('\\255')", "\udcff"),
        ("é$('é')", "éé"),
    ],
)
def test_a_template_renders_its_expressions(bench: Bench, template: str, expected: str) -> None:
    """Each $(...) is replaced by its result, as tostring gives it; nil, false and null are empty."""
    assert bench.render(template) == expected


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("$(callouts.auth.response.body)", {"token": "T", "n": 1.5, "items": [{"id": 3}], "null": None, "ok": False}),
        ("$(callouts.auth.response.body.n)", 1.5),
        ("$(callouts.auth.response.body.ok)", False),
        ("$(nil)", None),
        ("$(ngx.null)", None),
        ("$({})", {}),
        ("$(1) ", "1 "),
        ("text", "text"),
        ("$(1)$(2)", "12"),
    ],
)
def test_an_expression_alone_keeps_its_type(bench: Bench, template: str, expected: Any) -> None:
    """The value of a template is typed where one expression stands alone, else it is the text."""
    found = bench.value(template)
    assert found == expected
    assert type(found) is type(expected)


def test_a_template_without_expressions_needs_no_state() -> None:
    """Literal text is given back without any Lua."""

    class NoState(Lua):
        def state(self) -> Any:
            raise AssertionError("a state was made")

    lua = NoState(LuaSettings())
    assert lua.template("plain", "field").render(lua.context(RecordingHost())) == "plain"


def test_shortcuts_are_asked_for_once_and_only_when_used(bench: Bench) -> None:
    """The client's tables come from the host at their first use in a request, and are kept."""
    bench.render("$(1)")
    assert bench.host.calls == []
    bench.render("$(headers.accept[1])")
    bench.render("$(headers.accept[2])$(query_params.q)")
    assert bench.host.names() == ["headers", "query_params"]


def test_a_runtime_error_names_the_field_and_the_line(bench: Bench) -> None:
    """The error has the field's path, and the line within the whole value."""
    with pytest.raises(ScriptError) as caught:
        bench.render("a\nb $(callouts.none\n  .response.body)")
    assert caught.value.where == "field"
    assert caught.value.message.startswith("line 3: attempt to index field 'none' (a nil value)")


def test_globals_of_one_expression_are_not_seen_by_the_next(bench: Bench) -> None:
    """Every expression has its own globals, also within one value."""
    assert bench.render("$((function() x = 1 return x end)())$(x)") == "1"
    assert bench.render("$(x)") == ""


@pytest.mark.parametrize(
    "call",
    [
        "kong.service.request.set_header('a', 'b')",
        "kong.service.request.add_header('a', 'b')",
        "kong.service.request.clear_header('a')",
        "kong.service.request.set_raw_body('')",
        "kong.service.set_target('h', 1)",
        "kong.service.set_upstream('u')",
        "kong.response.exit(200)",
        "kong.response.error(400)",
        "kong.response.set_status(200)",
        "kong.response.add_header('a', 'b')",
        "kong.client.authenticate({}, {})",
        "kong.nginx.set_ctx('a', 1)",
        "kong.log.set_serialize_value('a', 1)",
        "kong.service.request.set_something_new(1)",
    ],
)
def test_a_pdk_function_that_changes_something_is_refused(bench: Bench, call: str) -> None:
    """An expression that calls one gets an error that says so, and Kong is not called."""
    with pytest.raises(ScriptError, match="would change something"):
        bench.render(f"$({call})")
    assert bench.host.calls == []


def test_expressions_may_log(bench: Bench) -> None:
    """Writing to the log is allowed."""
    bench.host.answers["kong.log.err"] = None
    bench.render("$(kong.log.err('x', nil, 1))")
    assert bench.host.calls == [("kong.log.err", ["x", "nil", "1"])]


@pytest.mark.parametrize(
    "change",
    [
        "callouts.auth = nil",
        "callouts.auth.response.body.token = 'other'",
        "shared.callouts = {}",
        "shared.callouts.auth.response = nil",
        "kong.ctx.shared.callouts.auth.response.body = 1",
        "table.insert(callouts.auth.response.body.items, 1)",
        "headers.x = 1",
        "query_params.q = 'other'",
    ],
)
def test_assignments_in_an_expression_have_no_effect(bench: Bench, change: str) -> None:
    """What an expression assigns to the tables it sees is gone afterwards."""
    before = bench.context.get(("callouts",))
    bench.render(f"$((function() {change} end)())")
    assert bench.context.get(("callouts",)) == before
    assert bench.render("$(tostring(headers.x))$(query_params.q)") == "nil1"


def test_setting_the_shared_context_in_an_expression_is_refused(bench: Bench) -> None:
    """kong.ctx.shared.x = 1 in an expression is an error, and Kong's table stays."""
    for name in ("kong.ctx.shared", "shared"):
        with pytest.raises(ScriptError, match="cannot be set in an expression"):
            bench.render(f"$((function() {name}.x = 1 end)())")
    assert bench.host.shared == {}


def test_table_insert_in_an_expression_has_no_effect(bench: Bench) -> None:
    """Library functions that change tables work on copies."""
    assert bench.render("$(table.remove(callouts.auth.response.body.items).id)") == "3"
    assert bench.context.get(("callouts", "auth", "response", "body", "items")) == [{"id": 3}]


@pytest.mark.parametrize("source", ["1, 2", "1) + (2", "", "  ", "x = 1", "return 1", "1; return 2", "-- only", "f("])
def test_what_is_not_one_expression_is_refused(source: str) -> None:
    """Lists, statements and broken brackets are found when the value is compiled."""
    assert Bench().lua.check(source, True)


@pytest.mark.parametrize("source", ["1 -- a comment", "(1)", "f(')')", "[[)]]", "{1, 2}", "'a' .. \"b\""])
def test_what_is_one_expression_is_accepted(source: str) -> None:
    """Comments, and brackets within strings, do not confuse the check."""
    assert Bench().lua.check(source, True) == []


def test_a_broken_template_is_refused_with_its_line() -> None:
    """A syntax error in an expression is reported at its line of the whole value, also by the check."""
    lua = Lua(LuaSettings())
    with pytest.raises(ScriptError, match=r"^field: line 2: "):
        lua.template("a\n$(1 +)", "field")
    with pytest.raises(ScriptError, match="not closed"):
        lua.template("$(1", "field")
    assert lua.check("1 +\n\n", True)[0][0] <= 3
