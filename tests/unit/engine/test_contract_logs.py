"""What may and what has to stand in a log: the server's own and Kong's record."""

from __future__ import annotations

import logging
import time
from typing import Any

import pytest
from pytest_httpserver import HTTPServer

from request_callout.config.settings import Settings
from request_callout.engine import Engine, Instance
from request_callout.engine.kong import ConnectionLost
from tests.unit.engine.conftest import Access
from tests.unit.engine.kong_double import KongDouble

SECRET = "hunter2-very-secret"


def records(kong: KongDouble) -> str:
    return str(kong.written("kong.log.set_serialize_value"))


def test_a_script_error_in_kongs_record_has_no_secret(access: Access) -> None:
    """What came from a vault is not in Kong's log record either, even if a script's error quotes it."""
    headers = {"custom": {"X": SECRET}, "$refs": {"custom": {"X": "{vault://env/x}"}}}
    request = {"url": f"http://h/$(error('{SECRET}'))", "headers": headers}
    kong = access({"callouts": [{"name": "a", "request": request}]})
    assert "'error'" in records(kong)
    assert SECRET not in records(kong)


@pytest.mark.parametrize("query", ["", "?x=1"])
@pytest.mark.parametrize("reachable", [True, False])
def test_a_url_from_a_vault_is_in_no_log(
    access: Access, httpserver: HTTPServer, caplog: pytest.LogCaptureFixture, query: str, reachable: bool
) -> None:
    """A URL that came from a vault, whose path is a secret then, reaches neither log."""
    caplog.set_level(logging.DEBUG)
    path = f"/services/{SECRET}"
    httpserver.expect_request(path).respond_with_data("")
    url = (httpserver.url_for(path) if reachable else f"http://127.0.0.1:1{path}") + query
    request = {"url": url, "$refs": {"url": "{vault://env/hook}"}}
    kong = access({"callouts": [{"name": "a", "request": request}]})
    own = [record.getMessage() for record in caplog.records if record.name.startswith("request_callout")]
    assert any("callout a" in line for line in own)
    assert SECRET not in str(own)
    assert SECRET not in records(kong)


def test_a_url_that_is_none_is_logged_without_user_info(access: Access, caplog: pytest.LogCaptureFixture) -> None:
    """The line about a URL that is no valid one names neither its user nor its password."""
    kong = access({"callouts": [{"name": "a", "request": {"url": f"$('htp')://user:{SECRET}@h/"}}]})
    assert kong.answer is not None
    assert kong.answer[0] == 500
    assert "no valid" in caplog.text
    assert SECRET not in caplog.text


