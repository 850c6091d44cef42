"""Policies, caching and the PDK of scripts, where a sentence of the contract meets its edges."""

from __future__ import annotations

import socket
from typing import Any

import gevent
import pytest
from gevent.event import Event
from gevent.server import StreamServer
from pytest_httpserver import HTTPServer

from request_callout.config.settings import Settings
from request_callout.engine import Engine
from tests.unit.engine.conftest import Access
from tests.unit.engine.kong_double import KongDouble


class MsgPackKong(KongDouble):
    protocol = "MsgPack"


def cache_states(engine: Engine, config: dict[str, Any], kongs: list[KongDouble]) -> list[str | None]:
    instance = engine.instance({"__plugin_id": "p", "cache": {"strategy": "memory"}, **config})
    states = []
    for kong in kongs:
        instance.access(kong)
        [(_, record)] = kong.written("kong.log.set_serialize_value")
        states.append(record["a"].get("cache"))
    return states


def test_a_script_may_lift_the_bypass(engine: Engine, httpserver: HTTPServer) -> None:
    """``caching.bypass`` is honoured both ways: a script that sets it to false brings the cache back."""
    httpserver.expect_request("/").respond_with_data("ok")
    request = {"url": httpserver.url_for("/"), "by_lua": "kong.ctx.shared.callouts.a.caching.bypass = false"}
    config = {"callouts": [{"name": "a", "request": request, "cache": {"bypass": True}}]}
    assert cache_states(engine, config, [KongDouble(), KongDouble()]) == ["miss", "hit"]


def test_consumer_groups_are_in_the_key_in_any_order(engine: Engine, httpserver: HTTPServer) -> None:
    """Where Kong can tell the consumer's groups, they are in the key; their order makes no difference."""
    httpserver.expect_request("/").respond_with_data("ok")
    groups = [[{"id": "1"}, {"id": "2"}], [{"id": "2"}, {"id": "1"}], [{"id": "1"}], None]
    kongs: list[KongDouble] = [MsgPackKong(kong__client__get_consumer_groups=one) for one in groups]
    config = {"callouts": [{"name": "a", "request": {"url": httpserver.url_for("/")}}]}
    assert cache_states(engine, config, kongs) == ["miss", "hit", "miss", "miss"]


def test_the_parts_of_the_key_are_read_in_one_exchange(engine: Engine, httpserver: HTTPServer) -> None:
    """Consumer groups, too, are read with everything else: there is at most one gathered read."""
    httpserver.expect_request("/").respond_with_data("ok")
    kong = MsgPackKong(kong__client__get_consumer_groups=[{"id": "1"}])
    config = {"callouts": [{"name": "a", "request": {"url": httpserver.url_for("/")}}]}
    assert cache_states(engine, config, [kong]) == ["miss"]
    assert kong.exchanges == 1


def test_what_the_upstream_makes_of_a_hit_does_not_reach_the_cache(engine: Engine, httpserver: HTTPServer) -> None:
    """A typed body that hands a cached table on, and a script that changes it, leave the cached value alone."""
    httpserver.expect_request("/").respond_with_json({"list": [1]})
    upstream = {
        "body": {"typed": True, "custom": {"b": "$(callouts.a.response.body)"}},
        "by_lua": "table.insert(kong.ctx.shared.callouts.a.response.body.list, 2)",
    }
    callout = {"name": "a", "request": {"url": httpserver.url_for("/")}, "response": {"body": {"decode": True}}}
    kongs = [KongDouble(), KongDouble(), KongDouble()]
    assert cache_states(engine, {"callouts": [callout], "upstream": upstream}, kongs) == ["miss", "hit", "hit"]
    bodies = [kong.written("kong.service.request.set_raw_body") for kong in kongs]
    assert bodies == [[(b'{"b":{"list":[1]}}',)]] * 3


