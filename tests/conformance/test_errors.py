"""What counts as an error, and what follows from it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance.callee import PATIENCE_S, Reply, reply_json
from tests.conformance.site import UPSTREAM_BODY, Site, callout

TIMEOUTS = {"connect": 300, "write": 300, "read": 300}
"""Milliseconds: short ones, for callees that keep quiet."""


@pytest.fixture
def dead() -> Iterator[str]:
    """The URL of a port where nobody listens; it is bound, so that nobody else takes it."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}/"


def failing(site: Site, **error: Any) -> None:
    """One callout to /a, where 503 is an error, with this error policy."""
    site.configure([callout("a", "/a", error={"http_statuses": [503], **error})])


@pytest.mark.parametrize("status", [301, 404, 500, 503])
def test_without_statuses_any_response_is_a_success(site: Site, status: int) -> None:
    """Without http_statuses any response is a success, sent once."""
    site.callee.on("/a", Reply(status))
    site.configure([callout("a", "/a", error={"on_error": "retry", "retries": 2})])
    assert site.get().status == 200
    assert site.callee.one()


def test_status_in_the_list_is_an_error(site: Site) -> None:
    """A status in http_statuses is an error: by default the client gets 400 and `service callout error`."""
    site.callee.on("/a", Reply(503))
    failing(site)
    answer = site.get()
    assert (answer.status, answer.text) == (400, "service callout error")
    assert answer.header("Content-Type") == "text/plain; charset=utf-8"
    assert site.callee.one()
    assert not site.upstream.received()


def test_status_not_in_the_list_is_none(site: Site) -> None:
    """Any other status is a success."""
    site.callee.on("/a", Reply(500))
    failing(site)
    assert site.get().status == 200


def test_no_connection_is_an_error(site: Site, dead: str) -> None:
    """A dead host is an error, also without http_statuses; the next request is served."""
    site.configure([callout("a", dead)])
    for _ in range(2):
        answer = site.get()
        assert (answer.status, answer.text) == (400, "service callout error")


def test_unknown_name_is_an_error(site: Site) -> None:
    """A host name that does not exist is an error."""
    timeouts = {"connect": 3000, "write": 3000, "read": 3000}
    site.configure([callout("a", "http://nobody.invalid/", http_opts={"timeouts": timeouts})])
    assert site.get().status == 400


