"""Configurations by their ids, and what workers and supervisor say of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from request_callout.server.control import (
    Beat,
    Close,
    Decoder,
    Ended,
    Failed,
    Find,
    Found,
    Message,
    Missing,
    Ready,
    Start,
    Stop,
    Used,
    encode,
)
from request_callout.server.instances import Instances
from request_callout.server.loads import Loads
from request_callout.server.registry import CLOSED_IDLE_S, Configurations
from request_callout.server.restarts import STEADY_S, Restarts
from tests.unit.server.kong_side import ScriptedEngine


class Clock:
    """A clock that tests set."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_dropped_id_is_never_given_to_another_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kong may come back with an id that ended long ago: it is that configuration's for ever."""
    monkeypatch.setattr("request_callout.server.registry._first_id", lambda digest: 7)
    clock = Clock()
    configurations = Configurations("1", clock)
    first = configurations.start(b'{"a":1}')
    configurations.close(first.instance_id)
    clock.now += CLOSED_IDLE_S * 2
    assert list(configurations.sweep({})) == [7]
    assert configurations.find(7) is None
    assert configurations.start(b'{"a":2}').instance_id == 8
    assert configurations.start(b'{"a":1}').instance_id == 7


def test_a_use_in_any_worker_keeps_a_closed_configuration() -> None:
    """What one worker closed stays as long as another tells of its use; an old use told late does not count as new."""
    clock = Clock()
    configurations = Configurations("1", clock)
    used, unused = configurations.start(b'{"a":1}').instance_id, configurations.start(b'{"a":2}').instance_id
    for instance_id in (used, unused, 12345):
        configurations.close(instance_id)
    clock.now += CLOSED_IDLE_S + 1
    assert list(configurations.sweep({used: clock.now - 1, unused: clock.now - CLOSED_IDLE_S - 1, 999: 1.0})) == [
        unused
    ]
    assert configurations.find(used) is not None
    assert len(configurations) == 1


def test_workers_run_what_the_supervisor_has_registered() -> None:
    """Two processes' instances of one registry: an id started in one is made in the other, and ends in both."""
    clock = Clock()
    registry = Configurations("1", clock)
    engines = [ScriptedEngine(lambda kong: None), ScriptedEngine(lambda kong: None)]
    first, second = (Instances(engine, "1", clock, registry) for engine in engines)
    started = first.start(b'{"b":2,"a":1,"__seq__":9}')
    assert second.use(started.instance_id) is not None
    assert second.get(started.instance_id + 1) is None
    assert [engine.configurations for engine in engines] == [[{"a": 1, "b": 2}]] * 2
    first.close(started.instance_id)
    clock.now += CLOSED_IDLE_S + 1
    second.sweep()  # tells of the use, which is that old
    assert second.use(started.instance_id) is None


@pytest.mark.parametrize("config", [b"", b"\xff", b"[]", b"[" * 100_000, b'{"a":NaN}', b'"\\ud800"'])
def test_any_bytes_are_a_configuration_with_a_valid_id(config: bytes) -> None:
    """What is no JSON object gets an id of its own, the same for the same bytes."""
    configurations = Configurations("1")
    registered = configurations.start(config)
    assert 0 < registered.instance_id < 2**31
    assert configurations.start(config) is registered
    instances = Instances(ScriptedEngine(lambda kong: None), "1", registry=configurations)
    assert instances.start(config).instance_id == registered.instance_id


MESSAGES: list[Message] = [
    Ready(),
    Failed('no "file"\n'),
    Beat(),
    Start(1, b"\x00\xff\n{}".decode("latin-1")),
    Find(2, 2**31 - 1),
    Close(3),
    Found(4, 5, "ab", 6, "{}"),
    Missing(7),
    Ended([1, 2]),
    Stop(30.0, 0.5),
]


@given(st.lists(st.sampled_from(MESSAGES)), st.lists(st.integers(1, 40)))
def test_messages_arrive_as_they_were_sent(messages: list[Message], cuts: list[int]) -> None:
    """Whatever the pieces in which a link's bytes arrive, the messages are those that were sent, in their order."""
    data = b"".join(map(encode, messages))
    decoder = Decoder()
    received: list[Message] = []
    for cut in [*cuts, len(data) + 1]:
        received += decoder.feed(data[:cut])
        data = data[cut:]
    assert received == messages


def test_uses_arrive_as_pairs() -> None:
    """Ids with their ages come as pairs."""
    (message,) = Decoder().feed(encode(Used([(1, 0.5), (2, 0.0)])))
    pairs: Any = message
    assert dict(pairs.ids) == {1: 0.5, 2: 0.0}
    assert json.loads(encode(message)) == ["Used", [[1, 0.5], [2, 0.0]]]


def test_the_first_death_is_mended_at_once_and_further_ones_after_growing_pauses() -> None:
    """Quick deaths in a row wait longer and longer, up to half a minute; a worker that lived long begins anew."""
    restarts = Restarts()
    assert [restarts.pause_s(0.1) for _ in range(9)] == [0, 0.5, 1, 2, 4, 8, 16, 30, 30]
    assert restarts.pause_s(STEADY_S) == 0
    assert restarts.pause_s(0.1) == 0.5


def test_a_worker_leaves_connections_to_those_that_have_fewer() -> None:
    """A worker is above others while one that accepts has fewer connections; absent ones don't count."""
    loads = Loads(3)
    loads.set(0, 5)
    assert not loads.above_others(0)
    loads.set(2, 4)
    assert loads.above_others(0)
    assert not loads.above_others(2)
    loads.absent(2)
    assert not loads.above_others(0)
