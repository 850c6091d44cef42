"""Any configuration of conditions, lists and dependencies against one that is run step by step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings, target
from hypothesis import strategies as st

from request_callout.config.settings import Settings
from request_callout.engine import Engine, Instance
from request_callout.transport import OutgoingRequest
from tests.unit.engine.kong_double import KongDouble
from tests.unit.engine.sending_double import SendingDouble, path_of
from tests.unit.engine.sequential_model import ERROR, MAX_ITEMS, Model, Service, Step, in_sequence
from tests.unit.engine.simulated_time import SimulatedTime


@st.composite
def plans(draw: st.DrawFn) -> list[Step]:
    """Callouts in the order of the configuration; each reads only what is before it in the sequence."""
    declared = draw(st.sampled_from(["none", "some", "all"]))
    steps: list[Step] = []
    for place in range(draw(st.integers(1, 6))):
        names = [one.name for one in steps]
        single = [one.name for one in steps if not one.is_list]
        some = st.lists(st.sampled_from(names), unique=True, max_size=2) if names else st.just([])
        reads = tuple(draw(some))
        condition = draw(st.sampled_from([None, *names]))
        kind = draw(st.sampled_from(["single", "single", "elements", "source"] if single else ["single", "elements"]))
        source = draw(st.sampled_from(single)) if kind == "source" else None
        read = {*reads, *([condition] if condition else ()), *([source] if source else ())}
        depends_on = tuple(draw(some)) if declared == "all" or (declared == "some" and draw(st.booleans())) else None
        if declared == "all":
            depends_on = tuple(sorted({*(depends_on or ()), *read}))
        steps.append(
            Step(
                name=f"c{place}",
                reads=reads,
                condition=condition,
                source=source,
                elements=draw(st.integers(0, MAX_ITEMS + 1)) if kind == "elements" else None,
                concurrency=draw(st.integers(1, 3)),
                depends_on=depends_on,
                safe=draw(st.sampled_from([True, True, False])),
                on_error=draw(st.sampled_from(["fail", "retry", "continue", "continue"])),
                scripted=draw(st.sampled_from([False, False, False, True])),
            )
        )
    return draw(st.permutations(steps)) if declared == "all" else steps


def configuration(steps: list[Step]) -> dict[str, Any]:
    kinds = {step.name: step.is_list for step in steps}

    def value(name: str) -> str:
        if not kinds[name]:
            return f"callouts.{name}.response.body.v"
        first = f"callouts.{name}.response.items[1]"
        return f"({first} and {first}.body.v)"

    def callout(step: Step) -> dict[str, Any]:
        values = "".join(f"$({value(name)} or '-')" for name in step.reads)
        suffix = "/$(item)-$(index)" if step.is_list else ""
        element = "$(item or '-')" if step.is_list else "-"
        error = {
            "http_statuses": [ERROR],
            "on_error": step.on_error,
            "error_response_msg": f"{step.name} {element}",
            **({"retries": 1} if step.on_error == "retry" else {}),
        }
        script = f"local r = kong.ctx.shared.callouts.{step.name}.response  if r then r.body.v = r.body.v + 10 end"
        made: dict[str, Any] = {
            "name": step.name,
            "request": {
                "url": f"http://callee.test/{step.name}/{values}{suffix}",
                "method": "GET" if step.safe else "POST",
                "error": error,
            },
            "response": {"body": {"decode": True}, **({"by_lua": script} if step.scripted else {})},
        }
        if step.depends_on is not None:
            made["depends_on"] = list(step.depends_on)
        if step.condition is not None:
            made["when"] = f"$({value(step.condition)} ~= 1)"
        if step.is_list:
            listed = ", ".join(map(str, range(step.elements or 0)))
            items = f"$({{{listed}}})" if step.source is None else f"$(callouts.{step.source}.response.body.list)"
            made["for_each"] = {"items": items, "max_items": MAX_ITEMS, "concurrency": step.concurrency}
        return made

    return {"__plugin_id": "p", "callouts": [callout(step) for step in steps]}


class Simulated:
    """One request on the real engine, with calls that take simulated time."""

    def __init__(self, engine: Engine, steps: list[Step], service: Service) -> None:
        self.time = SimulatedTime()
        self.sent: Counter[str] = Counter()
        self._service = service
        SendingDouble(engine, self._answer)
        instance = engine.instance(configuration(steps))
        assert isinstance(instance, Instance), instance.problems
        self.kong = KongDouble()
        self.took_s = self.time.run(lambda: instance.access(self.kong))

    def _answer(self, request: OutgoingRequest) -> tuple[int, Any]:
        path = path_of(request)
        self.sent[path] += 1
        fails = self.sent[path] <= self._service.failures(path)
        self.time.sleep(self._service.duration_s(path))
        return (ERROR if fails else 200), self._service.body(path)

    @property
    def contexts(self) -> dict[str, Any]:
        """The contexts in the model's form."""
        return {name: _in_short(table) for name, table in self.kong.shared().items()}


def _in_short(table: dict[str, Any]) -> dict[str, Any]:
    if table.get("skipped"):
        return table
    response = table["response"]
    if "items" in response:
        short: dict[str, Any] = {"items": [_response(one) for one in response["items"]]}
    else:
        short = _response(response)
    error = table["request"].get("error")
    return {"response": short} | ({"error": error["reason"]} if error else {})


def _response(table: dict[str, Any]) -> dict[str, Any]:
    error = table.get("error")
    return {"status": table["status"], "body": table["body"]} | ({"error": error["reason"]} if error else {})


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = Engine(Settings(deadline_ms=55_000))
    yield engine
    engine.close()


@settings(max_examples=300, deadline=None)
@given(steps=plans(), seed=st.integers(0, 10**6))
def test_as_if_one_after_the_other_and_never_slower(engine: Engine, steps: list[Step], seed: int) -> None:
    """Side by side, callouts give the results of their sequence, and never take more time than it.

    What a sequence would not have sent any more, after a failure, is at most safe requests.
    """
    service = Service(seed)
    expected = Model(service).run(steps)
    got = Simulated(engine, steps, service)
    target(expected.took_s - got.took_s)
    assert got.took_s <= expected.took_s
    if expected.message is None:
        assert got.kong.answer is None
        assert got.contexts == expected.contexts
        assert got.sent == expected.sent
    else:
        assert got.kong.answer is not None
        assert got.kong.answer[:2] == (400, expected.message.encode())
        assert got.sent >= expected.sent
        safe = {step.name for step in in_sequence(steps) if step.safe or step.depends_on is not None or step.is_list}
        assert {path.split("/")[1] for path in got.sent - expected.sent} <= safe


def test_what_is_independent_overlaps(engine: Engine) -> None:
    """Three calls that wait for nothing take as long as the longest of them, not as long as all."""
    steps = [Step(f"c{place}") for place in range(3)]
    service = Service(0)
    paths = [f"/c{place}/" for place in range(3)]
    assert not any(service.failures(path) for path in paths)
    assert Simulated(engine, steps, service).took_s == max(map(service.duration_s, paths))


def test_elements_overlap_as_far_as_they_may(engine: Engine) -> None:
    """Three elements at a concurrency of three take as long as the longest, at one as long as all."""
    service = Service(4)
    paths = [f"/c0//{place}-{place + 1}" for place in range(3)]
    assert not any(service.failures(path) for path in paths)
    durations = [service.duration_s(path) for path in paths]
    for concurrency, expected in ((3, max(durations)), (1, sum(durations))):
        assert Simulated(engine, [Step("c0", elements=3, concurrency=concurrency)], service).took_s == expected
