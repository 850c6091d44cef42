"""Callouts that are made only when an expression says so."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.callee import reply_json
from tests.conformance.site import Site, callout


def conditional(name: str, when: str, **parts: Any) -> dict[str, Any]:
    return {**callout(name, f"/{name}", decode=True, **parts), "when": when}


@pytest.mark.parametrize(("header", "calls"), [(None, 0), ("yes", 1)])
def test_a_condition_on_the_clients_request(site: Site, header: str | None, calls: int) -> None:
    """The callout is made if the client sent the header; without it the request goes on, with nil for what it reads."""
    site.callee.on("/a", reply_json({"v": 7}))
    upstream = {
        "headers": {"custom": {"X-V": "[$(callouts.a.response.body.v)$(callouts.a.response.body.v or 'none')]"}}
    }
    site.configure([conditional("a", "$(headers['x-go'])")], upstream=upstream)
    answer = site.get(headers={} if header is None else {"X-Go": header})
    assert answer.status == 200
    assert len(site.callee.received()) == calls
    assert site.upstream.one().header("X-V") == ("[77]" if calls else "[none]")


@pytest.mark.parametrize("premium", [True, False, None])
def test_a_condition_on_another_callout(site: Site, premium: bool | None) -> None:
    """What the condition reads is awaited; false and null skip."""
    site.callee.on("/user", reply_json({"premium": premium}))
    site.configure(
        [
            callout("user", "/user", decode=True),
            conditional("offers", "$(callouts.user.response.body.premium)"),
        ]
    )
    assert site.get().status == 200
    assert [one.path for one in site.callee.received()] == ["/user", *(["/offers"] if premium else [])]


def test_the_context_says_that_it_was_skipped(site: Site) -> None:
    """Other plugins see that the callout was skipped, and nothing else of it."""
    site.configure([conditional("a", "$(false)")], witness=True)
    assert site.get().json == {"a": {"skipped": True}}


def test_a_condition_that_is_no_single_expression_is_refused(site: Site) -> None:
    """A text around the expression would always be true: such a configuration is no good."""
    said = site.unusable([conditional("a", "is $(true)")])
    assert not site.gateway.embedded or "callouts[1].when" in said
