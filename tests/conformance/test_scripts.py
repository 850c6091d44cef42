"""``by_lua`` scripts: what they have, what they may do, how they end."""

from __future__ import annotations

import json
import threading

import pytest

from tests.conformance.callee import PATIENCE_S, Reply, reply_json
from tests.conformance.site import UPSTREAM_BODY, Site, callout, function


def test_scripts_have_no_shortcuts(site: Site) -> None:
    """Scripts have kong and ngx, but not the shortcuts of expressions."""
    names = ["kong", "ngx", "headers", "query_params", "uri_captures", "shared", "callouts"]
    listed = ", ".join(f"{name} = type({name})" for name in names)
    types = site.returns(f"return {{ {listed} }}")
    assert types.pop("kong") == "table"
    assert types.pop("ngx") == "table"
    assert set(types.values()) == {"nil"}


@pytest.mark.parametrize(
    "call",
    [
        "kong.response.get_header('X')",
        "kong.response.get_headers()",
        "kong.response.get_source()",
        "kong.response.get_status()",
        "kong.service.response.get_header('X')",
        "kong.service.response.get_headers()",
        "kong.service.response.get_raw_body()",
        "kong.service.response.get_status()",
        "kong.log.serialize()",
        "kong.client.authenticate(nil, nil)",
        "kong.client.authenticate('consumer', 'credential')",
        "kong.client.load_consumer('no uuid')",
        "kong.service.request.set_header('X', {1})",
        "kong.service.request.set_headers({X = {true}})",
        "kong.service.request.set_headers({X = {{}}})",
        "kong.service.request.set_query({x = {{}}})",
        "kong.service.request.set_query({1, 2})",
        "kong.response.set_header('X', {1})",
        "kong.response.set_headers({X = {1}})",
    ],
)
def test_what_kong_would_refuse_is_an_error_in_lua(site: Site, call: str) -> None:
    """A call that would be an error inside Kong, and end the request there, is one that the script can catch."""
    got = site.returns(f"local ok, message = pcall(function() {call} end) return {{ok = ok, message = message}}")
    assert got["ok"] is False
    assert call.partition("(")[0] in got["message"]


def test_a_log_line_of_nothing(site: Site) -> None:
    """kong.log without arguments is a line as any other."""
    site.configure(upstream={"by_lua": "kong.log() kong.log.err() kong.log(nil)"})
    assert site.get().body == UPSTREAM_BODY


def test_tables_that_are_no_lists_as_values(site: Site) -> None:
    """As in Kong: of a header's value only the list counts, of a parameter's every member."""
    script = """
        kong.service.request.set_headers({['X-Gone'] = {name = 'value'}})
        kong.service.request.set_query({x = {name = 'value'}, y = '1'})
    """
    site.configure(upstream={"by_lua": script})
    site.get("?z=1", headers={"X-Gone": "here"})
    got = site.upstream.one()
    assert (got.all("X-Gone"), got.query) == ([], "x=value&y=1")


def test_every_run_has_globals_of_its_own(site: Site) -> None:
    """A global that a script sets is seen by no other run, of this request or the next."""
    script = "kong.ctx.shared.seen = tostring(leaked) leaked = 'yes'"
    site.configure(
        [callout("a", "/a", by_lua="leaked = 'yes'", response={"by_lua": script})],
        upstream={"by_lua": "kong.response.exit(200, {seen = kong.ctx.shared.seen, now = tostring(leaked)})"},
    )
    assert [site.get().json for _ in range(2)] == [{"seen": "nil", "now": "nil"}] * 2


def test_scripts_pass_values_through_shared(site: Site) -> None:
    """What passes between scripts goes through kong.ctx.shared."""
    site.configure(
        [callout("a", "/a", by_lua="kong.ctx.shared.t = {n = 1}", response={"by_lua": "kong.ctx.shared.t.n = 2"})],
        upstream={"by_lua": "kong.response.exit(200, {n = kong.ctx.shared.t.n})"},
    )
    assert site.get().json == {"n": 2}


def test_shared_of_another_plugin_is_read(site: Site) -> None:
    """A script reads what an earlier plugin put into kong.ctx.shared."""
    before = function('kong.ctx.shared.earlier = {list = {1, 2}, text = "x"}', "pre-function")
    seen = site.returns("return {e = kong.ctx.shared.earlier}", plugins=[before])
    assert seen == {"e": {"list": [1, 2], "text": "x"}}


