"""``upstream.respond``: the client's answer out of what the callouts said."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from pytest_httpserver import HTTPServer

from tests.unit.engine.conftest import Access
from tests.unit.engine.kong_double import KongDouble

JSON = "application/json; charset=utf-8"
BODY = {"id": 7, "name": "Ida", "tags": [], "none": None, "on": True, "list": [{"n": 1.5}, {"n": 2}], "o": {}}
SCRIPT = "kong.ctx.shared.mine = 1"


@pytest.fixture
def url(httpserver: HTTPServer) -> str:
    httpserver.expect_request("/").respond_with_json(BODY, headers={"X-Trace": "t1", "Content-Type": "text/x"})
    httpserver.expect_request("/bad").respond_with_data("down", status=503)
    return httpserver.url_for("")


@pytest.fixture
def answered(access: Access, url: str) -> Any:
    """Runs callouts ``a`` (which succeeds) and ``b`` (which fails, and the request goes on) with this answer."""

    def run(respond: dict[str, Any], script: str | None = None, **replies: Any) -> KongDouble:
        callouts = [
            {"name": "a", "request": {"url": f"{url}/"}, "response": {"body": {"decode": True}}},
            {
                "name": "b",
                "request": {"url": f"{url}/bad", "error": {"http_statuses": [503], "on_error": "continue"}},
                "response": {"body": {"decode": True}},
            },
        ]
        upstream = {"respond": respond, **({"by_lua": script} if script else {})}
        return access({"callouts": callouts, "upstream": upstream}, KongDouble(**replies))

    return run


def value(answered: Any, template: str, script: str | None = None, **replies: Any) -> Any:
    kong = answered({"body": json.dumps({"v": template})}, script, **replies)
    assert kong.answer is not None
    assert kong.answer[0] == 200, kong.answer
    return json.loads(kong.answer[1])["v"]


R = "callouts.a.response"


@pytest.mark.parametrize("script", [None, SCRIPT], ids=["plain", "scripted"])
@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (f"$({R}.body)", BODY),
        (f"$({R}.body.id)", 7),
        (f"$({R}.body.name)", "Ida"),
        (f"$({R}.body.tags)", []),
        (f"$({R}.body.none)", None),
        (f"$({R}.body.on)", True),
        (f"$({R}.body.list)", BODY["list"]),
        (f"$({R}.body.list[1].n)", 1.5),
        (f"$({R}.body.list[3])", None),
        (f"$({R}.status)", 200),
        (f"$({R}.headers['X-Trace'])", "t1"),
        (f"$({R}.headers.x_trace)", "t1"),
        (f"$({R}.body.id + 1)", 8),
        ("$(nil)", None),
        ("$(1 == 2)", False),
        ("$({1, 'x', {k = 2}})", [1, "x", {"k": 2}]),
        ("$(headers.x_h)", "h"),
        ("$(headers.x_many[2])", "2"),
        ("$(query_params.q)", "1"),
        ("$(query_params.flag)", True),
        ("$(query_params.none)", None),
        ("$(uri_captures[1])", "first"),
        ("$(uri_captures.named)", "second"),
        (f"user $({R}.body.name), $({R}.body.id)$({R}.body.none)!", "user Ida, 7!"),
        (f"$({R}.body.id) ", "7 "),
        ("$('$(x)')", "$(x)"),
        ("plain", "plain"),
        ("", ""),
        ("# hash", "# hash"),
    ],
)
def test_values(answered: Any, template: str, expected: Any, script: str | None) -> None:
    """A string that is one expression alone keeps the type of its value; others are text; so also after a script."""
    client = {
        "kong__request__get_headers": {"x-h": "h", "x-many": ["1", "2"]},
        "kong__request__get_raw_query": "q=1&flag",
        "kong__request__get_uri_captures": {"unnamed": ["first"], "named": {"named": "second"}},
    }
    assert value(answered, template, script, **client) == expected


@pytest.mark.parametrize("script", [None, SCRIPT], ids=["plain", "scripted"])
@pytest.mark.parametrize(
    "path",
    [
        *(f"{R}.body.missing", f"{R}.body.missing.deep[1].er", f"{R}.body.none.x", f"{R}.body.name.x", f"{R}.nothing"),
        *(f"{R}.body.list.x", f"{R}.body[1]", f"{R}.headers['x-none'].y", "callouts.b.response.body.id"),
        *("headers.x_h.y", "headers.none[1]", "query_params.none.x", "uri_captures.none", "uri_captures[9]"),
    ],
)
def test_a_path_that_ends_early_is_null(answered: Any, path: str, script: str | None) -> None:
    """Where a path leads to nothing, as with a callout that failed, its value is null, or nothing within a text."""
    assert value(answered, f"$({path})", script) is None
    assert value(answered, f"[$({path})]", script) == "[]"


def test_what_a_script_left(answered: Any) -> None:
    """The script runs first, and the answer sees what it made of the context."""
    script = f"kong.ctx.{'shared'}.{R}.body.id = 'changed'; kong.ctx.shared.callouts.a.mine = {{1, 2}}"
    assert value(answered, f"$({R}.body.id)", script) == "changed"
    assert value(answered, "$(callouts.a.mine)", script) == [1, 2]
    assert value(answered, "$(callouts.a.mine[2])", script) == 2


@pytest.mark.parametrize(
    ("template", "expected"),
    [(f"$({R}.body.name)", "Ida"), (f"$({R}.body)", BODY), (f"$({R}.headers.x_trace)", "t1"), (f"$({R}.no)", None)],
)
@pytest.mark.parametrize("place", ["request", "response"])
def test_a_callout_after_one_with_a_script(access: Access, url: str, place: str, template: str, expected: Any) -> None:
    """What a callout without a script says is found also where another one's script has run before it."""
    parts: dict[str, Any] = {"request": {"url": f"{url}/"}, "response": {"body": {"decode": True}}}
    first = {"name": "first", **parts, place: {**parts[place], "by_lua": SCRIPT}}
    body = json.dumps({"v": template, "first": "$(callouts.first.response.body.id)"})
    kong = access({"callouts": [first, {"name": "a", **parts}], "upstream": {"respond": {"body": body}}})
    assert kong.answer is not None
    assert json.loads(kong.answer[1] or b"") == {"v": expected, "first": 7}


