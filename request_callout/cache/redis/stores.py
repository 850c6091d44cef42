"""The Redis stores of a process, one for each distinct way to reach a Redis."""

from __future__ import annotations

import contextlib
import logging
import weakref
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import gevent

from request_callout.cache.store import CachedResponse, Lease, OwnLease, Store
from request_callout.config import model

if TYPE_CHECKING:
    from request_callout.cache.redis.reports import Watch
    from request_callout.cache.redis.store import RedisStore

_SHORT_SECRET = 3
"""One that is no longer can't be told from other text."""

_log = logging.getLogger(__name__)


class RedisStores:
    """Made when first asked for, shared by all configurations with equal settings.

    A store lives as long as a configuration holds it. Then its connections are closed, so that a Redis that is not
    configured any more is left alone.
    """

    def __init__(self, ca_file: str | None = None) -> None:
        """``ca_file`` (PEM) takes the place of the system's CAs."""
        self._ca_file = ca_file
        self.watch: Watch | None = None
        self._stores: weakref.WeakValueDictionary[model.Redis, RedisStore] = weakref.WeakValueDictionary()

    def of(self, redis: model.Redis) -> Store:
        """The store of these settings; never raises, a Redis that can't be reached is a miss.

        To be called in the thread of the gevent hub that its users run in. Settings that can't work at all (a package
        is not installed, a file can't be read) are told in the log, and the store keeps nothing.
        """
        store = self._stores.get(redis)
        if store is None:
            try:
                store = _made(redis, self._ca_file, self.watch)
            except Exception as error:
                _log.error("nothing is cached in Redis (%s): %s", address(redis), _why(error, redis))
                return _Nothing()
            self._stores[redis] = store
        return store

    def close(self) -> None:
        """Close all connections; the stores keep nothing from now on."""
        for store in list(self._stores.values()):
            store.close()


def address(redis: model.Redis) -> str:
    """Where a Redis is, for people: without its secrets, and with its reference if the host came from a vault."""
    if redis.cluster_nodes:
        return f"cluster {_nodes(redis.cluster_nodes)}"
    if redis.sentinel_nodes:
        return f"{redis.sentinel_master} of sentinels {_nodes(redis.sentinel_nodes)}"
    return _nodes((model.HostPort(redis.host, redis.port),), dict(redis.from_vault))


def _nodes(nodes: tuple[model.HostPort, ...], shown: Mapping[str, str] = MappingProxyType({})) -> str:
    return ", ".join(f"{shown.get(node.host) or _in_address(node.host)}:{node.port}" for node in nodes)


def _in_address(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _made(redis: model.Redis, ca_file: str | None, watch: Watch | None = None) -> RedisStore:
    # Imported here: a process without Redis needs none of it.
    from request_callout.cache.redis.clients import connect
    from request_callout.cache.redis.cloud import credentials
    from request_callout.cache.redis.reports import Reports
    from request_callout.cache.redis.store import RedisStore

    client = connect(redis, credentials(redis), ca_file)
    store = RedisStore(client, Reports(address(redis), secrets_of(redis), watch=watch))
    # A store may be collected at any point of any thread's code, where nothing may wait.
    end = weakref.finalize(store, _spawn, gevent.get_hub().loop, store.ending())
    end.atexit = False
    return store


def _spawn(loop: Any, function: Callable[[], None]) -> None:
    with contextlib.suppress(ValueError):  # the loop has ended
        loop.run_callback_threadsafe(gevent.spawn, function)


def _why(error: Exception, redis: model.Redis) -> str:
    from request_callout.cache.redis.cloud import MissingExtra
    from request_callout.cache.redis.failures import reason_of

    return str(error) if isinstance(error, MissingExtra) else reason_of(error, secrets_of(redis))


def secrets_of(redis: model.Redis) -> list[str]:
    """The texts in the settings that must not be in a log."""
    cloud = redis.cloud_authentication
    return [
        secret
        for secret in (
            *(redis.password, redis.sentinel_password),
            *(cloud.aws_secret_access_key, cloud.azure_client_secret, cloud.gcp_service_account_json),
            *(value for value, _ in redis.from_vault if len(value) > _SHORT_SECRET),
        )
        if secret
    ]


class _Nothing:
    """A store that keeps nothing."""

    shared = False

    def get(self, key: str) -> CachedResponse | None:
        return None

    def put(self, key: str, response: CachedResponse, ttl_s: float) -> None:
        """Forget it."""

    def lease(self, key: str, lease_s: float) -> Lease | None:
        return OwnLease()
