"""Callouts with ``for_each``."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import gevent
import pytest
from gevent.event import Event

from request_callout.config.settings import Settings
from request_callout.engine import Engine, Instance
from request_callout.transport import OutgoingRequest, TransportError
from tests.unit.engine.conftest import Access
from tests.unit.engine.gevent_callee import PATIENCE_S, Clock, engine_with, until
from tests.unit.engine.kong_double import KongDouble
from tests.unit.engine.sending_double import SendingDouble, path_of

IDS = "$({1, 2, 3})"


def each(items: str = IDS, path: str = "/p/$(item)", *, limits: dict[str, Any] | None = None, **parts: Any) -> Any:
    """A callout ``a`` for each of these."""
    request = {"url": f"http://callee.test{path}", **parts.pop("request", {})}
    response = {"body": {"decode": True}, **parts.pop("response", {})}
    return {
        "name": "a",
        "for_each": {"items": items, **(limits or {})},
        "request": request,
        "response": response,
        **parts,
    }


def items_of(kong: KongDouble) -> Any:
    return kong.shared()["a"]["response"]["items"]


def log_fields(kong: KongDouble) -> Any:
    return kong.written("kong.log.set_serialize_value")[-1][1]["a"]


def failing(*paths: str, status: int = 500) -> Callable[[OutgoingRequest], tuple[int, Any]]:
    """Answers that are errors for these paths; all others get their own path back."""
    return lambda request: (status if path_of(request) in paths else 200, {"path": path_of(request)})


def test_one_call_for_each_element_in_order(engine: Engine, access: Access) -> None:
    """Results stand in the order of the list, each with status, headers and decoded body."""
    double = SendingDouble(engine, failing())
    kong = access({"callouts": [each()]})
    assert sorted(double.paths) == ["/p/1", "/p/2", "/p/3"]
    headers = {"content-type": "application/json"}
    assert items_of(kong) == [{"status": 200, "headers": headers, "body": {"path": f"/p/{n}"}} for n in (1, 2, 3)]


@pytest.mark.parametrize(
    "nothing", ["$(nil)", "$(ngx.null)", "$({})", "$(headers.absent)", "$(require('cjson').decode('[]'))"]
)
def test_nothing_to_do(engine: Engine, access: Access, nothing: str) -> None:
    """Without elements nothing is sent, and the result is an empty list."""
    double = SendingDouble(engine)
    kong = access({"callouts": [each(nothing)]})
    assert (double.sent, kong.answer, items_of(kong)) == ([], None, [])
    assert (log_fields(kong)["count"], log_fields(kong)["failed"]) == (0, 0)


@pytest.mark.parametrize("what", ["$('text')", "$(7)", "$(true)", "$({a = 1})"])
@pytest.mark.parametrize("policy", [{}, {"on_error": "retry"}])
def test_what_is_no_list_is_an_error(engine: Engine, access: Access, what: str, policy: dict[str, Any]) -> None:
    """Anything else than a list fails the callout under its policy, before anything is sent."""
    double = SendingDouble(engine)
    error = {"error_response_code": 502, "error_response_msg": "no list", **policy}
    kong = access({"callouts": [each(what, request={"error": error})]})
    assert double.sent == []
    assert kong.answer is not None
    assert kong.answer[:2] == (502, b"no list")
    assert kong.shared()["a"]["request"]["error"]["reason"] == "error"


def test_too_many_are_an_error(engine: Engine, access: Access) -> None:
    """One element more than ``max_items`` fails the callout before anything is sent."""
    double = SendingDouble(engine)
    assert access({"callouts": [each(limits={"max_items": 2})]}).answer is not None
    assert double.sent == []
    assert access({"callouts": [each(limits={"max_items": 3})]}).answer is None


def test_a_bad_list_may_be_tolerated(engine: Engine, access: Access) -> None:
    """Under ``continue`` the request goes on: no items, and the error in the context and the log."""
    SendingDouble(engine)
    kong = access({"callouts": [each("$(7)", request={"error": {"on_error": "continue"}})]})
    assert kong.answer is None
    assert items_of(kong) == []
    assert "must give a list" in kong.shared()["a"]["request"]["error"]["err"]
    assert "must give a list" in log_fields(kong)["error"]


def test_a_message_for_a_bad_list_may_name_the_item(engine: Engine, access: Access) -> None:
    """Where there is no element, what the message asks of it is empty."""
    SendingDouble(engine)
    error = {"error_response_msg": "bad: $(item.id)$(index)$((item.id or '') .. '.')"}
    kong = access({"callouts": [each("$(7)", request={"error": error})]})
    assert kong.answer is not None
    assert kong.answer[1] == b"bad: ."


@pytest.mark.parametrize("lua", [False, True])
def test_item_and_index_in_every_expression(engine: Engine, access: Access, lua: bool) -> None:
    """URL, query, headers and body see the element, by a plain path or in any expression."""
    double = SendingDouble(engine, failing())
    name = "(item.name or '')" if lua else "item.name"
    index = "(0 + index)" if lua else "index"
    request = {
        "method": "POST",
        "query": {"custom": {"i": f"$({index})"}},
        "headers": {"custom": {"X-Name": f"$({name})"}},
        "body": {"custom": {"name": f"$({name})", "item": "$(item)"}, "typed": True},
    }
    source = '$(require(\'cjson\').decode(\'[{"name":"x"},{"name":"y"}]\'))'
    access({"callouts": [each(source, f"/p/$({name})/$(item.name)", request=request, limits={"concurrency": 1})]})
    assert double.paths == ["/p/x/x?i=1", "/p/y/y?i=2"]
    assert [dict(one.headers)["X-Name"] for one in double.sent] == ["x", "y"]
    assert [json.loads(one.body or b"") for one in double.sent] == [
        {"name": "x", "item": {"name": "x"}},
        {"name": "y", "item": {"name": "y"}},
    ]


@pytest.mark.parametrize(
    ("source", "path"),
    [
        ("$({1, 2})", "/$(item)"),
        ("$({'a', 'b'})", "/$(item)"),
        ("$({'a b', 'b/c'})", "/$(ngx.escape_uri(item))"),
        ("$({{id = 1}, {id = 2}})", "/$(item.id)"),
        ("$({{id = {7, 8}}})", "/$(item.id[2])"),
        ("$({{id = 1}, {}})", "/$(item.id)$(item.id or 'none')"),
        ("$({true, false})", "/$(item)$(tostring(item))"),
        ("$(require('cjson').decode('[null, 1]'))", "/$(item)$(item == ngx.null)"),
    ],
)
def test_paths_in_python_are_what_lua_says(engine: Engine, access: Access, source: str, path: str) -> None:
    """A path below ``item`` gives the same, whether it is followed without Lua or in it."""
    double = SendingDouble(engine)
    access({"callouts": [each(source, path, limits={"concurrency": 1})]})
    forced = path.replace("$(item)", "$((function() return item end)())").replace("$(item.", "$((item).")
    access({"callouts": [each(source, forced, limits={"concurrency": 1})]})
    half = len(double.paths) // 2
    assert double.paths[:half] == double.paths[half:]


def test_the_list_may_come_from_the_client_or_a_callout(engine: Engine, access: Access) -> None:
    """What gives the list is awaited, if it is a callout; the client's body is as good."""
    double = SendingDouble(engine, lambda request: (200, {"ids": [7, 8]}))
    first = {"name": "list", "request": {"url": "http://callee.test/list"}, "response": {"body": {"decode": True}}}
    access({"callouts": [first, each("$(callouts.list.response.body.ids)", "/c/$(item)")]})
    assert sorted(double.paths) == ["/c/7", "/c/8", "/list"]
    assert double.paths[0] == "/list"
    kong = KongDouble(kong__request__get_raw_body=b'["x"]', kong__request__get_header=lambda name: "application/json")
    access({"callouts": [each("$(kong.request.get_body())", "/b/$(item)")]}, kong)
    assert double.paths[-1] == "/b/x"