def test_a_script_that_answers_itself(answered: Any) -> None:
    """A script that exits has the last word."""
    kong = answered({"body": '"ours"'}, "kong.response.exit(202, 'theirs')")
    assert kong.answer[:2] == (202, b"theirs")


def test_structure(answered: Any) -> None:
    """Names, order, nesting and constants of the body stay as they are; names hold no expressions."""
    body = '{"z": [1, 2.5, null, true, {"$(x)": "$(callouts.a.response.body.id)"}], "a": {"b": {}, "c": []}, "ü": "é"}'
    kong = answered({"body": body})
    assert kong.answer[1] == '{"z":[1,2.5,null,true,{"$(x)":7}],"a":{"b":{},"c":[]},"ü":"é"}'.encode()


@pytest.mark.parametrize(
    ("body", "sent"),
    [('"$(callouts.a.response.body.id)"', b"7"), ("[]", b"[]"), ("null", b"null"), ('"text"', b'"text"'), ("1", b"1")],
)
def test_any_json_text(answered: Any, body: str, sent: bytes) -> None:
    """The body may be any JSON text, a string or a number too."""
    assert answered({"body": body}).answer[1] == sent


def test_status_and_headers(answered: Any) -> None:
    """Status and headers are as configured; the Content-Type is JSON's unless another is set."""
    status, _, headers = answered({"body": "{}"}).answer
    assert (status, headers["Content-Type"]) == (200, JSON)
    given = {"content-type": "application/problem+json", "X-Id": f"id $({R}.body.id)", "X-None": "$(callouts.b.x.y)"}
    status, _, headers = answered({"status": 418, "headers": given, "body": "{}"}).answer
    assert status == 418
    assert {name: headers[name] for name in given} == {
        "content-type": "application/problem+json",
        "X-Id": "id 7",
        "X-None": "",
    }
    assert "Content-Type" not in headers


def test_no_body(answered: Any) -> None:
    """Without a body the answer has none, nor a type for it."""
    status, body, headers = answered({"status": 204}).answer
    assert (status, body, "Content-Type" in headers) == (204, None, False)