def test_shared_is_written_for_later_plugins(site: Site) -> None:
    """What a script puts into kong.ctx.shared is seen by a plugin that runs later."""
    after = function("kong.response.exit(200, kong.ctx.shared.later)")
    site.configure(
        upstream={"by_lua": 'kong.ctx.shared.later = {list = {1, 2}, text = "x", n = 1.5, yes = true}'}, plugins=[after]
    )
    assert site.get().json == {"list": [1, 2], "text": "x", "n": 1.5, "yes": True}


def test_scripts_have_side_effects(site: Site) -> None:
    """Scripts may change the request to the upstream and the response to the client."""
    site.configure(
        upstream={
            "by_lua": """
            kong.service.request.set_header("X-Script", "1")
            kong.service.request.set_method("PUT")
            kong.service.request.set_raw_query("a=1")
            kong.service.request.set_path("/elsewhere")
            kong.response.set_header("X-Answer", "2")
            """
        }
    )
    answer = site.get()
    got = site.upstream.one()
    assert (got.method, got.target, got.header("X-Script")) == ("PUT", "/elsewhere?a=1", "1")
    assert (answer.body, answer.header("X-Answer")) == (UPSTREAM_BODY, "2")


def test_scripts_read_what_they_write(site: Site) -> None:
    """What scripts write they also read: a read first sends the writes that wait."""
    seen = site.returns(
        """
        kong.service.request.set_header("X-A", "written")
        kong.ctx.shared.mine = "kept"
        return {header = kong.request.get_header("X-A"), shared = kong.ctx.shared.mine}
        """,
        headers={"X-A": "came"},
    )
    assert seen == {"header": "written", "shared": "kept"}


@pytest.mark.parametrize(
    "script",
    [
        "local ok, method = pcall(kong.request.get_method) return {v = method}",
        "local co = coroutine.wrap(function() coroutine.yield(kong.request.get_method()) end) return {v = co()}",
        'return {v = (("x"):gsub("x", function() return kong.request.get_method() end))}',
        "local t = {2, 1} local m table.sort(t, function(a, b) m = kong.request.get_method() return a < b end) "
        "return {v = m}",
        'return {v = (ngx.re.gsub("x", "x", function() return kong.request.get_method() end))}',
        "local function each() return function(_, last) if not last then return kong.request.get_method() end end end "
        "for m in each() do return {v = m} end",
        "local ok, v = xpcall(function() return kong.request.get_method() end, tostring) return {v = v}",
        "local ok, v = xpcall(error, function() kong.log.info(1) return kong.request.get_method() end) return {v = v}",
    ],
    ids=["pcall", "coroutine", "gsub", "sort", "ngx.re.gsub", "iterator", "xpcall", "handler of xpcall"],
)
def test_pdk_calls_work_everywhere(site: Site, script: str) -> None:
    """PDK calls work in pcall, xpcall, iterators, the script's coroutines and the callbacks of gsub and sort."""
    assert site.returns(script) == {"v": "GET"}


def test_pdk_reads(site: Site) -> None:
    """The PDK's readers tell of the client's request, the route, the service."""
    seen = site.returns(
        """
        return {
          method = kong.request.get_method(), path = kong.request.get_path(), query = kong.request.get_raw_query(),
          argument = kong.request.get_query_arg("q"), scheme = kong.request.get_scheme(),
          header = kong.request.get_header("x-one"), headers = kong.request.get_headers()["x-one"],
          query_all = kong.request.get_query().q, route = kong.router.get_route().name,
          service = kong.router.get_service().name, ip = kong.client.get_ip(),
        }
        """,
        "/rest?q=1",
        {"X-One": "1"},
    )
    assert seen == {
        "method": "GET",
        "path": f"{site.path}/rest",
        "query": "q=1",
        "argument": "1",
        "scheme": "http",
        "header": "1",
        "headers": "1",
        "query_all": "1",
        "route": site.path[1:],
        "service": f"service-{site.path[1:]}",
        "ip": "127.0.0.1",
    }


def test_absent_is_nil(site: Site) -> None:
    """What is absent is nil: a header, an argument, a key of shared, a consumer."""
    seen = site.returns(
        """
        return {
          header = kong.request.get_header("X-None") == nil, argument = kong.request.get_query_arg("none") == nil,
          shared = kong.ctx.shared.none == nil, consumer = kong.client.get_consumer() == nil,
        }
        """
    )
    assert seen == dict.fromkeys(["header", "argument", "shared", "consumer"], True)


