from __future__ import annotations

from typing import Any

import pytest

from request_callout.cli.validate.advice import advice

READS_A = "local a = kong.ctx.shared.callouts.a.response"


def callout(name: str, url: str = "http://x", **fields: Any) -> dict[str, Any]:
    """One callout."""
    request = {"url": url, **fields.pop("request", {})}
    return {"name": name, "request": request, **fields}


def rules(*callouts: dict[str, Any], **fields: Any) -> list[str]:
    """The rules of the warnings for a configuration."""
    return [problem.rule for problem in advice({"callouts": list(callouts), **fields})]


@pytest.mark.parametrize(
    "callouts",
    [
        [callout("a"), callout("b", "http://x/$(callouts.a.response.body.id)")],
        [callout("a"), callout("b", request={"by_lua": READS_A})],
        [callout("a"), callout("b", depends_on=["a"], request={"by_lua": READS_A})],
        [callout("a"), callout("b", depends_on=["a"]), callout("c", depends_on=["b"], request={"by_lua": READS_A})],
        [callout("a"), callout("b"), callout("c", depends_on=["b"], request={"by_lua": READS_A})],
        [callout("a"), callout("c", "http://x/$(#callouts)", depends_on=[], request={"by_lua": READS_A})],
        [callout("b", "http://x/$(callouts.a.response.body)", depends_on=["a"]), callout("a")],
        [callout("a", request={"error": {"when": "$(callouts.a.response.status == 500)"}})],
        [callout("a", cache={"ttl": "$(callouts.a.response.body.expires_in)"})],
        [callout("a", request={"by_lua": "kong.ctx.shared.callouts.mine = {x = 1}"}), callout("b", "http://$(callouts.mine.x)")],
        [callout("a", "http://x.example.com", request={"destination": {"allow_hosts": ["*.example.com"]}})],
        [callout("a", "http://$(headers.host)", request={"destination": {"allow_hosts": ["b"]}})],
        [callout("a", request={"destination": {"allow_hosts": ["b"]}, "by_lua": "return"})],
        [callout("a", request={"circuit_breaker": {"failures": 3}})],
        [callout("a", request={"error": {"backoff": {"max_ms": 100}}})],
    ],
)  # fmt: skip
def test_what_works_is_no_warning(callouts: list[dict[str, Any]]) -> None:
    """A configuration that does what it seems to do has no warnings."""
    assert rules(*callouts) == []


@pytest.mark.parametrize(
    ("rule", "callouts"),
    [
        ("order", [callout("b", "http://x/$(callouts.a.response.body)"), callout("a")]),
        ("order", [callout("a"), callout("c", depends_on=[], request={"by_lua": READS_A})]),
        ("order", [callout("a", for_each={"items": "$(callouts.a.response.body)"})]),
        ("unknown-callout", [callout("a"), callout("b", "http://x/$(callouts['x'].response.body)")]),
        ("unknown-callout", [callout("alpha"), callout("b", request={"by_lua": READS_A.replace(".a.", ".alpah.")})]),
        ("destination", [callout("a", "http://10.0.0.1", request={"destination": {"deny_networks": ["10.0.0.0/8"]}})]),
        ("destination", [callout("a", "http://b", request={"destination": {"allow_hosts": ["a"]}})]),
    ],
)
def test_what_is_surely_not_meant_is_a_warning(rule: str, callouts: list[dict[str, Any]]) -> None:
    """Reading what is not there, and calling where one must not, is told."""
    assert rules(*callouts) == [rule]


@pytest.mark.parametrize(
    "raw",
    [
        None,
        7,
        [],
        {},
        {"callouts": {}},
        {"callouts": [None, {"name": [], "request": 7}]},
        {"callouts": [{"name": "a", "depends_on": True}]},
    ],
)
def test_what_has_no_shape_has_no_warnings(raw: Any) -> None:
    """Errors are the affair of others; nothing is raised here."""
    assert advice(raw) == []