def test_others_read_the_items(engine: Engine, access: Access) -> None:
    """Later callouts and the upstream request read the results by their places."""
    double = SendingDouble(engine, failing())
    after = {"name": "b", "request": {"url": "http://callee.test/b?x=$(callouts.a.response.items[2].body.path)"}}
    upstream = {"headers": {"custom": {"X-N": "$(#callouts.a.response.items)"}}}
    kong = access({"callouts": [each(), after], "upstream": upstream})
    assert double.paths[-1] == "/b?x=/p/2"
    assert kong.written("kong.service.request.set_header") == [("X-N", "3")]


class Gate:
    """Holds every answer until it is opened, and counts who is held."""

    def __init__(self) -> None:
        self.opened = Event()
        self.now = self.most = 0

    def __call__(self, request: OutgoingRequest) -> tuple[int, Any]:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            self.opened.wait(PATIENCE_S)
        finally:
            self.now -= 1
        return 200, {"path": path_of(request)}


def spawned(engine: Engine, config: dict[str, Any]) -> tuple[gevent.Greenlet[..., None], KongDouble]:
    instance = engine.instance({"__plugin_id": "p", **config})
    assert isinstance(instance, Instance), instance.problems
    kong = KongDouble()
    return gevent.spawn(instance.access, kong), kong