def test_retries_that_were_not_made_do_not_count() -> None:
    """Once the deadline has passed there are no more retries: ``n_retries`` counts those that were made."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        engine = Engine(Settings(deadline_ms=150))
        kong = KongDouble()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        engine.instance({"callouts": [{"name": "a", "request": {"url": url, "error": {"retries": 20}}}]}).access(kong)
        engine.close()
    [(_, record)] = kong.written("kong.log.set_serialize_value")
    assert record["a"]["attempts"] == 1
    assert kong.shared()["a"]["request"]["n_retries"] == 0


def test_a_killed_event_leaves_no_connection_behind(engine: Engine) -> None:
    """When the event itself is ended, the callees of its callouts see their connections closed."""
    both_asked, closed = Event(), Event()
    asked: list[bool] = []
    ended: list[bytes] = []

    def serve(connection: socket.socket, _address: object) -> None:
        connection.recv(65536)
        asked.append(True)
        if len(asked) == 2:
            both_asked.set()
        ended.append(connection.recv(1))
        if len(ended) == 2:
            closed.set()

    callee = StreamServer(("127.0.0.1", 0), serve)
    callee.start()
    url = f"http://127.0.0.1:{callee.server_port}/"
    callouts = [{"name": name, "request": {"url": url, "error": {"on_error": "continue"}}} for name in ("a", "b")]
    kong = KongDouble()
    event = gevent.spawn(engine.instance({"callouts": callouts}).access, kong)
    assert both_asked.wait(5)
    event.kill()
    assert closed.wait(5)
    callee.stop()
    assert ended == [b"", b""]
    assert kong.answer is None


@pytest.mark.parametrize(
    "call",
    [
        "kong.response.error(500, 'x', 'no table')",
        "kong.service.request.set_path('nope')",
        "kong.service.request.set_scheme('ftp')",
        "kong.service.request.set_method('foo')",
        "kong.service.request.set_header('X', nil)",
        "kong.service.request.set_header('X', {})",
        "kong.response.set_status(99)",
        "kong.request.get_headers(5000)",
    ],
)
def test_what_kong_would_refuse_is_an_error_in_lua(access: Access, caplog: pytest.LogCaptureFixture, call: str) -> None:
    """A PDK call that Kong would refuse fails in the script, where ``pcall`` catches it, not inside Kong."""
    name, _, arguments = call.partition("(")
    by_lua = f"local ok, message = pcall({name}, {arguments}\nkong.response.exit(201, tostring(ok))"
    kong = KongDouble(kong__request__get_header=lambda _name: None)
    access({"callouts": [], "upstream": {"by_lua": by_lua}}, kong)
    assert "unexpected error" not in caplog.text
    assert kong.answer is not None
    assert kong.answer[:2] == (201, b"false")


def test_an_error_page_may_have_a_table(access: Access) -> None:
    """``kong.response.error`` takes a table as message, which Kong puts in as JSON."""
    kong = access(
        {"callouts": [], "upstream": {"by_lua": "kong.response.error(503, {a = 1})"}},
        KongDouble(kong__request__get_header=lambda _name: None),
    )
    assert kong.answer is not None
    assert kong.answer[0] == 503
    assert b"a" in (kong.answer[1] or b"")


def test_exit_in_a_callout_ends_the_others_and_shares_the_context(engine: Engine) -> None:
    """``kong.response.exit`` in a callout's script closes the callouts in flight, and what there is is shared."""
    asked, closed = Event(), Event()

    def serve(connection: socket.socket, _address: object) -> None:
        connection.recv(65536)
        asked.set()
        if connection.recv(1) == b"":
            closed.set()

    callee = StreamServer(("127.0.0.1", 0), serve)
    callee.start()

    def path() -> str:
        assert asked.wait(5)
        return "/"

    script = "kong.request.get_path() kong.response.exit(201, 'bye')"
    callouts = [
        {"name": "slow", "request": {"url": f"http://127.0.0.1:{callee.server_port}/"}},
        {"name": "b", "depends_on": [], "request": {"url": "http://127.0.0.1:1/", "by_lua": script}},
    ]
    kong = KongDouble(kong__request__get_path=path)
    engine.instance({"callouts": callouts}).access(kong)
    assert closed.wait(5)
    callee.stop()
    assert kong.answer is not None
    assert kong.answer[:2] == (201, b"bye")
    assert "b" in kong.shared()
