"""upstream.respond: the client's answer without a script."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conformance.callee import reply_json
from tests.conformance.site import UPSTREAM_BODY, Site, callout

FAILS = {"http_statuses": [503], "on_error": "continue"}


def responding(site: Site, *callouts: dict[str, Any], by_lua: str | None = None, **respond: Any) -> None:
    made = callouts or (callout("a", "/a", decode=True),)
    upstream = {"respond": respond, **({"by_lua": by_lua} if by_lua else {})}
    site.configure(made, upstream=upstream)


def test_respond_body(site: Site) -> None:
    """The client gets the JSON text with its expressions' values, and the upstream is not called."""
    site.callee.on("/a", reply_json({"id": 7, "list": [], "none": None, "on": True, "user": {"name": "Ida"}}))
    body = {
        **{name: f"$(callouts.a.response.body.{name})" for name in ("id", "list", "on", "user")},
        "text": "$(callouts.a.response.body.user.name) is $(callouts.a.response.body.id)",
        "query": "$(query_params.q)",
        "none": ["$(callouts.a.response.body.none)", "$(callouts.a.response.body.nothing.at.all)"],
        "sum": "$(callouts.a.response.body.id + 0.5)",
        "constant": [1, {"x": None}],
    }
    responding(site, body=json.dumps(body))
    answer = site.get("?q=1")
    assert (answer.status, answer.header("Content-Type")) == (200, "application/json; charset=utf-8")
    assert answer.json == {
        "id": 7,
        "list": [],
        "on": True,
        "user": {"name": "Ida"},
        "text": "Ida is 7",
        "query": "1",
        "none": [None, None],
        "sum": 7.5,
        "constant": [1, {"x": None}],
    }
    assert not site.upstream.received()


def test_respond_status_and_headers(site: Site) -> None:
    """Status and headers are the configured ones, with their expressions."""
    headers = {"X-Id": "no. $(callouts.a.response.body.id)", "Content-Type": "application/problem+json"}
    responding(site, status=422, headers=headers, body='{"title": "no"}')
    answer = site.get()
    assert (answer.status, answer.body) == (422, b'{"title":"no"}')
    assert (answer.header("X-Id"), answer.all("Content-Type")) == ("no. 7", ["application/problem+json"])


def test_respond_without_a_body(site: Site) -> None:
    """Without a body the answer has none."""
    responding(site, headers={"X-A": "1"})
    answer = site.get()
    assert (answer.status, answer.body, answer.header("X-A")) == (200, b"", "1")
    assert not site.upstream.received()


def test_respond_when(site: Site) -> None:
    """With when the client is answered only if it gives neither nil nor false."""
    responding(site, status=403, body='{"message": "blocked"}', when="$(query_params.blocked == 'yes')")
    assert site.get("?blocked=yes").status == 403
    assert not site.upstream.received()
    assert site.get("?blocked=no").body == UPSTREAM_BODY


def test_respond_when_and_edits(site: Site) -> None:
    """Where the request goes on, it is edited as without respond."""
    upstream = {"respond": {"when": "$(query_params.x)"}, "headers": {"custom": {"X-New": "1"}}}
    site.configure(upstream=upstream)
    site.get()
    assert site.upstream.one().header("X-New") == "1"


def test_respond_after_by_lua(site: Site) -> None:
    """The script runs first: respond sees what it has left, unless it answers itself."""
    script = "kong.ctx.shared.callouts.a.response.body.id = 'new'"
    responding(site, by_lua=script, body='{"id": "$(callouts.a.response.body.id)"}')
    assert site.get().json == {"id": "new"}
    responding(site, by_lua="kong.response.exit(202, {mine = true})", body='{"id": 1}')
    answer = site.get()
    assert (answer.status, answer.json) == (202, {"mine": True})


@pytest.mark.parametrize(("status", "completed"), [(200, "true"), (503, "false")])
def test_respond_completed(site: Site, status: int, completed: str) -> None:
    """X-Callouts-Completed tells whether all callouts went well, where on_error is continue."""
    site.callee.on("/b", reply_json({"n": 1}, status))
    responding(
        site,
        *(callout("a", "/a", decode=True), callout("b", "/b", decode=True, error=FAILS)),
        body='{"a": "$(callouts.a.response.body.id)", "b": "$(callouts.b.response.status)"}',
    )
    answer = site.get()
    assert (answer.json, answer.header("X-Callouts-Completed")) == ({"a": 7, "b": status}, completed)


def test_respond_not_completed_without_continue(site: Site) -> None:
    """Where no callout may fail there is nothing to tell."""
    responding(site, body="{}")
    assert site.get().header("X-Callouts-Completed") is None


def test_respond_to_a_callout_without_an_answer(site: Site) -> None:
    """What a callout that never answered would have said is null."""
    site.callee.on("/b", reply_json({}, drop=True))
    body = '{"b": "$(callouts.b.response.body.n)", "err": "$(callouts.b.request.error.reason)"}'
    responding(site, callout("b", "/b", decode=True, error={"on_error": "continue"}), body=body)
    answer = site.get()
    assert (answer.json, answer.header("X-Callouts-Completed")) == ({"b": None, "err": "error"}, "false")


def test_respond_with_an_expression_that_fails(site: Site) -> None:
    """An error in an expression is a 500, as everywhere."""
    responding(site, body="""{"x": "$(error('no'))"}""")
    assert site.get().status == 500


def test_respond_body_that_is_no_json(site: Site) -> None:
    """A body that is no JSON text, as with an expression outside of a string, is refused or found at the start."""
    site.unusable([], upstream={"respond": {"body": '{"x": $(callouts.a.response.body)}'}})