@pytest.mark.parametrize(("concurrency", "most"), [(1, 1), (4, 4), (10, 10), (100, 100)])
def test_no_more_at_once_than_configured(engine: Engine, concurrency: int, most: int) -> None:
    """As many calls as ``concurrency`` allows are in the making at once, and never more."""
    gate = Gate()
    double = SendingDouble(engine, gate)
    listed = "$((function() local t = {} for i = 1, 100 do t[i] = i end return t end)())"
    event, kong = spawned(engine, {"callouts": [each(listed, limits={"concurrency": concurrency})]})
    until(lambda: gate.now == most)
    gevent.sleep(0)
    assert len(double.sent) == most
    gate.opened.set()
    event.get(timeout=PATIENCE_S)
    assert (gate.most, len(items_of(kong))) == (most, 100)


def test_fail_answers_with_the_first_of_the_list(engine: Engine, access: Access) -> None:
    """The element that failed makes the answer, with itself in the message; nothing after it is begun."""
    double = SendingDouble(engine, failing("/p/2"))
    error = {"http_statuses": [500], "error_response_msg": "$(index): $(item) $(callouts.a.response.body.path)"}
    kong = access({"callouts": [each(request={"error": error}, limits={"concurrency": 1})]})
    assert double.paths == ["/p/1", "/p/2"]
    assert kong.answer is not None
    assert kong.answer[:2] == (400, b"2: 2 /p/2")
    own = kong.shared()["a"]
    assert own["request"]["error"] == {"reason": "code", "err": "status 500", "http_code": 500}
    assert [one.get("status") for one in own["response"]["items"]] == [200, 500, None]
    assert (log_fields(kong)["count"], log_fields(kong)["failed"]) == (3, 1)
    assert log_fields(kong)["error"] == "item 2: status 500"


def test_a_failure_ends_the_later_ones_and_awaits_the_earlier(engine: Engine) -> None:
    """What is in flight behind a failed element ends with it; one before it may still fail, and then it counts."""
    gate, ended = Event(), []

    def answer(request: OutgoingRequest) -> tuple[int, Any]:
        try:
            if path_of(request) != "/p/2":
                gate.wait(PATIENCE_S)
        except gevent.GreenletExit:
            ended.append(path_of(request))
            raise
        return 500, {}

    SendingDouble(engine, answer)
    error = {"http_statuses": [500], "error_response_msg": "$(item)"}
    event, kong = spawned(engine, {"callouts": [each(request={"error": error})]})
    until(lambda: ended == ["/p/3"])
    assert not event.ready()
    gate.set()
    event.get(timeout=PATIENCE_S)
    assert kong.answer is not None
    assert kong.answer[:2] == (400, b"1")


