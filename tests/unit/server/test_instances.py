"""Instances by their ids."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

import pytest

from request_callout.server.instances import Instances
from request_callout.server.registry import ABANDONED_IDLE_S, CLOSED_IDLE_S
from tests.unit.server.kong_side import ScriptedEngine


def as_json(config: Any) -> bytes:
    return json.dumps(config).encode()


class Clock:
    """A clock that tests set."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine(lambda kong: None)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def instances(engine: ScriptedEngine, clock: Clock) -> Instances:
    return Instances(engine, "1", clock)


def test_the_same_configuration_is_one_instance(instances: Instances, engine: ScriptedEngine) -> None:
    """Workers that start one configuration, with its keys in any order, get one id and one instance."""
    first = instances.start(as_json({"a": 1, "b": {"c": 2, "d": 3}, "__seq__": 1, "__key__": "x"}))
    second = instances.start(as_json({"b": {"d": 3, "c": 2}, "__seq__": 2, "__key__": "y", "a": 1}))
    assert first is second
    assert len(engine.configurations) == 1


def test_another_configuration_or_version_has_another_id(engine: ScriptedEngine) -> None:
    """Ids are positive, fit into 31 bits, and differ by configuration, by the plugin's id and by version."""
    configurations = [{"a": 1}, {"a": 2}, {"a": 1, "__plugin_id": "p"}, {"a": [1]}, {"a": "1"}]
    ids = [Instances(engine, version).start(as_json(c)).instance_id for c in configurations for version in "12"]
    assert len(set(ids)) == len(ids)
    assert all(0 < one < 2**31 for one in ids)


def test_a_collision_of_ids_is_seen(engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two configurations whose hashes begin alike get two ids and two instances."""
    monkeypatch.setattr("request_callout.server.registry._first_id", lambda digest: 0x7FFFFFFF)
    instances = Instances(engine, "1")
    first, second = instances.start(b'{"a":1}'), instances.start(b'{"a":2}')
    assert (first.instance_id, second.instance_id) == (0x7FFFFFFF, 1)
    assert instances.start(b'{"a":2}') is second
    assert instances.use(1) is second.instance


def test_a_closed_instance_is_dropped_only_after_long_idleness(instances: Instances, clock: Clock) -> None:
    """A close alone ends nothing; use keeps a closed instance; a long time without use drops it."""
    started = instances.start(b"{}")
    other = instances.start(b'{"other":1}')
    instances.close(started.instance_id)
    clock.now += CLOSED_IDLE_S - 1
    assert instances.use(started.instance_id) is started.instance
    clock.now += CLOSED_IDLE_S - 1
    instances.close(12345)
    assert instances.use(started.instance_id) is started.instance
    clock.now += CLOSED_IDLE_S + 1
    instances.close(12345)
    assert instances.use(started.instance_id) is None
    assert instances.use(other.instance_id) is other.instance


def test_a_start_after_a_close_opens_the_instance_again(instances: Instances, clock: Clock) -> None:
    """A worker that starts a configuration which another closed has it for as long as if it were new."""
    started = instances.start(b"{}")
    instances.close(started.instance_id)
    assert instances.start(b"{}") is started
    clock.now += CLOSED_IDLE_S * 2
    instances.close(12345)
    assert instances.use(started.instance_id) is started.instance


def test_an_abandoned_instance_is_dropped_in_the_end(instances: Instances, clock: Clock) -> None:
    """An instance that nobody closed and nobody uses is dropped after a day."""
    started = instances.start(b"{}")
    clock.now += ABANDONED_IDLE_S + 1
    instances.start(b'{"other":1}')
    assert instances.use(started.instance_id) is None
    assert len(instances) == 1


def test_an_engine_that_fails_still_gives_an_instance(caplog: pytest.LogCaptureFixture) -> None:
    """When the engine raises, the id is valid, its events answer 500, and the log has the reason."""

    class Broken:
        def instance(self, raw: Mapping[str, Any]) -> Any:
            raise RuntimeError("no")

    class Event:
        answer: Any = None

        def exit(self, *answer: Any) -> None:
            self.answer = answer

    with caplog.at_level(logging.ERROR):
        started = Instances(Broken(), "1").start(b"{}")
    event: Any = Event()
    started.instance.access(event)
    assert event.answer[0] == 500
    assert "could not be started" in caplog.text
