from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from request_callout.cache.redis import RedisStores, cloud
from request_callout.cache.redis.stores import address, secrets_of
from request_callout.cache.store import OwnLease
from request_callout.config import model
from tests.servers.redis_server import RedisServer, running
from tests.unit.cache.redis.reaching import RESPONSE, Pretender, settings, until, warned


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with running() as server:
        yield server


@pytest.fixture
def stores() -> Iterator[RedisStores]:
    stores = RedisStores()
    yield stores
    stores.close()


def connections(server: RedisServer) -> int:
    """The connections that the server has beside the one that asks."""
    return len(server.command("CLIENT", "LIST").splitlines()) - 1


def test_equal_settings_share_a_store(stores: RedisStores) -> None:
    """Configurations with equal settings have one store, others have another."""
    one = stores.of(settings(1))
    assert stores.of(settings(1)) is one
    assert stores.of(settings(2)) is not one
    assert stores.of(settings(1, password="p")) is not one


def test_a_store_is_made_without_a_connection(stores: RedisStores) -> None:
    """A Redis is first connected to when it is first asked."""
    with Pretender(None) as nobody:
        store = stores.of(settings(nobody.port))
        assert store.get("k") is None
        until(lambda: nobody.connections, "the first connection")
        assert nobody.connections == 1


def test_what_is_not_configured_any_more_is_left(stores: RedisStores, server: RedisServer) -> None:
    """When no configuration holds a store any more its connections are closed."""
    store = stores.of(settings(server.port))
    store.put("k", RESPONSE, 60)
    assert connections(server) == 1
    del store
    gc.collect()
    until(lambda: connections(server) == 0, "the connection to be closed")


def test_a_store_that_probes_is_not_kept_by_it(stores: RedisStores) -> None:
    """A store whose Redis is down goes, and its probing ends, when no configuration holds it any more."""
    with Pretender(None) as nobody:
        store = stores.of(settings(nobody.port))
        assert store.get("k") is None
        gone = weakref.ref(store)
        circuit = store._circuit  # type: ignore[attr-defined]
        assert not circuit.closed
        del store
        gc.collect()
        assert gone() is None
        until(lambda: circuit._prober is None or circuit._prober.dead, "the probing to end")


class Watching:
    """Which Redis is down, as it is told."""

    def __init__(self) -> None:
        self.down: dict[str, bool] = {}

    def redis_failed(self, target: str, kind: str) -> None:
        if kind == "down":
            self.down[target] = True

    def redis_answers(self, target: str) -> None:
        self.down[target] = False


def test_a_redis_that_nobody_uses_any_more_is_not_down(stores: RedisStores) -> None:
    """Who mends an outage by another configuration is told no longer that the Redis of the old one is down."""
    watching = stores.watch = Watching()
    with Pretender(None) as nobody:
        store = stores.of(settings(nobody.port))
        assert store.get("k") is None
        assert list(watching.down.values()) == [True]
        del store
        gc.collect()
        until(lambda: list(watching.down.values()) == [False], "the Redis to be told of no more")


def test_close_closes_all(server: RedisServer) -> None:
    """After close there are no connections, and the stores keep nothing."""
    stores = RedisStores()
    held = [stores.of(settings(server.port, database=number)) for number in range(3)]
    for store in held:
        store.put("k", RESPONSE, 60)
    assert connections(server) == 3
    stores.close()
    until(lambda: connections(server) == 0, "the connections to be closed")
    assert [store.get("k") for store in held] == [None] * 3


def aws(redis: model.Redis) -> model.Redis:
    return replace(
        redis, cloud_authentication=replace(redis.cloud_authentication, auth_provider="aws", aws_secret_access_key="s3")
    )


def test_a_missing_extra_is_told(
    stores: RedisStores, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without the package that a cloud provider needs nothing is kept, and one line says what to install."""
    monkeypatch.setattr(cloud, "_installed", lambda module: False)
    store = stores.of(aws(settings(1)))
    store.put("k", RESPONSE, 60)
    assert store.get("k") is None
    assert isinstance(store.lease("k", 60), OwnLease)
    (line,) = warned(caplog)
    assert "pip install 'kong-request-callout[aws]'" in line


def test_certificates_that_can_not_be_read_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With a file of CAs that is none nothing is kept, and one line says so, without the password."""
    stores = RedisStores(str(tmp_path / "none.pem"))
    store = stores.of(settings(1, ssl=True, password="s3cret"))
    assert store.get("k") is None
    (line,) = warned(caplog)
    assert "No such file" in line
    assert "s3cret" not in line


def test_what_a_vault_gave_is_told_by_its_reference(stores: RedisStores, caplog: pytest.LogCaptureFixture) -> None:
    """A host that came from a vault is in no line and no metric: the reference is; other such values are hidden."""
    reference = "{vault://env/redis-host}"
    found = (("127.0.0.2", reference), ("us3r", "{vault://env/user}"), ("abc", "{vault://env/short}"))
    one = settings(1, host="127.0.0.2", username="us3r", from_vault=found)
    watching = stores.watch = Watching()
    assert stores.of(one).get("k") is None
    (line,) = warned(caplog)
    assert line.startswith(f"the Redis cache ({reference}:1) is not used until it answers again: Error 111 connecting")
    assert "127.0.0.2" not in line
    assert watching.down == {f"{reference}:1": True}
    assert "us3r" in secrets_of(one)
    assert "abc" not in secrets_of(one)  # it would be cut out of other words


def test_addresses_for_people() -> None:
    """A Redis is told by its nodes, and by the master's name with sentinels; nothing else of the settings is."""
    nodes = (model.HostPort("a", 1), model.HostPort("::1", 2))
    one = settings(6379, username="u", password="p")
    assert address(one) == "127.0.0.1:6379"
    assert address(replace(one, cluster_nodes=nodes)) == "cluster a:1, [::1]:2"
    assert address(replace(one, sentinel_nodes=nodes, sentinel_master="m")) == "m of sentinels a:1, [::1]:2"