def test_query_arguments(site: Site) -> None:
    """An argument without a value is true, an empty one is empty, and of a repeated one the first counts."""
    script = """
      local function arg(name) return kong.request.get_query_arg(name) end
      kong.response.exit(200, {flag = arg("a"), empty = arg("b"), first = arg("c"), decoded = arg("d e"),
        none = arg("none") == nil, path = kong.request.get_raw_path()})
    """
    site.configure(upstream={"by_lua": script})
    path = f"{site.path}/x%20y"
    expected = {"flag": True, "empty": "", "first": "1", "decoded": "f g", "none": True, "path": path}
    assert site.get("/x%20y?a&b=&c=1&c=2&d%20e=f+g").json == expected


def test_get_body_decodes(site: Site) -> None:
    """kong.request.get_body gives the decoded body, JSON or form."""
    site.configure(upstream={"by_lua": "kong.response.exit(200, {body = kong.request.get_body()})"})
    assert site.post_json({"a": [1, {"b": "c"}]}).json == {"body": {"a": [1, {"b": "c"}]}}
    form = site.request("POST", "", {"Content-Type": "application/x-www-form-urlencoded"}, b"a=1&b=x%20y")
    assert form.json == {"body": {"a": "1", "b": "x y"}}


@pytest.mark.parametrize(
    ("media_type", "body", "given"),
    [
        ("application/json; charset=utf-8", b"[1]", [[1], "", "application/json"]),
        ("application/json", b'"x"', ["", "invalid json body", "application/json"]),
        ("application/json", b"{", ["", "invalid json body", "application/json"]),
        ("multipart/form-data", b"a", [{}, "", "multipart/form-data"]),
        ("text/plain", b"a", ["", "unsupported content type 'text/plain'", "text/plain"]),
        (None, b"a", ["", "missing content type", ""]),
    ],
)
def test_get_body_tells_why_there_is_none(site: Site, media_type: str | None, body: bytes, given: list[object]) -> None:
    """Beside the body, kong.request.get_body gives what was wrong, and the media type."""
    script = "local b, why, kind = kong.request.get_body() kong.response.exit(200, {b or '', why or '', kind or ''})"
    site.configure(upstream={"by_lua": script})
    assert site.request("POST", "", {"Content-Type": media_type} if media_type else {}, body).json == given


def test_set_body_encodes(site: Site) -> None:
    """kong.service.request.set_body encodes a table by the content type."""
    site.configure(upstream={"by_lua": 'kong.service.request.set_body({a = {1, "x"}}, "application/json")'})
    site.request("POST", "", {"Content-Type": "text/plain"}, b"client")
    got = site.upstream.one()
    assert json.loads(got.body) == {"a": [1, "x"]}
    assert got.all("Content-Type") == ["application/json"]


def test_set_body_as_multipart(site: Site) -> None:
    """A table of texts, numbers and booleans becomes fields; the header names the boundary."""
    site.configure(
        upstream={"by_lua": 'kong.service.request.set_body({a = 1.5, b = "é", c = false}, "multipart/form-data")'}
    )
    site.request("POST", "", {"Content-Type": "text/plain"}, b"client")
    got = site.upstream.one()
    (content_type,) = got.all("Content-Type")
    kind, _, boundary = content_type.partition("; boundary=")
    fields = [("a", "1.5"), ("b", "é"), ("c", "false")]
    parts = "".join(f'--{boundary}\r\nContent-Disposition: form-data; name="{n}"\r\n\r\n{v}\r\n' for n, v in fields)
    assert (kind, got.body.decode()) == ("multipart/form-data", f"{parts}--{boundary}--\r\n")


def test_set_body_needs_a_type(site: Site) -> None:
    """Without a type of its own or the client's, it gives nil and says why."""
    script = "local ok, why = kong.service.request.set_body({a = 1}) return {ok == nil, why}"
    assert site.returns(script) == [
        True,
        "content type was neither explicitly given as an argument or received as a header",
    ]


def test_headers_of_any_scalar(site: Site) -> None:
    """Numbers and booleans are headers too; what can't be a length is an error that a script can catch."""
    script = """
      local request = kong.service.request
      request.set_header("X-False", false)
      request.add_header("X-Number", 1.5)
      request.set_headers({["X-True"] = true, ["X-Off"] = false})
      request.set_header("X-Caught", tostring(pcall(request.set_header, "Content-Length", "x")))
    """
    site.configure(upstream={"by_lua": script})
    site.get()
    got = site.upstream.one()
    names = ["X-False", "X-Number", "X-True", "X-Off", "X-Caught"]
    assert [got.header(name) for name in names] == ["false", "1.5", "true", "false", "false"]


