"""Expressions in values: ``$(...)``."""

from __future__ import annotations

import pytest

from tests.conformance.callee import Reply, reply_json
from tests.conformance.site import Site, callout, function


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("a $(1 + 1) b", "a 2 b"),
        ("$('x')$('y')-$('z')", "xy-z"),
        ("$(('(')..(')'))", "()"),
        ("$((1 + 2) * (3 + 4))", "21"),
        ("$(string.format('%s)', 'a'))", "a)"),
        ("no expression, $5 and $ (x)", "no expression, $5 and $ (x)"),
    ],
)
def test_expression_is_replaced_by_its_result(site: Site, template: str, value: str) -> None:
    """$(expr) inside a value is replaced by its result; parentheses balance; several may stand in one value."""
    assert site.shows(template) == value


@pytest.mark.parametrize("expression", ["nil", "false", "ngx.null", "headers.absent", "query_params.absent"])
def test_nothing_gives_the_empty_string(site: Site, expression: str) -> None:
    """nil, false and ngx.null give the empty string."""
    assert site.sees(expression) == ""


@pytest.mark.parametrize(
    ("expression", "value"),
    [("true", "true"), ("10 / 2", "5"), ("2 ^ 53", "9.007199254741e+15"), ("1.5", "1.5"), ("'s'", "s")],
)
def test_other_results_go_through_tostring(site: Site, expression: str, value: str) -> None:
    """Other results go through LuaJIT's tostring."""
    assert site.sees(expression) == value


def test_escape(site: Site) -> None:
    """$('$(x)') gives $(x)."""
    assert site.shows("a $('$(x)') b") == "a $(x) b"


@pytest.mark.parametrize("value", ["#hash", "#$(headers.x)"])
def test_leading_hash_is_refused(site: Site, value: str) -> None:
    """A value that starts with # is refused, with the hint to write $("#...")."""
    text = site.unusable([callout("a", "/a", query={"custom": {"x": value}})])
    assert not site.gateway.embedded or "$(" in text


def test_leading_hash_by_expression(site: Site) -> None:
    """$("#...") is how a value starts with #."""
    site.configure([callout("a", "/a", query={"custom": {"x": '$("#1")'}})])
    site.get()
    assert site.callee.one().parameters == [("x", "#1")]


@pytest.mark.parametrize(
    "expression", ["headers.x_some_name", 'headers["X-Some-Name"]', 'headers["x-some-name"]', "headers.X_Some_Name"]
)
def test_headers_in_any_case_and_with_underscores(site: Site, expression: str) -> None:
    """Headers are looked up in any case, - also as _."""
    assert site.sees(expression, headers={"X-Some-Name": "value"}) == "value"


def test_query_params(site: Site) -> None:
    """query_params holds the client's parameters, decoded."""
    assert site.sees("query_params.q", "?q=a%20b%26") == "a b&"


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("type(headers.x_many) .. #headers.x_many .. headers.x_many[2]", "table2b"),
        ("type(query_params.many) .. query_params.many[1] .. query_params.many[2]", "table12"),
        ("tostring(query_params.flag)", "true"),
        ("'<' .. query_params.empty .. '>'", "<>"),
    ],
)
def test_repeated_and_bare_values(site: Site, expression: str, value: str) -> None:
    """A repeated header or parameter is a list, a parameter without a value is true."""
    headers = [("X-Many", "a"), ("X-Many", "b")]
    assert site.sees(expression, "?many=1&many=2&flag&empty=", headers) == value


@pytest.mark.parametrize(("expression", "value"), [("uri_captures.id", "42"), ("uri_captures[1]", "42")])
def test_uri_captures(site: Site, expression: str, value: str) -> None:
    """uri_captures holds the captures of the route's path, by name and by number."""
    route = {"paths": [rf"~{site.path}/(?<id>\d+)/"], "strip_path": False}
    assert site.sees(expression, "/42/x", route=route) == value


def test_shared_is_kongs_table(site: Site) -> None:
    """Shared is kong.ctx.shared: what another plugin put there is seen."""
    before = function('kong.ctx.shared.from_another = "seen"', "pre-function")
    assert site.sees("shared.from_another .. kong.ctx.shared.from_another", plugins=[before]) == "seenseen"


