"""The native limit: the same callout made by Lua inside nginx, against nginx's Lua speaking to this server.

Both run in one worker of Debian's nginx under wrk, and proxy to the same upstream. What this leaves out of Kong is what
both would pay alike, but for one thing: Kong also decodes the arguments of PDK calls, which here is done for
``set_header`` only. The module ``in_kong`` measures that in a real one.
"""

from __future__ import annotations

import statistics

from bench.native.nginx import check, missing, nginx, wrk
from bench.processes import plugin_server
from bench.report import Part


def measure(rounds: int) -> Part:
    """Requests per second at 1, 16 and 64 connections; an empty part that says why if nginx or wrk is not there."""
    part = Part("g. The native limit: a callout by Lua in nginx against this server (wrk, requests/s)")
    if why := missing():
        part.note = why
        return part
    with nginx("service.conf") as called, plugin_server() as ours, nginx("gateway.conf", called, ours) as gateway:
        for path in ("lua", "callout"):
            check(f"{gateway.address}/{path}")
        for connections in (1, 16, 64):
            found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in ("none", "lua", "callout")}
            for _ in range(max(rounds - 2, 1)):
                for path, runs in found.items():
                    before = ours.cpu_s()
                    per_s, p99_us, count = wrk(f"{gateway.address}/{path}", connections)
                    runs.append((per_s, p99_us, (ours.cpu_s() - before) / count * 1e6))
            rows = {path: [statistics.median(one) for one in zip(*runs, strict=True)] for path, runs in found.items()}
            for path, name in (("none", "no plugin"), ("lua", "Lua in nginx"), ("callout", "request-callout")):
                per_s, p99_us, cpu_us = rows[path]
                figures = {"server_cpu_us": cpu_us} if path == "callout" else {}
                part.add(
                    f"{name}, {connections} connections",
                    requests_per_s=per_s,
                    p99_us=p99_us,
                    to_lua_ratio=per_s / rows["lua"][0],
                    **figures,
                )
    return part