def test_a_client_cannot_break_a_log_line(
    access: Access, httpserver: HTTPServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The line about a callout stays one line, whatever the names of forwarded parameters are."""
    caplog.set_level(logging.INFO)
    httpserver.expect_request("/").respond_with_data("")
    request = {"url": httpserver.url_for("/"), "query": {"forward": True}}
    access(
        {"callouts": [{"name": "a", "request": request}]}, KongDouble(kong__request__get_raw_query="a%0aERROR%0dx%1b=1")
    )
    [line] = [record.getMessage() for record in caplog.records if "callout a" in record.getMessage()]
    assert line.isprintable()


@pytest.mark.parametrize(
    ("callout", "field"),
    [
        ({"request": {"url": "http://h/", "by_lua": "error('boom')"}}, "config.callouts[1].request.by_lua"),
        ({"request": {"url": "http://h/$(error('boom'))"}}, "config.callouts[1].request.url"),
    ],
)
def test_a_runtime_error_names_callout_field_and_message(
    access: Access, caplog: pytest.LogCaptureFixture, callout: dict[str, Any], field: str
) -> None:
    """The line about a runtime error of Lua has the callout's name, the field and Lua's message."""
    caplog.set_level(logging.ERROR)
    access({"callouts": [{"name": "auth", **callout}]})
    [line] = [record.getMessage() for record in caplog.records]
    assert "auth" in line
    assert field in line
    assert "boom" in line


def test_a_runtime_error_in_a_one_line_value_is_in_line_1(access: Access, caplog: pytest.LogCaptureFixture) -> None:
    """The line number in the message of a runtime error is that within the configured value."""
    access({"callouts": [{"name": "a", "request": {"url": "http://$(nobody.host)/"}}]})
    assert "line 1:" in caplog.text


def test_a_field_that_a_script_left_unusable_is_named(access: Access, caplog: pytest.LogCaptureFixture) -> None:
    """What a script left in the context that has no form outside Lua is blamed on the script's field."""
    by_lua = "kong.ctx.shared.callouts.a.request.params.body = function() end"
    access({"callouts": [{"name": "a", "request": {"url": "http://h/", "by_lua": by_lua}}]})
    assert "config.callouts[1].request.by_lua" in caplog.text


def callout_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [line for record in caplog.records if "callout " in (line := record.getMessage())]


@pytest.mark.parametrize(("query", "exchanges"), [(False, 0), (True, 1)])
def test_the_id_in_the_log_costs_no_exchange_with_kong(
    access: Access, httpserver: HTTPServer, caplog: pytest.LogCaptureFixture, query: bool, exchanges: int
) -> None:
    """The id of the request is read along with something else, or comes at the end: never on a way of its own."""
    caplog.set_level(logging.INFO)
    httpserver.expect_request("/").respond_with_data("")
    requests = [{"url": httpserver.url_for("/"), "query": {"forward": query}} for _ in range(2)]
    kong = access(
        {"callouts": [{"name": name, "request": one} for name, one in zip("ab", requests, strict=True)]},
        KongDouble(kong__nginx__get_var="id-1"),
    )
    assert kong.exchanges == exchanges
    lines = {line.partition(":")[0] for line in callout_lines(caplog)}  # in either order: they run side by side
    assert lines == {"[id-1] callout a", "[id-1] callout b"}


def test_lines_of_a_request_that_kong_gave_up_are_not_lost(
    access: Access, httpserver: HTTPServer, caplog: pytest.LogCaptureFixture
) -> None:
    """What was done for a request is logged without its id when Kong is gone before it could be asked."""

    def gone() -> None:
        raise ConnectionLost("gone")

    caplog.set_level(logging.INFO)
    httpserver.expect_request("/").respond_with_data("")
    config = {
        "callouts": [{"name": "a", "request": {"url": httpserver.url_for("/")}}],
        "upstream": {"by_lua": "kong.request.get_path()"},
    }
    with pytest.raises(ConnectionLost):
        access(config, KongDouble(kong__request__get_path=gone))
    assert [line.partition(":")[0] for line in callout_lines(caplog)] == ["[-] callout a"]


def test_kongs_record_can_be_left_alone(httpserver: HTTPServer) -> None:
    """With ``kong_log`` off nothing is put into Kong's log record; the callouts are shared all the same."""
    httpserver.expect_request("/").respond_with_data("")
    for switch in ("on", "off"):
        engine = Engine(Settings(kong_log=switch))
        kong = KongDouble()
        engine.instance(
            {"__plugin_id": "p", "callouts": [{"name": "a", "request": {"url": httpserver.url_for("/")}}]}
        ).access(kong)
        engine.close()
        assert bool(kong.written("kong.log.set_serialize_value")) is (switch == "on")
        assert "a" in kong.shared()


def lines_of(access: Access, caplog: pytest.LogCaptureFixture, config: dict[str, Any], kong: KongDouble) -> list[Any]:
    """The fields of the lines about one request."""
    access(config, kong)
    return [record.fields for record in caplog.records if hasattr(record, "fields")]


def test_lines_of_a_request_have_its_id_route_and_plugin(
    access: Access, httpserver: HTTPServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Attempt, callout and failure: each line has Kong's id, the route's name, the plugin's id and the callout."""
    caplog.set_level(logging.DEBUG)
    httpserver.expect_request("/").respond_with_data("", 503)
    request = {"url": httpserver.url_for("/"), "error": {"http_statuses": [503]}}
    kong = KongDouble(kong__router__get_route={"id": "route-1", "name": "named"})
    attempt, callout, failure = lines_of(access, caplog, {"callouts": [{"name": "a", "request": request}]}, kong)
    for fields in (attempt, callout, failure):
        common = {name: fields[name] for name in ("request_id", "route", "plugin", "callout")}
        assert common == {"request_id": "request-id", "route": "named", "plugin": "p", "callout": "a"}
    assert (attempt["attempt"], attempt["outcome"]) == (1, "status 503")
    assert (callout["status"], callout["attempts"], callout["result"]) == (503, 1, "failed")
    assert failure["result"] == "failed"


def test_the_name_of_a_plugins_own_route_is_asked_for_once_in_a_while(
    engine: Engine, httpserver: HTTPServer, caplog: pytest.LogCaptureFixture
) -> None:
    """A plugin on a route asks for its name with the first request, and no way to Kong is made for it."""
    caplog.set_level(logging.INFO)
    httpserver.expect_request("/").respond_with_data("")
    callout = {"name": "a", "request": {"url": httpserver.url_for("/")}}
    instance = engine.instance({"__plugin_id": "p", "route_id": "route-1", "callouts": [callout]})
    assert isinstance(instance, Instance)
    asked = []
    for _ in range(3):
        kong = KongDouble(kong__router__get_route={"id": "route-1", "name": "named"})
        instance.access(kong)
        asked.append(len(kong.written("kong.router.get_route")))
        assert kong.exchanges == 0
    assert asked == [1, 0, 0]
    assert 0 < instance.route_until - time.monotonic() <= 60
    assert [record.fields["route"] for record in caplog.records if hasattr(record, "fields")] == ["named"] * 3


def test_nothing_is_asked_for_a_log_that_is_not_written(
    access: Access, httpserver: HTTPServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Above info neither the request's id nor the route is asked for."""
    caplog.set_level(logging.WARNING)
    httpserver.expect_request("/").respond_with_data("")
    kong = access({"callouts": [{"name": "a", "request": {"url": httpserver.url_for("/")}}]})
    assert kong.written("kong.nginx.get_var") == kong.written("kong.router.get_route") == []


class MsgpackDouble(KongDouble):
    """An event on MsgPack, where each question is a way of its own."""

    protocol = "MsgPack"


def test_on_msgpack_the_route_is_not_asked_for_the_log_alone(
    access: Access, httpserver: HTTPServer, caplog: pytest.LogCaptureFixture
) -> None:
    """A plugin that is on no route of its own does without the route's name there."""
    caplog.set_level(logging.INFO)
    httpserver.expect_request("/").respond_with_data("")
    config = {"callouts": [{"name": "a", "request": {"url": httpserver.url_for("/")}}]}
    assert len(access(config, KongDouble()).written("kong.router.get_route")) == 1
    assert access(config, MsgpackDouble()).written("kong.router.get_route") == []