def test_callouts_is_the_context(site: Site) -> None:
    """Callouts is kong.ctx.shared.callouts."""
    expression = "callouts.a.response.body.name .. kong.ctx.shared.callouts.a.response.status"
    site.configure([callout("a", "/a", decode=True)], upstream={"headers": {"custom": {"X-Value": f"$({expression})"}}})
    site.get()
    assert site.upstream.one().header("X-Value") == "callee200"


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("kong.request.get_method()", "GET"),
        ("kong.request.get_header('X-A')", "1"),
        ("ngx.md5('a')", "0cc175b9c0f1b6a831c399e269772661"),
        ("ngx.var.request_method", "GET"),
        ("table.concat({1, 2}, '-')", "1-2"),
        ("math.max(1, 3)", "3"),
    ],
)
def test_expressions_have_kong_ngx_and_the_library(site: Site, expression: str, value: str) -> None:
    """Expressions have kong, ngx and the sandbox's library."""
    assert site.sees(expression, headers={"X-A": "1"}) == value


@pytest.mark.parametrize(
    "expression",
    [
        "kong.service.request.set_header('X-Side', '1')",
        "kong.response.set_header('X-Side', '1')",
        "kong.response.exit(418)",
        "kong.service.request.set_raw_query('side=1')",
    ],
)
def test_expressions_have_no_side_effects(site: Site, expression: str) -> None:
    """A PDK function that would change something raises an error in an expression: 500, and nothing is changed."""
    site.configure(upstream={"headers": {"custom": {"X-Value": f"$({expression})"}}})
    answer = site.get()
    assert (answer.status, answer.json["message"]) == (500, "Internal Server Error")
    assert answer.header("X-Side") is None
    assert not site.upstream.received()


def test_expressions_see_the_request_as_it_came(site: Site) -> None:
    """Expressions see the client's request as it came, not what the callouts' scripts made of it."""
    script = 'kong.service.request.set_header("X-A", "changed")'
    site.configure(
        [callout("a", "/a", by_lua=script)],
        upstream={"headers": {"custom": {"X-Value": "$(headers.x_a)"}}},
    )
    site.get(headers={"X-A": "came"})
    assert site.upstream.one().header("X-Value") == "came"


def test_every_expression_has_globals_of_its_own(site: Site) -> None:
    """A global that an expression sets is not seen by the next."""
    setting = "$((function() leaked = 'yes' return 'set' end)())"
    site.configure([callout("a", "/a", query={"custom": {"a": setting}})], upstream=_header("$(tostring(leaked))"))
    assert site.get().status == 200
    assert site.upstream.one().header("X-Value") == "nil"


def _header(value: str) -> dict[str, object]:
    return {"headers": {"custom": {"X-Value": value}}}


def test_error_in_an_expression_is_500(site: Site) -> None:
    """A runtime error gives the client 500 Internal Server Error, with none of its text, and stops the request."""
    site.configure([callout("a", "/a", query={"custom": {"x": "$(headers.none.field)"}})])
    answer = site.get()
    assert (answer.status, answer.json["message"]) == (500, "Internal Server Error")
    assert b"field" not in answer.body
    assert not site.callee.received()
    assert not site.upstream.received()


@pytest.mark.parametrize("value", ["$(1 +)", "$(", "a $(b", "$(for)"])
def test_syntax_error_in_an_expression_is_refused(site: Site, value: str) -> None:
    """A syntax error in an expression is found when the configuration is validated, with the field's path."""
    text = site.unusable([callout("a", "/a", query={"custom": {"x": value}})])
    assert not site.gateway.embedded or "callouts[1].request.query.custom" in text


def test_a_body_of_null_is_ngx_null(site: Site) -> None:
    """A body that is JSON's null is ngx.null, fresh and from the cache; only a body that is empty is nil."""
    site.callee.on("/null", Reply(200, b"null"))
    site.callee.on("/empty", Reply(204))
    callouts = [callout("n", "/null", decode=True), callout("e", "/empty", decode=True)]
    script = """
        local c = kong.ctx.shared.callouts
        kong.response.exit(200, {c.n.response.body == ngx.null, c.e.response.body == nil})
    """
    site.configure(callouts, upstream={"by_lua": script}, cache={"strategy": "memory"})
    assert [site.get().json, site.get().json] == [[True, True]] * 2


def test_null_from_a_response_is_ngx_null(site: Site) -> None:
    """JSON's null is ngx.null and cjson.null."""
    site.callee.on("/a", reply_json({"nothing": None}))
    expression = "callouts.a.response.body.nothing == ngx.null and require('cjson').null == ngx.null"
    site.configure([callout("a", "/a", decode=True)], upstream=_header(f"$({expression})"))
    assert site.get().status == 200
    assert site.upstream.one().header("X-Value") == "true"