def test_continue_keeps_what_there_was(engine: Engine, access: Access) -> None:
    """Each element's place has its response, and an error beside it or in its stead where there was one."""

    def answer(request: OutgoingRequest) -> tuple[int, Any]:
        if path_of(request) == "/p/3":
            raise TransportError("connect", "refused")
        return (500 if path_of(request) == "/p/1" else 200), {"path": path_of(request)}

    SendingDouble(engine, answer)
    error = {"http_statuses": [500], "on_error": "continue"}
    kong = access({"callouts": [each(request={"error": error})]})
    one, two, three = items_of(kong)
    assert (one["status"], one["body"], one["error"]["reason"]) == (500, {"path": "/p/1"}, "code")
    assert (two["status"], "error" in two) == (200, False)
    assert three == {"error": {"reason": "error", "err": "refused"}}
    fields = log_fields(kong)
    assert (fields["count"], fields["failed"], fields["attempts"]) == (3, 2, 3)
    assert fields["error"] == "2 of 3 items failed: item 1: status 500"
    assert kong.answer is None


def test_each_element_is_retried_by_itself(engine: Engine, access: Access) -> None:
    """Retries are counted for each element; one that gets there is no failure."""
    tries: dict[str, int] = {}

    def answer(request: OutgoingRequest) -> tuple[int, Any]:
        path = path_of(request)
        tries[path] = tries.get(path, 0) + 1
        return (200 if tries[path] > int(path[-1]) - 1 else 500), {}

    SendingDouble(engine, answer)
    error = {"http_statuses": [500], "on_error": "retry", "retries": 2}
    kong = access({"callouts": [each(request={"error": error})]})
    assert tries == {"/p/1": 1, "/p/2": 2, "/p/3": 3}
    assert [one["status"] for one in items_of(kong)] == [200, 200, 200]
    assert log_fields(kong)["attempts"] == 6


def test_each_element_has_its_own_key(engine: Engine, access: Access) -> None:
    """Elements are cached one by one: what was fetched for one list is there for another."""
    double = SendingDouble(engine, failing())
    config = {"cache": {"strategy": "memory"}}
    access({"callouts": [each("$({1, 2})")], **config})
    kong = access({"callouts": [each("$({2, 3})")], **config})
    assert sorted(double.paths) == ["/p/1", "/p/2", "/p/3"]
    assert [one["body"]["path"] for one in items_of(kong)] == ["/p/2", "/p/3"]


def test_equal_elements_are_fetched_once(engine: Engine, access: Access) -> None:
    """Equal elements in flight at once share one call, where there is a cache."""
    double = SendingDouble(engine, failing())
    kong = access({"callouts": [each("$({5, 5, 5, 6})")], "cache": {"strategy": "memory"}})
    assert sorted(double.paths) == ["/p/5", "/p/6"]
    assert [one["body"]["path"] for one in items_of(kong)] == ["/p/5", "/p/5", "/p/5", "/p/6"]


def test_time_to_live_and_key_by_the_element(engine: Engine, access: Access) -> None:
    """``cache.ttl`` and ``cache.vary_on`` see the element, and the ttl its own response."""
    double = SendingDouble(engine, lambda request: (200, {"ttl": 60}))
    own = {"ttl": "$(item.keep and callouts.a.response.body.ttl or 0)", "vary_on": ["$(item.whose)"]}
    source = "$({{keep = true, whose = 'x'}, {keep = true, whose = 'y'}, {keep = false, whose = 'z'}})"
    config = {"callouts": [each(source, "/same", cache=own)], "cache": {"strategy": "memory"}}
    access(config)
    assert len(double.sent) == 3
    access(config)
    assert len(double.sent) == 4


