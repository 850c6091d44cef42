"""Which callout waits for which."""

from __future__ import annotations

from typing import Any

import pytest

from request_callout.engine import Engine, Instance


def plan(engine: Engine, *callouts: dict[str, Any], **rest: Any) -> dict[str, set[str]]:
    """The sequence of the callouts, each with the names it waits for."""
    instance = engine.instance({"callouts": list(callouts), **rest})
    assert isinstance(instance, Instance), instance.problems
    names = [step.callout.name for step in instance.plan.steps]
    return {step.callout.name: {names[place] for place in step.waits_for} for step in instance.plan.steps}


def callout(
    name: str, *, depends_on: list[str] | None = None, by_lua: str | None = None, **request: Any
) -> dict[str, Any]:
    request = {"url": "http://h/", **request}
    if by_lua is not None:
        request["by_lua"] = by_lua
    result: dict[str, Any] = {"name": name, "request": request}
    return result if depends_on is None else result | {"depends_on": depends_on}


def test_independent_callouts_wait_for_nothing(engine: Engine) -> None:
    """Callouts that read nothing of each other run side by side."""
    assert plan(engine, callout("a"), callout("b"), callout("c")) == {"a": set(), "b": set(), "c": set()}


def test_declared_dependencies_make_the_sequence(engine: Engine) -> None:
    """The first callout whose declared dependencies have been taken comes next, again and again."""
    order = plan(engine, callout("a", depends_on=["c"]), callout("b"), callout("c", depends_on=[]))
    assert list(order) == ["b", "c", "a"]
    assert order["a"] == {"c"}


@pytest.mark.parametrize(
    "request_part",
    [
        {"url": "http://h/$(callouts.a.response.body.id)"},
        {"query": {"custom": {"q": "$(callouts['a'].response.body)"}}},
        {"headers": {"custom": {"X": "$(kong.ctx.shared.callouts.a.response.status)"}}},
        {"body": {"custom": {"x": "$(shared.callouts.a.response.status)"}}, "method": "GET"},
        {"error": {"error_response_msg": "$(callouts.a.response.status)"}},
    ],
)
def test_what_an_expression_names_is_awaited(engine: Engine, request_part: dict[str, Any]) -> None:
    """An expression that names an earlier callout waits for it and for no other."""
    assert plan(engine, callout("a"), callout("x"), callout("b", **request_part))["b"] == {"a"}


def test_a_later_name_is_not_awaited(engine: Engine) -> None:
    """Naming itself or a later callout adds nothing."""
    order = plan(engine, callout("a", url="http://h/$(callouts.b and callouts.a and 1)"), callout("b"))
    assert order == {"a": set(), "b": set()}


def test_an_unresolvable_use_waits_for_all(engine: Engine) -> None:
    """A use of the context that names nobody counts as all before it."""
    order = plan(
        engine, callout("a"), callout("b"), callout("c", url="http://h/$(callouts[headers.x].response.status)")
    )
    assert order["c"] == {"a", "b"}


def test_a_script_is_a_barrier(engine: Engine) -> None:
    """A callout with a script waits for all before it, and all after it wait for it."""
    order = plan(engine, callout("a"), callout("b", by_lua="local x = 1"), callout("c"), callout("d"))
    assert order == {"a": set(), "b": {"a"}, "c": {"b"}, "d": {"b"}}


def test_an_unsafe_method_waits_for_all_before_it(engine: Engine) -> None:
    """Only GET, HEAD and OPTIONS are sent before it is certain that they would have been."""
    order = plan(engine, callout("a"), callout("b", method="POST"), callout("c", method="options"))
    assert order == {"a": set(), "b": {"a"}, "c": set()}


def test_declared_dependencies_lift_the_barriers(engine: Engine) -> None:
    """With ``depends_on``, given even as an empty list, only these and the names in expressions count."""
    order = plan(
        engine,
        callout("a", by_lua="local x = 1"),
        callout("b"),
        callout("c", depends_on=[], method="POST", by_lua="local y = kong.ctx.shared.callouts.a"),
        callout("d", depends_on=["a"], url="http://h/$(callouts.b.response.status)"),
    )
    assert order["c"] == set()
    assert order["d"] == {"a", "b"}


@pytest.mark.parametrize(
    ("config", "reads"),
    [
        ({"callouts": [callout("a")]}, ()),
        ({"callouts": [callout("a", headers={"forward": True})]}, ("headers",)),
        ({"callouts": [callout("a", url="http://h/$(query_params.q)$(uri_captures[1])")]}, ("raw_query", "captures")),
        ({"callouts": [callout("a", body={"forward": True})]}, ("body", "content_type")),
        ({"callouts": [], "upstream": {"query": {"custom": {"a": "1"}}}}, ("raw_query",)),
        ({"callouts": [], "upstream": {"query": {"custom": {"a": "1"}, "forward": False}}}, ()),
        ({"callouts": [], "upstream": {"body": {"custom": {"a": "1"}}}}, ("body",)),
        ({"callouts": [callout("a")], "cache": {"strategy": "memory"}}, ("route", "consumer")),
    ],
)
def test_only_what_is_needed_is_read(engine: Engine, config: dict[str, Any], reads: tuple[str, ...]) -> None:
    """The parts of the client's request to read are known from the configuration."""
    instance = engine.instance(config)
    assert isinstance(instance, Instance), instance.problems
    assert instance.plan.reads == reads
