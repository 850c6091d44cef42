"""What runs: the entities of one configuration as the proxy needs them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

WORKSPACE_ID = "0dc6f45b-8f8d-40d2-a504-473544ee190b"
"""The id of the only workspace of a Kong without a database."""


@dataclass(frozen=True, slots=True)
class Service:
    """Where requests go; times in milliseconds. ``entity`` has the fields under Kong's names."""

    id: str
    protocol: str
    host: str
    port: int
    path: str
    retries: int
    connect_timeout_ms: int
    write_timeout_ms: int
    read_timeout_ms: int
    entity: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Route:
    """Which requests are taken, and for which service (None: Kong answers 503 unless a plugin does)."""

    id: str
    protocols: tuple[str, ...]
    methods: tuple[str, ...]
    hosts: tuple[str, ...]
    paths: tuple[str, ...]
    headers: Mapping[str, tuple[str, ...]]
    strip_path: bool
    preserve_host: bool
    regex_priority: int
    https_redirect_status_code: int
    service: Service | None
    entity: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PluginConfig:
    """One configured plugin and where it holds; ``config`` is filled and valid, its references not yet resolved."""

    id: str
    name: str
    route_id: str | None
    service_id: str | None
    consumer_id: str | None
    instance_name: str | None
    config: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Consumer:
    """Who a request was authenticated as."""

    id: str
    username: str | None
    custom_id: str | None
    entity: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Credential:
    """A key of a consumer."""

    id: str
    key: str
    consumer: Consumer
    entity: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Vault:
    """A vault entity: the environment, under a prefix of its own."""

    prefix: str
    config: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Configuration:
    """One declarative configuration, checked and resolved.

    ``entities`` has them all by kind and id, flattened, as the Admin API shows them.
    """

    routes: tuple[Route, ...] = ()
    consumers: tuple[Consumer, ...] = ()
    credentials: Mapping[str, Credential] = field(default_factory=dict)
    plugins: tuple[PluginConfig, ...] = ()
    vaults: Mapping[str, Vault] = field(default_factory=dict)
    entities: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
