"""The rest of the PDK: ``kong.ctx``, ``ip``, ``log``, ``nginx``, ``node``, ``plugin``, ``router`` and ``vault``."""

from __future__ import annotations

import logging
import platform
import uuid
from collections.abc import Callable
from typing import Any

from request_callout.gateway.exchange import Exchange
from request_callout.gateway.model import WORKSPACE_ID
from request_callout.gateway.nginx_vars import variable
from request_callout.gateway.pdk.arguments import PdkFailure, Surroundings, shown, string, wrong_phase
from request_callout.gateway.schema_rules import is_reference
from request_callout.values import Value

_LOG = logging.getLogger("request_callout.gateway.kong")

NODE_ID = str(uuid.uuid4())
"""The id of this node: one for each process."""

_LEVELS = {
    "alert": logging.CRITICAL,
    "crit": logging.CRITICAL,
    "err": logging.ERROR,
    "warn": logging.WARNING,
    "notice": logging.INFO,
    "info": logging.INFO,
    "debug": logging.DEBUG,
}


def _log(level: str) -> Callable[..., None]:
    number = _LEVELS[level]

    def write(x: Exchange, around: Surroundings, *parts: Value) -> None:
        if _LOG.isEnabledFor(number):
            name = x.plugin.name if x.plugin is not None else "kong"
            _LOG.log(number, "[%s] %s", name, "".join(map(_printed, parts)), extra={"request_id": x.request_id})

    return write


def _printed(value: Value) -> str:
    if value is None or isinstance(value, bool):
        return {None: "nil", True: "true", False: "false"}[value]
    if isinstance(value, float):
        return f"{value:.14g}"
    return value if isinstance(value, str) else str(value)


def _set_serialize_value(
    x: Exchange, around: Surroundings, key: Value = None, value: Value = None, options: Value = None
) -> None:
    name = string(key, "key")
    mode = (options or {}).get("mode") or "set"
    if mode not in ("set", "add", "replace"):
        raise PdkFailure("mode must be 'set', 'add' or 'replace'")
    if mode == "set" or (mode == "add") != (name in x.log_values):
        x.log_values[name] = value


def _shared_get(x: Exchange, around: Surroundings, key: Value = None) -> Value:
    return x.shared.get(key)


def _shared_set(x: Exchange, around: Surroundings, key: Value = None, value: Value = None) -> None:
    if key is None:
        raise PdkFailure("table index is nil")
    if value is None:
        x.shared.pop(key, None)
    else:
        x.shared[key] = value


def _context_get(x: Exchange, around: Surroundings, key: Value = None) -> Value:
    return x.context.get(key)


def _context_set(x: Exchange, around: Surroundings, key: Value = None, value: Value = None) -> None:
    x.context[key] = value


def _memory_stats(x: Exchange, around: Surroundings, *_: Value) -> Value:
    return {"lua_shared_dicts": {}, "workers_lua_vms": []}


def _route(x: Exchange, around: Surroundings) -> Value:
    return None if x.match is None else {**shown(x.match.route.entity), "ws_id": WORKSPACE_ID}


def _service(x: Exchange, around: Surroundings) -> Value:
    service = x.match.route.service if x.match is not None else None
    return None if service is None else {**shown(service.entity), "ws_id": WORKSPACE_ID}


def _variable(x: Exchange, around: Surroundings, name: Value = None) -> Value:
    return variable(x, string(name, "variable name"))


def _vault_get(x: Exchange, around: Surroundings, reference: Value = None) -> Value:
    return around.resolve(string(reference, "reference"))


def _vault_is_reference(x: Exchange, around: Surroundings, value: Value = None) -> bool:
    return is_reference(value)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "kong.ctx.shared.get": _shared_get,
    "kong.ctx.shared.set": _shared_set,
    "kong.ip.is_trusted": lambda x, _around, *_args: False,
    "kong.log": _log("notice"),
    "kong.log.serialize": wrong_phase("log"),
    "kong.log.set_serialize_value": _set_serialize_value,
    "kong.nginx.get_ctx": _context_get,
    "kong.nginx.get_subsystem": lambda x, _around, *_args: "http",
    "kong.nginx.get_tls1_version_str": lambda x, _around, *_args: None,
    "kong.nginx.get_var": _variable,
    "kong.nginx.req_start_time": lambda x, _around, *_args: x.started_at,
    "kong.nginx.set_ctx": _context_set,
    "kong.node.get_hostname": lambda x, _around, *_args: platform.node(),
    "kong.node.get_id": lambda x, _around, *_args: NODE_ID,
    "kong.node.get_memory_stats": _memory_stats,
    "kong.plugin.get_id": lambda x, _around, *_args: None if x.plugin is None else x.plugin.id,
    "kong.router.get_route": _route,
    "kong.router.get_service": _service,
    "kong.vault.get": _vault_get,
    "kong.vault.is_reference": _vault_is_reference,
} | {f"kong.log.{level}": _log(level) for level in _LEVELS}