def test_request_script_of_each_element(engine: Engine, access: Access) -> None:
    """``request.by_lua`` runs for each element on its own request, and sees which it is."""
    double = SendingDouble(engine, failing())
    script = """
      local own = kong.ctx.shared.callouts.a
      own.request.params.query = { name = own.item.name .. own.index }
      kong.request.get_path()
      own.request.params.headers["X-Item"] = own.item.name
    """
    access({"callouts": [each("$({{name = 'x'}, {name = 'y'}})", "/p", request={"by_lua": script})]})
    assert sorted(double.paths) == ["/p?name=x1", "/p?name=y2"]
    assert all("name=" + dict(one.headers)["X-Item"] in one.url for one in double.sent)


def test_response_script_of_each_element(engine: Engine, access: Access) -> None:
    """``response.by_lua`` runs for each element on its own response; what it leaves there is the result."""
    SendingDouble(engine, failing())
    script = """
      local own = kong.ctx.shared.callouts.a
      kong.request.get_path()
      own.response.body = own.index .. own.response.body.path
      own.response.note = { own.item }
    """
    kong = access({"callouts": [each(response={"by_lua": script})]})
    assert [(one["body"], one["note"]) for one in items_of(kong)] == [("1/p/1", [1]), ("2/p/2", [2]), ("3/p/3", [3])]
    assert items_of(kong)[0]["headers"] == {"content-type": "application/json"}


def test_what_the_scripts_of_elements_left_is_answered(engine: Engine, access: Access) -> None:
    """An answer without a script has the list of what the scripts have made of the responses."""
    SendingDouble(engine, failing())
    script = "local own = kong.ctx.shared.callouts.a; own.response = { path = own.response.body.path }"
    respond = {"body": '{"all": "$(callouts.a.response.items)", "second": "$(callouts.a.response.items[2].path)"}'}
    kong = access({"callouts": [each(response={"by_lua": script})], "upstream": {"respond": respond}})
    assert kong.answer is not None
    assert json.loads(kong.answer[1] or b"") == {"all": [{"path": f"/p/{n}"} for n in (1, 2, 3)], "second": "/p/2"}


def test_scripts_share_what_is_not_the_elements(engine: Engine, access: Access) -> None:
    """What scripts of elements do to other callouts and to the shared context is there for all after them."""
    SendingDouble(engine, failing())
    first = {"name": "first", "request": {"url": "http://callee.test/first"}}
    script = """
      local all = kong.ctx.shared.callouts
      all.first.response.sum = (all.first.response.sum or 0) + all.a.item
      all.added = all.added or {}
      all.added[#all.added + 1] = all.a.index
    """
    read = "$(callouts.first.response.sum) $(#callouts.added) $(callouts.a.response.items[3].status)"
    kong = access(
        {
            "callouts": [first, each(request={"by_lua": script})],
            "upstream": {"headers": {"custom": {"X-A": read}}},
        }
    )
    assert kong.written("kong.service.request.set_header") == [("X-A", "6 3 200")]


def test_a_script_may_answer(engine: Engine, access: Access) -> None:
    """``kong.response.exit`` in a script of one element answers the client."""
    SendingDouble(engine, failing())
    script = "if kong.ctx.shared.callouts.a.index == 2 then kong.response.exit(418, 'short') end"
    kong = access({"callouts": [each(response={"by_lua": script})]})
    assert kong.answer is not None
    assert kong.answer[:2] == (418, b"short")


def test_a_script_must_leave_a_table(engine: Engine, access: Access, caplog: pytest.LogCaptureFixture) -> None:
    """A response that is no table any more ends the request, and the log names the script."""
    SendingDouble(engine, failing())
    script = "kong.ctx.shared.callouts.a.response = 7"
    kong = access({"callouts": [each(response={"by_lua": script})]})
    assert kong.answer is not None
    assert kong.answer[0] == 500
    assert "config.callouts[1].response.by_lua: response must stay a table" in caplog.text