@pytest.mark.parametrize(
    "reply",
    [
        Reply(drop=True),
        Reply(raw=b"this is no HTTP\r\n\r\n"),
        Reply(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort"),
        Reply(raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n"),
    ],
    ids=["closed", "no HTTP", "cut short", "broken chunk"],
)
def test_broken_response_is_an_error(site: Site, reply: Reply) -> None:
    """A response that is broken is an error."""
    site.callee.on("/a", reply)
    site.configure([callout("a", "/a")])
    assert site.get().status == 400


def test_read_timeout_is_an_error(site: Site) -> None:
    """A callee that keeps quiet for longer than timeouts.read is an error."""
    over = threading.Event()
    site.callee.on("/a", Reply(hold=lambda: over.wait(PATIENCE_S)))
    site.configure([callout("a", "/a", http_opts={"timeouts": TIMEOUTS})])
    answer = site.get()
    over.set()
    assert answer.status == 400


def test_read_timeout_counts_for_each_operation(site: Site) -> None:
    """timeouts.read counts for each read: a response that comes in pieces may take longer in all."""
    pieces = [b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", b"a", b"b", b"c", b"d"]
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            for piece in pieces:
                connection.sendall(piece)
                threading.Event().wait(0.15)

    server = threading.Thread(target=serve)
    server.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    body = {"headers": {"custom": {"X-Body": "$(callouts.a.response.body)"}}}
    site.configure([callout("a", url, http_opts={"timeouts": TIMEOUTS})], upstream=body)
    assert site.get().status == 200
    assert site.upstream.one().header("X-Body") == "abcd"
    server.join()
    listener.close()


def test_timeout_of_0_is_the_default(site: Site) -> None:
    """A timeout of 0 means the default, not none."""
    site.configure([callout("a", "/a", http_opts={"timeouts": {"connect": 0, "write": 0, "read": 0}})])
    assert site.get().status == 200


@pytest.mark.parametrize("given", [{"connect": 1}, {"read": 1, "write": 1}])
def test_timeouts_are_all_or_none(site: Site, given: dict[str, int]) -> None:
    """Of connect, write and read all are given or none."""
    site.refused([callout("a", "/a", http_opts={"timeouts": given})])


def test_error_response(site: Site) -> None:
    """on_error: fail answers with error_response_code, and error_response_msg as the whole body."""
    site.callee.on("/a", Reply(503))
    failing(site, on_error="fail", error_response_code=502, error_response_msg="sorry, $(headers.x_who)")
    answer = site.get(headers={"X-Who": "you"})
    assert (answer.status, answer.text) == (502, "sorry, you")
    assert answer.header("Content-Type") == "text/plain; charset=utf-8"


def test_error_response_in_json(site: Site) -> None:
    """The content type is JSON's when the message is a JSON object."""
    site.callee.on("/a", Reply(503))
    failing(site, error_response_msg='{"error": "$(headers.x_who)"}')
    answer = site.get(headers={"X-Who": "you"})
    assert answer.json == {"error": "you"}
    assert (answer.header("Content-Type") or "").startswith("application/json")


@pytest.mark.parametrize("code", [99, 600, 0, -1])
def test_error_response_code_is_an_http_status(site: Site, code: int) -> None:
    """error_response_code is 100 to 599, else the configuration is refused."""
    site.refused([callout("a", "/a", error={"error_response_code": code})])


def test_on_error_defaults_to_fail(site: Site) -> None:
    """Without on_error and retries a callout is tried once."""
    site.callee.on("/a", Reply(503), reply_json({}))
    failing(site)
    assert site.get().status == 400
    assert site.callee.one()


def test_retries_alone_mean_retry(site: Site) -> None:
    """Without on_error, retries alone mean retry: that many more attempts."""
    site.callee.on("/a", Reply(503))
    failing(site, retries=3)
    assert site.get().status == 400
    assert len(site.callee.received()) == 4


def test_retries_default_to_2(site: Site) -> None:
    """on_error: retry alone makes up to two more attempts."""
    site.callee.on("/a", Reply(503))
    failing(site, on_error="retry")
    assert site.get().status == 400
    assert len(site.callee.received()) == 3


def test_retry_stops_at_success(site: Site) -> None:
    """No more attempts are made than are needed."""
    site.callee.on("/a", Reply(503), reply_json({"id": 1}))
    failing(site, on_error="retry", retries=5)
    assert site.get().status == 200
    assert len(site.callee.received()) == 2


def test_retry_sends_the_same(site: Site) -> None:
    """Every attempt sends the same request, body included."""
    site.callee.on("/a", Reply(503), Reply(drop=True), reply_json({}))
    error = {"http_statuses": [503], "retries": 3}
    site.configure([callout("a", "/a", method="POST", body={"custom": {"x": "1"}}, error=error)])
    assert site.get().status == 200
    assert [request.json for request in site.callee.received()] == [{"x": "1"}] * 3


def test_on_error_fail_wins_over_retries(site: Site) -> None:
    """With on_error: fail there is one attempt, whatever retries says."""
    site.callee.on("/a", Reply(503))
    failing(site, on_error="fail", retries=3)
    assert site.get().status == 400
    assert site.callee.one()


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_one_attempt_is_one_request(site: Site, method: str) -> None:
    """An attempt is sent once, also to a callee that takes the request and closes the connection."""
    site.callee.on("/a", Reply(drop=True))
    site.configure([callout("a", "/a", method=method, error={"on_error": "retry", "retries": 1})])
    assert site.get().status == 400
    assert len(site.callee.received()) == 2


def test_retries_are_told(site: Site) -> None:
    """request.retries has an entry for each retry, with reason, err or http_code; request.n_retries counts them."""
    # Not on a kept connection: one that is found closed before anything was received is renewed within the attempt.
    site.callee.on("/a", Reply(503, headers=(("Connection", "close"),)), Reply(drop=True), reply_json({}))
    site.configure([callout("a", "/a", error={"http_statuses": [503], "retries": 3})], witness=True)
    request = site.context()["a"]["request"]
    assert request["n_retries"] == 2
    first, second = request["retries"]
    assert (first["reason"], first["http_code"]) == ("code", 503)
    assert second["reason"] == "error"
    assert second["err"]


def test_no_retries_are_told_too(site: Site) -> None:
    """Without retries n_retries is 0."""
    site.configure([callout("a", "/a")], witness=True)
    assert site.context()["a"]["request"]["n_retries"] == 0


def test_continue_goes_on(site: Site) -> None:
    """on_error: continue goes on to the upstream; the context has the response and request.error the reason."""
    site.callee.on("/a", reply_json({"why": "busy"}, 503, headers=(("X-Why", "busy"),)))
    error = {"http_statuses": [503], "on_error": "continue"}
    site.configure([callout("a", "/a", decode=True, error=error)], witness=True)
    context = site.context()["a"]
    assert context["response"]["status"] == 503
    assert context["response"]["body"] == {"why": "busy"}
    assert context["response"]["headers"]["x-why"] == "busy"
    assert context["request"]["error"]
    assert site.callee.one()


def test_continue_without_a_response(site: Site, dead: str) -> None:
    """on_error: continue goes on without a response too; then there is only the reason."""
    site.configure([callout("a", dead, error={"on_error": "continue"})], witness=True)
    context = site.context()["a"]
    assert context["request"]["error"]
    assert not context.get("response", {}).get("status")


def test_continue_runs_the_response_script(site: Site) -> None:
    """Under continue response.by_lua runs if there was a response."""
    site.callee.on("/a", Reply(503))
    script = "kong.ctx.shared.ran = kong.ctx.shared.callouts.a.response.status"
    error = {"http_statuses": [503], "on_error": "continue"}
    site.configure(
        [callout("a", "/a", error=error, response={"by_lua": script})],
        upstream={"headers": {"custom": {"X-Ran": "$(shared.ran)"}}},
    )
    assert site.get().status == 200
    assert site.upstream.one().header("X-Ran") == "503"


def test_continue_with_a_body_that_cannot_be_decoded(site: Site) -> None:
    """Under continue a body that can't be decoded is no end either: status and reason are there."""
    site.callee.on("/a", Reply(200, b"<html>"))
    site.configure([callout("a", "/a", decode=True, error={"on_error": "continue"})], witness=True)
    context = site.context()["a"]
    assert context["response"]["status"] == 200
    assert context["request"]["error"]


def test_continue_without_a_response_runs_no_script(site: Site, dead: str) -> None:
    """Under continue response.by_lua does not run if there was no response."""
    error = {"on_error": "continue"}
    site.configure([callout("a", dead, error=error, response={"by_lua": "kong.response.exit(418)"})])
    assert (site.get().status, site.upstream.one().path) == (200, "/up")


def test_error_runs_no_response_script(site: Site) -> None:
    """response.by_lua does not run on an error under fail."""
    site.callee.on("/a", Reply(503))
    site.configure([callout("a", "/a", error={"http_statuses": [503]}, response={"by_lua": "kong.response.exit(418)"})])
    assert site.get().status == 400


def test_body_that_cannot_be_decoded_is_an_error(site: Site) -> None:
    """A body that must be decoded and is no JSON is an error of reason `error`, retried as one."""
    site.callee.on("/a", Reply(200, b"<html>"), reply_json({"id": 1}))
    site.configure([callout("a", "/a", decode=True, error={"retries": 1})], witness=True)
    request = site.context()["a"]["request"]
    assert [entry["reason"] for entry in request["retries"]] == ["error"]


def test_body_that_cannot_be_decoded_fails(site: Site) -> None:
    """Without retries a body that is no JSON fails the request."""
    site.callee.on("/a", Reply(200, b"<html>"))
    site.configure([callout("a", "/a", decode=True)])
    assert site.get().status == 400


@pytest.mark.parametrize(("method", "status"), [("GET", 204), ("HEAD", 200), ("GET", 200)])
def test_empty_body_is_no_error(site: Site, method: str, status: int) -> None:
    """An empty body that must be decoded is no error; the body is nil."""
    site.callee.on("/a", Reply(status))
    site.configure(
        [callout("a", "/a", method=method, decode=True)],
        upstream={"headers": {"custom": {"X-Body": "$(tostring(callouts.a.response.body))"}}},
    )
    assert site.get().status == 200
    assert site.upstream.one().header("X-Body") == "nil"


def test_upstream_that_is_down(site: Site, dead: str) -> None:
    """When the upstream is down, the callouts are made, the client gets the gateway's 502, and the next is served."""
    site.configure([callout("a", "/a")], service={"url": dead})
    assert [site.get().status for _ in range(2)] == [502, 502]
    assert len(site.callee.received()) == 2


def test_nothing_of_the_error_remains(site: Site) -> None:
    """The request after a failed one is served as if nothing had been."""
    site.callee.on("/a", Reply(503), reply_json({}))
    failing(site)
    assert site.get().status == 400
    answer = site.get()
    assert (answer.status, answer.body) == (200, UPSTREAM_BODY)
