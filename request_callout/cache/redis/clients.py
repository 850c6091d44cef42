"""The Redis commands that the cache needs, over one server, sentinels or a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from redis.credentials import CredentialProvider, UsernamePasswordCredentialProvider

from request_callout.cache.redis.cluster import ClusterClient
from request_callout.cache.redis.commands import OneServer
from request_callout.cache.redis.connections import Connection, Login, Timeouts, Tls
from request_callout.cache.redis.pool import Pool
from request_callout.cache.redis.sentinel import SentinelClient
from request_callout.cache.redis.topology import Address, Servers
from request_callout.config import model


class RedisClient(Protocol):
    """A Redis, however it is reached. All methods may be called by many greenlets at once.

    Each may raise ``redis.exceptions.RedisError`` or ``OSError``; one that takes too long raises
    ``redis.exceptions.TimeoutError`` (the rule is in ``connections``).
    """

    def get(self, key: str) -> bytes | None:
        """The value of a key, None if there is none."""

    def set(self, key: str, value: bytes, ttl_ms: int) -> None:
        """Keep a value for so many milliseconds (``SET key value PX ttl_ms``)."""

    def acquire(self, key: str, token: bytes, ttl_ms: int) -> bool:
        """Put the token under a key that nothing is under yet (``SET key token NX PX ttl_ms``); False: there was."""

    def release(self, key: str, token: bytes) -> None:
        """Delete a key if it still holds this token, in one step."""

    def ping(self) -> None:
        """Ask every node that ``get`` may go to for a sign of life."""

    def scan(self, match: str) -> Iterator[str]:
        """The keys that match a glob pattern, on all masters of a cluster; a key may come more than once."""

    def ttl_ms(self, key: str) -> int | None:
        """The milliseconds a key has left; None: no such key, or it has no end."""

    def delete(self, key: str) -> bool:
        """Delete a key; False: there was none."""

    def close(self) -> None:
        """Close all connections; a command that comes later opens new ones."""


def connect(
    settings: model.Redis, credentials: CredentialProvider | None = None, ca_file: str | None = None
) -> RedisClient:
    """A client for these settings; it makes no connection before its first command.

    ``credentials`` take the place of the username and password (not of the sentinels'). ``ca_file`` (PEM) takes the
    place of the system's CAs; raises ``OSError`` if it can't be used. TLS, if on, is used for sentinels too.

    With ``connection_is_proxied`` the host and port are those of a proxy: no database is selected and nobody is asked
    for sentinels or clusters, as in lua-resty-redis-connector (https://github.com/ledgetech/lua-resty-redis-connector).
    A cluster has no databases either.
    """
    timeouts = Timeouts.of(settings)
    tls = Tls.of(settings, ca_file)
    if credentials is None:
        credentials = _credentials(settings.username, settings.password)

    def servers(login: Login) -> Servers:
        def pool(address: Address) -> Pool:
            return Pool(
                lambda: Connection(*address, timeouts, tls, login),
                settings.keepalive_pool_size,
                settings.keepalive_backlog,
                timeouts.connect_s,
            )

        return Servers(pool)

    stateless = servers(Login(credentials))
    if settings.connection_is_proxied:
        proxy = stateless.at((settings.host, settings.port))
        return OneServer(proxy, timeouts.total_s, is_proxy=True)
    if settings.cluster_nodes:
        nodes = _addresses(settings.cluster_nodes)
        return ClusterClient(stateless, nodes, settings.cluster_max_redirections, timeouts.total_s)
    selecting = servers(Login(credentials, settings.database))
    if settings.sentinel_nodes:
        return SentinelClient(
            selecting,
            servers(Login(_credentials(settings.sentinel_username, settings.sentinel_password))),
            _addresses(settings.sentinel_nodes),
            settings.sentinel_master or "",
            settings.sentinel_role or "master",
            timeouts.total_s,
        )
    return OneServer(selecting.at((settings.host, settings.port)), timeouts.total_s, is_proxy=False)


def _credentials(username: str | None, password: str | None) -> CredentialProvider | None:
    if not (username or password):
        return None
    return UsernamePasswordCredentialProvider(username, password)


def _addresses(nodes: tuple[model.HostPort, ...]) -> tuple[Address, ...]:
    return tuple((node.host, node.port) for node in nodes)
