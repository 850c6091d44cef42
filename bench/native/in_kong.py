"""A callout by Lua inside a real Kong, against the same by the plugin server that this Kong is told of.

Its configuration is replaced. The Lua is that of a ``pre-function`` with Kong's own HTTP client, which Kong runs with
``untrusted_lua = on`` only.
"""

from __future__ import annotations

import json
import statistics
import time
from typing import Any

import requests

from bench import cases
from bench.native.nginx import check, missing, nginx, wrk
from bench.report import Part

_LUA = """
local http = require "resty.http"
local cjson = require "cjson.safe"
local url, headers = "%s/token", { ["Content-Type"] = "application/json" }
return function()
  local body = cjson.encode({ grant_type = "client_credentials", client_secret = "0123456789abcdef" })
  local client = http.new()
  client:set_timeouts(5000, 5000, 5000)
  local response = client:request_uri(url, { method = "POST", body = body, headers = headers })
  if not response or response.status >= 400 then
    return kong.response.exit(500, { message = "no token" })
  end
  kong.service.request.set_header("Authorization", "Bearer " .. cjson.decode(response.body).access_token)
end
"""
_WAYS = {"none": "no plugin", "lua": "Lua in Kong", "callout": "request-callout", "cached": "the same, cached"}
_PATIENCE_S = 10


def measure(rounds: int, proxy: str | None, admin: str | None) -> Part:
    """Requests per second at 1 and 16 connections; an empty part that says why without a Kong, nginx or wrk."""
    part = Part("n. In a real Kong: a callout by Lua against this plugin (wrk, requests/s)")
    if proxy is None or admin is None:
        part.note = "skipped: needs the addresses of a Kong that has the plugin (--kong-proxy, --kong-admin)"
        return part
    if why := missing():
        part.note = why
        return part
    with nginx("service.conf") as service:
        _configure(admin, service.address)
        _await(f"{proxy}/cached")
        for way in ("lua", "callout", "cached"):
            check(f"{proxy}/{way}")
        for connections in (1, 16):
            found: dict[str, list[tuple[float, float]]] = {way: [] for way in _WAYS}
            for _ in range(rounds):
                for way, runs in found.items():
                    runs.append(wrk(f"{proxy}/{way}", connections)[:2])
            rows = {way: [statistics.median(one) for one in zip(*runs, strict=True)] for way, runs in found.items()}
            for way, name in _WAYS.items():
                per_s, p99_us = rows[way]
                ratio = per_s / rows["lua"][0]
                part.add(f"{name}, {connections} connections", requests_per_s=per_s, p99_us=p99_us, to_lua_ratio=ratio)
    return part


def _configure(admin: str, service: str) -> None:
    routes = [{"name": way, "paths": [f"/{way}"], "plugins": _plugins(way, service)} for way in _WAYS]
    config = {"_format_version": "3.0", "services": [{"name": "service", "url": service, "routes": routes}]}
    response = requests.post(f"{admin}/config", json={"config": json.dumps(config)}, timeout=_PATIENCE_S)
    if response.status_code != 201:
        raise RuntimeError(f"Kong refuses the configuration: {response.status_code} {response.text[:500]}")


def _plugins(way: str, service: str) -> list[dict[str, Any]]:
    if way == "none":
        return []
    if way == "lua":
        return [{"name": "pre-function", "config": {"access": [_LUA % service]}}]
    config = (cases.cached if way == "cached" else cases.token_injection)(service)
    return [{"name": "request-callout", "config": {key: config[key] for key in config.keys() - cases.SCOPE.keys()}}]


def _await(url: str) -> None:
    """Wait until Kong's workers have the configuration."""
    deadline = time.monotonic() + _PATIENCE_S
    while requests.get(url, timeout=_PATIENCE_S).status_code == 404:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{url}: still no such route")
        time.sleep(0.1)