def test_line_breaks_in_headers(answered: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A value that would end a header line is a 500, and the log names the field."""
    assert answered({"headers": {"X-A": "$('a\\r\\nB: c')"}}).answer[0] == 500
    assert "config.upstream.respond.headers.X-A" in caplog.text


def test_an_expression_that_fails(answered: Any, caplog: pytest.LogCaptureFixture) -> None:
    """An error in an expression that is more than a path is a 500, and the log names the field."""
    assert answered({"body": '{"list": [1, "$(callouts.b.response.body.x + 1)"]}'}).answer[0] == 500
    assert "config.upstream.respond.body.list[2]" in caplog.text


@pytest.mark.parametrize(
    ("when", "answers"),
    [
        ("$(callouts.a.response.status == 200)", True),
        ("$(callouts.a.response.body.on)", True),
        ("$(callouts.a.response.body.id)", True),
        ("$('')", True),
        ("$(0)", True),
        ("$(callouts.a.response.status == 404)", False),
        ("$(nil)", False),
        ("$(callouts.a.response.body.none)", False),
        ("$(callouts.a.response.body.missing.more)", False),
        ("$(callouts.b.response.body.id)", False),
    ],
)
def test_when(answered: Any, when: str, answers: bool) -> None:
    """With ``when`` the client is answered unless it gives nil, null or false; then the request goes on."""
    kong = answered({"body": "{}", "when": when})
    assert (kong.answer is not None) is answers


def test_edits_where_the_request_may_go_on(access: Access) -> None:
    """The upstream request is edited if it may be sent, and left alone if the client is answered in any case."""
    edits = {"headers": {"custom": {"X-A": "1"}}, "query": {"custom": {"a": "1"}}}
    for respond, edited in (({"body": "{}"}, 0), ({"body": "{}", "when": "$(1 == 2)"}, 1)):
        kong = access({"callouts": [], "upstream": {"respond": respond, **edits}})
        assert len(kong.written("kong.service.request.set_header")) == edited
        assert len(kong.written("kong.service.request.set_raw_query")) == edited


def completed(access: Access, *callouts: dict[str, Any], **respond: Any) -> Any:
    config = {"callouts": [{"name": f"c{n}", **one} for n, one in enumerate(callouts)]}
    kong = access({**config, "upstream": {"respond": {"body": "{}", **respond}}})
    assert kong.answer is not None
    return kong.answer[2].get("X-Callouts-Completed")


def test_completed(access: Access, url: str) -> None:
    """X-Callouts-Completed tells whether every callout went well, where one could fail without the client's notice."""
    error = {"http_statuses": [503], "on_error": "continue"}
    good = {"request": {"url": f"{url}/"}}
    may_fail = {"request": {"url": f"{url}/", "error": error}}
    fails = {"request": {"url": f"{url}/bad", "error": error}}
    skipped = {**fails, "when": "$(1 == 2)"}
    falls_back = {"request": {"url": f"{url}/bad", "error": {**error, "fallback": {"body": "{}"}}}}
    items_fail = {**fails, "for_each": {"items": "$({1, 2})"}}
    items_good = {**may_fail, "for_each": {"items": "$({1, 2})"}}
    assert completed(access) is None
    assert completed(access, good) is None
    assert completed(access, good, may_fail) == "true"
    assert completed(access, good, fails) == "false"
    assert completed(access, skipped, may_fail) == "true"
    assert completed(access, falls_back) == "false"
    assert completed(access, items_good) == "true"
    assert completed(access, items_fail) == "false"


def test_completed_of_ones_own(access: Access, url: str) -> None:
    """A header of that name in the configuration is the one that is sent."""
    may_fail = {"request": {"url": f"{url}/", "error": {"on_error": "continue"}}}
    kong = access(
        {"callouts": [{"name": "a", **may_fail}], "upstream": {"respond": {"headers": {"x-callouts-COMPLETED": "m"}}}}
    )
    assert kong.answer is not None
    assert kong.answer[2] == {"x-callouts-COMPLETED": "m"}


def test_reads_of_the_client(access: Access) -> None:
    """What the answer's expressions read of the client is read at once, and what they do not is not."""
    respond = {
        "headers": {"X": "$(query_params.q)"},
        "body": '[["$(headers.a)"], {"x": ["$(uri_captures[1])"]}]',
        "when": "$(headers.b ~= 1)",
    }
    kong = access({"callouts": [], "upstream": {"respond": respond}})
    assert kong.exchanges == 1
    assert {name for name, _ in kong.log if name.startswith("kong.request")} == {
        *("kong.request.get_headers", "kong.request.get_raw_query", "kong.request.get_uri_captures")
    }
    kong = access({"callouts": [], "upstream": {"respond": {"body": '{"a": "$(1 + 1)"}'}}})
    assert (kong.exchanges, kong.answer) == (0, (200, b'{"a":2}', {"Content-Type": JSON}))


def test_constant_paths_need_no_lua(answered: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths of constant keys are followed without a Lua state."""

    def none(*args: object) -> None:
        raise AssertionError("Lua was asked")

    monkeypatch.setattr("request_callout.engine.context.Context._with", none)
    body = {"a": f"$({R}.body)", "b": [f"n $({R}.body.name)"], "c": "$(callouts.b.response.body.x.y)"}
    kong = answered({"body": json.dumps(body), "headers": {"X": f"$({R}.status)"}, "when": f"$({R}.body.on)"})
    assert json.loads(kong.answer[1]) == {"a": BODY, "b": ["n Ida"], "c": None}


def test_a_body_with_lone_bytes(access: Access, httpserver: HTTPServer) -> None:
    """Text that is no UTF-8 goes out as the bytes it came in as."""
    httpserver.expect_request("/raw").respond_with_data(b"\xff", content_type="text/plain")
    callouts = [{"name": "a", "request": {"url": httpserver.url_for("/raw")}}]
    kong = access({"callouts": callouts, "upstream": {"respond": {"body": '["$(callouts.a.response.body)"]'}}})
    assert kong.answer is not None
    assert kong.answer[1] == b'["\xff"]'


def test_nothing_secret_in_the_log(answered: Any, caplog: pytest.LogCaptureFixture) -> None:
    """An answer is not written to the log."""
    caplog.set_level(logging.DEBUG, "request_callout")
    answered({"body": f'"$({R}.body.name)"'})
    assert "Ida" not in caplog.text
