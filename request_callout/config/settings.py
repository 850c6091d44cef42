"""The options of the server process: what holds for every configuration that runs in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

UntrustedLua = Literal["on", "sandbox", "off"]
Share = Literal["full", "meta", "off"]
KongLog = Literal["on", "off"]


@dataclass(frozen=True, slots=True)
class LuaSettings:
    """How scripts and expressions run; the first three mirror ``kong.conf``'s ``untrusted_lua*``.

    ``max_instructions`` bounds the VM instructions of one run, and with ten million of them to the second its CPU time
    (JSON counts by its bytes), ``max_time_ms`` its wall time with the PDK calls it makes, ``max_memory_bytes`` what it
    may allocate.
    """

    untrusted_lua: UntrustedLua = "sandbox"
    sandbox_requires: tuple[str, ...] = ()
    sandbox_environment: tuple[str, ...] = ()
    max_instructions: int = 10_000_000
    max_time_ms: int = 10_000
    max_memory_bytes: int = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class TransportSettings:
    """How callouts are sent; sizes in bytes, times in seconds.

    ``allow_hosts`` and ``deny_networks`` hold for every configuration, beside its own; see ``config.destinations`` for
    how they are written.
    """

    ca_file: str | None = None
    max_header_bytes: int = 64 * 1024
    max_body_bytes: int = 10 * 1024 * 1024
    pool_size: int = 64
    pool_idle_s: float = 60.0
    allow_hosts: tuple[str, ...] = ()
    deny_networks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Settings:
    """All options of the server process.

    ``share`` says how much of the callouts' context other plugins of the same request see: ``full``, ``meta``
    (no bodies) or ``off``; a body over ``share_max_bytes`` is left out of it. ``kong_log`` says whether Kong's log
    record gets the fields ``request_callout``. ``deadline_ms`` bounds all callouts of one request (Kong gives up on
    its socket after 60 s). ``memory_cache_bytes`` and ``memory_cache_entries`` bound all memory caches of a process
    together.
    """

    kong_version: str | None = None
    share: Share = "full"
    share_max_bytes: int = 256 * 1024
    kong_log: KongLog = "on"
    deadline_ms: int = 55_000
    default_connect_timeout_ms: int = 60_000
    default_read_timeout_ms: int = 60_000
    default_write_timeout_ms: int = 60_000
    memory_cache_bytes: int = 128 * 1024 * 1024
    memory_cache_entries: int = 100_000
    lua: LuaSettings = field(default_factory=LuaSettings)
    transport: TransportSettings = field(default_factory=TransportSettings)