def test_raw_body(site: Site) -> None:
    """kong.request.get_raw_body and kong.service.request.set_raw_body carry any bytes."""
    script = "kong.service.request.set_raw_body(kong.request.get_raw_body() .. string.char(0, 255))"
    site.configure(upstream={"by_lua": script})
    site.request("POST", "", {"Content-Type": "application/octet-stream"}, b"\x00\xc3\xa4\xff")
    assert site.upstream.one().body == b"\x00\xc3\xa4\xff\x00\xff"


def test_exit_with_a_table(site: Site) -> None:
    """kong.response.exit with a table answers with JSON."""
    site.configure(upstream={"by_lua": 'kong.response.exit(201, {a = {1, 2}}, {["X-Own"] = "1"})'})
    answer = site.get()
    assert (answer.status, answer.json, answer.header("X-Own")) == (201, {"a": [1, 2]}, "1")
    assert (answer.header("Content-Type") or "").startswith("application/json")
    assert not site.upstream.received()


def test_exit_with_text(site: Site) -> None:
    """kong.response.exit with a string answers with it as it is, bytes included."""
    site.configure(upstream={"by_lua": 'kong.response.exit(202, "a\\0\\255", {["Content-Type"] = "text/x-own"})'})
    answer = site.get()
    assert (answer.status, answer.body, answer.header("Content-Type")) == (202, b"a\x00\xff", "text/x-own")


def test_exit_keeps_headers_set_before(site: Site) -> None:
    """Headers set with kong.response.set_header before kong.response.exit are in the answer."""
    site.configure(upstream={"by_lua": 'kong.response.set_header("X-Before", "1") kong.response.exit(204)'})
    answer = site.get()
    assert (answer.status, answer.header("X-Before"), answer.body) == (204, "1", b"")


def test_response_error(site: Site) -> None:
    """kong.response.error answers with an error of this status and message."""
    site.configure(upstream={"by_lua": 'kong.response.error(403, "not today")'})
    answer = site.request(headers={"Accept": "application/json"})
    assert (answer.status, answer.json["message"]) == (403, "not today")


@pytest.mark.parametrize(
    ("accept", "content_type", "body"),
    [
        ("application/json", "application/json", '{{\n  "message":"{}",\n  "request_id":"{}"\n}}'),
        ("text/plain", "text/plain", "{}\nrequest_id: {}\n"),
        (
            "application/xml;q=0.9, text/*;q=0.1",
            "application/xml",
            '<?xml version="1.0" encoding="UTF-8"?>\n<error>\n  <message>{}</message>\n  <requestid>{}</requestid>\n'
            "</error>\n",
        ),
    ],
)
def test_error_pages_are_kongs(site: Site, accept: str, content_type: str, body: str) -> None:
    """Status, message and page are byte for byte those of Kong itself."""
    site.configure(upstream={"by_lua": "kong.response.error(429)"})
    answer = site.request(headers={"Accept": accept})
    assert answer.header("Content-Type") == f"{content_type}; charset=utf-8"
    assert answer.text == body.format("Too many requests", answer.header("X-Kong-Request-Id"))


def test_headers_of_an_answer_are_scalars(site: Site) -> None:
    """Those of exit too may be booleans and numbers; an error page's message may be empty."""
    site.configure(upstream={"by_lua": "kong.response.error(403, '', {['X-False'] = false, ['X-Number'] = 1.5})"})
    answer = site.request(headers={"Accept": "text/plain"})
    assert (answer.header("X-False"), answer.header("X-Number")) == ("false", "1.5")
    assert answer.text.startswith("\nrequest_id: ")


def test_error_pages_hold_text(site: Site) -> None:
    """What a message brings of markup stays text; a content type of the script's own chooses the page."""
    script = "kong.response.error(400, kong.request.get_header('x-said'), {['Content-Type'] = 'text/html'})"
    site.configure(upstream={"by_lua": script})
    assert "<p>&lt;b&gt;&amp;.</p>" in site.request(headers={"X-Said": "<b>&"}).text


