"""Why a callout waits for another, and the field that says so."""

from __future__ import annotations

from typing import Any

import pytest

from request_callout.engine import Engine, Instance
from request_callout.engine.plan import Plan, described, levels


def plan(engine: Engine, *callouts: dict[str, Any]) -> Plan:
    instance = engine.instance({"callouts": list(callouts)})
    assert isinstance(instance, Instance), instance.problems
    return instance.plan


def callout(name: str, *, response: dict[str, Any] | None = None, **parts: Any) -> dict[str, Any]:
    own: dict[str, Any] = {key: parts.pop(key) for key in ("depends_on", "when", "for_each", "cache") if key in parts}
    return {"name": name, **own, "request": {"url": "http://h/", **parts}, "response": response or {}}


def reasons(plan: Plan) -> list[tuple[str, str]]:
    """Why the last step waits and where that is said, in the order of the plan."""
    return [(reason.why, reason.where) for reason in plan.steps[-1].reasons]


FIELDS = [
    ("request.url", {"url": "http://h/$(callouts.a.response.body)"}),
    ("request.query.custom.userId", {"query": {"custom": {"userId": "$(callouts.a.response.body.id)"}}}),
    ("request.headers.custom.X-A", {"headers": {"custom": {"X-A": "$(callouts['a'].response.status)"}}}),
    ("request.body.custom.a", {"body": {"custom": {"a": "$(shared.callouts.a.response.body)"}}}),
    ("request.body.content", {"body": {"format": "raw", "content": "$(kong.ctx.shared.callouts.a.response.body)"}}),
    ("request.auth.token", {"auth": {"type": "bearer", "token": "$(callouts.a.response.body.t)"}}),
    (
        "request.auth.password",
        {"auth": {"type": "basic", "username": "u", "password": "$(callouts.a.response.body.t)"}},
    ),
    ("request.error.error_response_msg", {"error": {"error_response_msg": "$(callouts.a.response.status)"}}),
    ("request.error.when", {"error": {"when": "$(callouts.a.response.status == 200)"}}),
    (
        "request.error.fallback.body",
        {"error": {"on_error": "continue", "fallback": {"body": "$(callouts.a.response.body)"}}},
    ),
    ("when", {"when": "$(callouts.a.response.body.ok)"}),
    ("for_each.items", {"for_each": {"items": "$(callouts.a.response.body)"}}),
    ("cache.ttl", {"cache": {"ttl": "$(callouts.a.response.body.ttl)"}}),
    ("cache.vary_on[1]", {"cache": {"vary_on": ["$(callouts.a.response.body.tenant)"]}}),
]


@pytest.mark.parametrize(("field", "parts"), FIELDS, ids=[field for field, _ in FIELDS])
def test_what_is_read_is_told_with_its_field(engine: Engine, field: str, parts: dict[str, Any]) -> None:
    """Whoever reads another one's result waits for it, and the field that reads it is the reason."""
    made = plan(engine, callout("a"), callout("b"), callout("c", **parts))
    assert reasons(made) == [("reads", f"config.callouts[3].{field}")]
    assert made.steps[-1].waits_for == {0}


def test_every_reason_for_one_callout_is_told(engine: Engine) -> None:
    """A callout that is declared and read has two reasons, and is awaited once."""
    made = plan(engine, callout("a"), callout("b", depends_on=["a"], url="http://h/$(callouts.a.response.body.x)"))
    assert reasons(made) == [("declared", "config.callouts[2].depends_on"), ("reads", "config.callouts[2].request.url")]
    assert made.steps[-1].waits_for == {0}


def test_a_use_of_any_callout_names_the_field(engine: Engine) -> None:
    """What can't be resolved to a name is a reason to wait for all, in the field that does it."""
    made = plan(engine, callout("a"), callout("b"), callout("c", url="http://h/$(callouts[headers.x].response.status)"))
    assert reasons(made) == [("may_read", "config.callouts[3].request.url")] * 2


@pytest.mark.parametrize("where", ["request", "response"])
def test_scripts_are_reasons_before_and_after(engine: Engine, where: str) -> None:
    """A callout with a script waits for all before it; what comes after waits for the script of the other one."""
    parts: dict[str, Any] = {"by_lua": "local x = 1"} if where == "request" else {}
    scripted = callout("b", **parts)
    if where == "response":
        scripted["response"] = {"by_lua": "local x = 1"}
    path = f"config.callouts[2].{where}.by_lua"
    made = plan(engine, callout("a"), scripted, callout("c"))
    assert [(one.place, one.why, one.where) for one in made.steps[1].reasons] == [(0, "script", path)]
    assert [(one.place, one.why, one.where) for one in made.steps[2].reasons] == [(1, "after_script", path)]


def test_a_method_that_changes_something_is_a_reason(engine: Engine) -> None:
    """A POST waits for all before it, for its method."""
    made = plan(engine, callout("a"), callout("b"), callout("c", method="POST"))
    assert reasons(made) == [("method", "config.callouts[3].request.method")] * 2


def test_an_empty_depends_on_leaves_only_what_is_read(engine: Engine) -> None:
    """With depends_on given, neither scripts nor methods are reasons."""
    before = [callout("a", by_lua="local x = 1"), callout("b")]
    made = plan(engine, *before, callout("c", depends_on=[], method="POST", url="http://h/$(callouts.b.response.body)"))
    assert reasons(made) == [("reads", "config.callouts[3].request.url")]


def test_the_plan_can_be_written_as_json(engine: Engine) -> None:
    """The description has names in place of places, and the level of each step."""
    made = plan(engine, callout("a"), callout("b"), callout("c", url="http://h/$(callouts.b.response.body)"))
    assert levels(made) == [0, 0, 1]
    assert described(made)[2] == {
        "name": "c",
        "level": 1,
        "waits_for": [{"name": "b", "why": "reads", "where": "config.callouts[3].request.url"}],
    }