def test_an_expression_that_fails_names_the_element(
    engine: Engine, access: Access, caplog: pytest.LogCaptureFixture
) -> None:
    """The log tells for which element an expression failed."""
    SendingDouble(engine, failing())
    kong = access({"callouts": [each("$({{id = {n = 1}}, {}})", "/$(item.id.n)")]})
    assert kong.answer is not None
    assert kong.answer[0] == 500
    assert "callout a: item 2: config.callouts[1].request.url: " in caplog.text


def test_what_is_not_stored_is_not_in_the_items(engine: Engine, access: Access) -> None:
    """``response.headers.store`` and ``response.body.store`` count for each element."""
    SendingDouble(engine, failing())
    kept = {"headers": {"store": False}, "body": {"decode": True, "store": False}}
    assert items_of(access({"callouts": [each(response=kept)]})) == [{"status": 200}] * 3
    scripted = {
        **kept,
        "by_lua": "kong.ctx.shared.callouts.a.response.path = kong.ctx.shared.callouts.a.response.body.path",
    }
    items = items_of(access({"callouts": [each(response=scripted)]}))
    assert items == [{"status": 200, "path": f"/p/{n}"} for n in (1, 2, 3)]


def test_shared_bodies_count_together() -> None:
    """Bodies of items are shared with other plugins as long as they fit into the limit of one body together."""
    engine = Engine(Settings(share_max_bytes=250))
    SendingDouble(engine, lambda request: (200, {"text": "x" * 100}))
    for scripts in ({}, {"by_lua": "kong.ctx.shared.callouts.a.response.n = 1"}):
        kong = KongDouble()
        engine.instance({"callouts": [each(response=scripts)]}).access(kong)
        assert ["body" in one for one in items_of(kong)] == [True, True, False]
        assert [one["status"] for one in items_of(kong)] == [200, 200, 200]
    engine.close()


def test_each_element_has_a_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Where callouts are logged, so is each element, and then all of them in one line."""
    caplog.set_level(logging.INFO, "request_callout")
    engine = Engine(Settings())
    SendingDouble(engine, failing())
    engine.instance({"callouts": [each("$({1, 2})", limits={"concurrency": 1})]}).access(KongDouble())
    engine.close()
    lines = [record.getMessage().partition("] ")[2].partition(",  ")[0] for record in caplog.records]
    assert lines[0].startswith("callout a, item 1: GET http://callee.test/p/1: status 200")
    assert lines[1].startswith("callout a, item 2: GET http://callee.test/p/2: status 200")
    assert lines[2].startswith("callout a: 2 items, ")


def test_a_condition_comes_before_the_list(engine: Engine, access: Access) -> None:
    """A callout that is skipped does not ask for its list."""
    SendingDouble(engine)
    assert access({"callouts": [each("$(nothing.there)", when="$(nil)")]}).shared() == {"a": {"skipped": True}}


def test_items_read_a_skipped_callout(engine: Engine, access: Access) -> None:
    """A list from a callout that was skipped is empty, and its elements' expressions find nothing there."""
    double = SendingDouble(engine, failing())
    skipped = {"name": "s", "when": "$(nil)", "request": {"url": "http://callee.test/s"}}
    assert items_of(access({"callouts": [skipped, each("$(callouts.s.response.body.list)")]})) == []
    access({"callouts": [skipped, each("$({1})", "/$(item)/$(callouts.s.response.body.x or index)")]})
    assert double.paths == ["/1/1"]