@pytest.mark.parametrize("place", ["request", "response"])
def test_exit_in_a_callouts_script(site: Site, place: str) -> None:
    """kong.response.exit in any by_lua answers the client: nothing runs after it."""
    first = callout("a", "/a")
    first.setdefault(place, {})["by_lua"] = 'kong.response.exit(418, "enough")  error("not reached")'
    site.configure([first, callout("b", "/b", method="POST")])
    answer = site.get()
    assert (answer.status, answer.text) == (418, "enough")
    assert len(site.callee.received("/a")) == (place == "response")
    assert not site.callee.received("/b")
    assert not site.upstream.received()


def test_exit_ends_callouts_in_flight(site: Site) -> None:
    """kong.response.exit does not wait for callouts that are still in flight."""
    answered = threading.Event()
    site.callee.on("/slow", Reply(200, hold=lambda: answered.wait(PATIENCE_S)))
    script = 'kong.response.exit(418, "enough")'
    site.configure(
        [
            callout("a", "/a", depends_on=[], by_lua=script),
            callout("slow", "/slow", depends_on=[]),
        ]
    )
    late = threading.Timer(PATIENCE_S / 2, answered.set)
    late.start()
    answer = site.get()
    at_once = not answered.is_set()
    answered.set()
    late.cancel()
    assert answer.status == 418
    assert at_once


def test_runtime_error_is_500(site: Site) -> None:
    """A runtime error gives the client 500 Internal Server Error and none of the script's text."""
    site.configure([callout("a", "/a", by_lua='error("secret detail")')])
    answer = site.get()
    assert (answer.status, answer.json["message"]) == (500, "Internal Server Error")
    assert b"secret" not in answer.body
    assert not site.callee.received()
    assert not site.upstream.received()


@pytest.mark.parametrize("place", ["request.by_lua", "response.by_lua", "upstream.by_lua"])
def test_syntax_error_in_a_script_is_refused(site: Site, place: str) -> None:
    """A syntax error in a script is found when the configuration is validated, with the field's path and the line."""
    script = "local a = 1\nlocal b = = 2"
    one = callout("a", "/a")
    upstream: dict[str, str] = {}
    if place == "upstream.by_lua":
        upstream["by_lua"] = script
    else:
        one.setdefault(place.split(".", maxsplit=1)[0], {})["by_lua"] = script
    text = site.unusable([one], upstream=upstream)
    if site.gateway.embedded:
        assert place in text
        assert "line 2" in text


def test_empty_array_stays_an_array(site: Site) -> None:
    """JSON null and an empty array stay what they are when encoded again."""
    value: dict[str, object] = {"null": None, "array": [], "object": {}, "nested": [[], {}, None]}
    site.callee.on("/a", reply_json(value))
    site.configure(
        [callout("a", "/a", decode=True)],
        upstream={"by_lua": "kong.response.exit(200, kong.ctx.shared.callouts.a.response.body)"},
    )
    assert site.get().json == value


def test_numbers_keep_their_kind(site: Site) -> None:
    """Whole numbers of a response are encoded again without a fraction, as far as a double holds them."""
    value = {"int": 7, "big": 2**53, "negative": -1, "fraction": 0.5}
    site.callee.on("/a", reply_json(value))
    site.configure(
        [callout("a", "/a", decode=True)],
        upstream={"by_lua": "kong.response.exit(200, kong.ctx.shared.callouts.a.response.body)"},
    )
    answer = site.get()
    assert answer.json["int"] == 7
    assert b"7.0" not in answer.body
    assert (answer.json["negative"], answer.json["fraction"]) == (-1, 0.5)
    assert answer.json["big"] == pytest.approx(2**53)


def test_missing_pdk_function_raises_an_error_that_names_it(site: Site) -> None:
    """A PDK function that the protocol lacks raises an error that names it and the other protocol."""
    script = (
        "local ok, message = pcall(kong.vault.get, '{vault://env/home}') return {ok = ok, message = tostring(message)}"
    )
    seen = site.returns(script)
    if site.gateway.kind == "protobuf":
        assert seen["ok"] is False
        assert "kong.vault.get" in seen["message"]
        assert "MsgPack" in seen["message"]


def test_unknown_pdk_function_does_no_harm(site: Site) -> None:
    """Calling a PDK function that does not exist raises an error or gives nil, and the script goes on."""
    seen = site.returns(
        "local ok, got = pcall(function() return kong.request.no_such_function() end) "
        "return {raised = not ok, got = ok and got or nil, method = kong.request.get_method()}"
    )
    assert seen["method"] == "GET"
    assert seen["raised"] or "got" not in seen