def test_nothing_of_an_element_is_left_in_lua(engine: Engine, access: Access) -> None:
    """The Lua side of each element is given back when the request ends, also when it fails."""
    SendingDouble(engine, failing("/p/2"))
    request = {"by_lua": "local x = 1", "error": {"http_statuses": [500]}}
    access({"callouts": [each(request=request)]})
    before = held(engine)
    for _ in range(20):
        access({"callouts": [each(request=request)]})
    assert held(engine) < before + 20 * 1024


def held(engine: Engine) -> int:
    """Bytes that the Lua state holds."""
    state = engine.lua.state()
    state._runtime.gccollect()
    state._runtime.gccollect()
    return state._memory_used()


def test_a_response_may_be_called_an_error(engine: Engine, access: Access) -> None:
    """``error.when`` judges each element by its own response, with ``item`` at hand."""
    SendingDouble(engine, lambda request: (200, {"ok": path_of(request) != "/p/2"}))
    when = "$(not callouts.a.response.body.ok and index == item)"
    kong = access({"callouts": [each(request={"error": {"when": when, "on_error": "continue"}})]})
    assert ["error" in one for one in items_of(kong)] == [False, True, False]


def test_a_fallback_stands_in_element_by_element(engine: Engine, access: Access) -> None:
    """The fallback of a failed element is made for it, and the error stands beside it."""
    SendingDouble(engine, failing("/p/2"))
    error = {"http_statuses": [500], "on_error": "continue", "fallback": {"status": 203, "body": '{"n": $(item)}'}}
    items = items_of(access({"callouts": [each(request={"error": error})]}))
    assert [(one["status"], one["body"].get("n")) for one in items] == [(200, None), (203, 2), (200, None)]
    assert ["error" in one for one in items] == [False, True, False]


def test_credentials_by_the_element(engine: Engine, access: Access) -> None:
    """Templates of ``request.auth`` see the element."""
    double = SendingDouble(engine, failing())
    auth = {"type": "bearer", "token": "t-$(item)"}
    access({"callouts": [each(request={"auth": auth}, limits={"concurrency": 1})]})
    assert [dict(one.headers)["Authorization"] for one in double.sent] == ["Bearer t-1", "Bearer t-2", "Bearer t-3"]


def test_a_stale_element_is_refreshed_as_itself(access: Access) -> None:
    """What is fetched anew in the background is for the same element, and sees it."""
    clock = Clock()
    engine = engine_with(clock)
    double = SendingDouble(engine, failing())
    own = {"ttl": "$(item == 2 and 10 or 1000)", "stale_while_revalidate": 1000}
    script = "kong.ctx.shared.callouts.a.response.note = kong.ctx.shared.callouts.a.item"
    config = {
        "__plugin_id": "p",
        "callouts": [each(cache=own, response={"by_lua": script})],
        "cache": {"strategy": "memory"},
    }
    instance = engine.instance(config)
    assert isinstance(instance, Instance), instance.problems
    instance.access(KongDouble())
    clock.now += 20
    kong = KongDouble()
    instance.access(kong)
    assert [one["note"] for one in items_of(kong)] == [1, 2, 3]
    engine.background.join(PATIENCE_S)
    assert double.paths[3:] == ["/p/2"]
    clock.now += 5
    instance.access(KongDouble())
    engine.background.join(PATIENCE_S)
    assert len(double.sent) == 4
    engine.close()


def test_an_end_of_the_request_ends_its_elements(engine: Engine) -> None:
    """When a callout beside it ends the request, the elements in flight end too, and none is begun."""
    gate = Gate()
    double = SendingDouble(engine, gate)
    ends = {"name": "z", "request": {"url": "http://callee.test/z"}, "depends_on": []}
    first = {"name": "exit", "request": {"url": "$(nothing.there)"}, "depends_on": []}
    event, kong = spawned(engine, {"callouts": [first, each(limits={"concurrency": 2}), ends]})
    event.get(timeout=PATIENCE_S)
    assert kong.answer is not None
    assert (kong.answer[0], gate.now) == (500, 0)
    assert len(double.sent) <= 3
