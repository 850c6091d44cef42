"""The parts of the benchmark that need nothing but this package; ``native`` has the one that needs nginx."""

from __future__ import annotations

import functools
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

from bench import cases
from bench.load import Driver, Load, MsgPackConnection, median
from bench.processes import ROOT, Measured, naive_server, plugin_server, service
from bench.report import Part
from tests.servers.redis_server import HOST, running


def client(kind: str, url: str, at_once: int, calls: int = 1000) -> dict[str, float]:
    """One measurement of an HTTP client alone."""
    return _module("bench.client", kind, f"{url}/token", str(calls), str(at_once))


def inside(case: str) -> dict[str, float]:
    """One measurement of our own code alone."""
    return _module("bench.inside", case)


def _module(name: str, *arguments: str) -> dict[str, float]:
    command = [sys.executable, "-m", name, *arguments]
    output = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    figures: dict[str, float] = json.loads(output)
    return figures


def medians(found: list[dict[str, float]]) -> dict[str, float]:
    """The median of each figure."""
    return {name: statistics.median(one[name] for one in found) for name in found[0]}


def events(rounds: int) -> Part:
    """The token-injection case: this server, the same with a script, and the naive plugin."""
    cases_of = {"request-callout": "token_injection", "request-callout, by_lua": "by_script"}
    part = Part("a. Token injection: one POST, one upstream header")
    with service() as called, plugin_server() as ours, naive_server() as naive:
        url = f"{called.address}/token"
        for connections in (1, 16):
            drivers: dict[str, tuple[Driver, int]] = {
                "request-callout": (_driver(ours, cases.token_injection(called.address), connections), 3000),
                "request-callout, by_lua": (_driver(ours, cases.by_script(called.address), connections), 3000),
                "naive plugin": (_naive(naive, {"url": url}, connections), 300),
                "naive plugin, with a Session": (_naive(naive, {"url": url, "session": True}, connections), 300),
            }
            measure_client = functools.partial(client, "transport", called.address, connections)
            loads, alone = in_turns(drivers, rounds, measure_client)
            client_us = alone["cpu_us"]
            for name, load in loads.items():
                figures = {}
                if name in cases_of:
                    figures["without_client_us"] = load.cpu_us - client_us
                    figures["own_code_us"] = statistics.median(inside(cases_of[name])["cpu_us"] for _ in range(3))
                part.add(
                    f"{name}, {connections} connections",
                    **_figures(load),
                    **figures,
                    to_naive_ratio=load.events_per_s / loads["naive plugin"].events_per_s,
                )
    part.note = (
        "without client: CPU without that of the HTTP client measured alone in the same run. own code: in a process "
        "of its own, without Kong's socket and without the HTTP client."
    )
    return part


def stack(rounds: int) -> Part:
    """A callout through the whole stack, and a direct call with the same client; other clients beside it."""
    part = Part("b. A callout through the whole stack against the HTTP client alone")
    kinds = ("transport", "geventhttpclient", "requests")
    with service() as called, plugin_server() as ours:
        driver = _driver(ours, cases.token_injection(called.address), 1)
        driver.run(500)
        loads: list[Load] = []
        alone: dict[str, list[dict[str, float]]] = {kind: [] for kind in kinds}
        for _ in range(rounds):
            loads.append(driver.run(1500))
            for kind in kinds:
                alone[kind].append(client(kind, called.address, 1, 300 if kind == "requests" else 1000))
    whole, direct = median(loads), {kind: medians(figures) for kind, figures in alone.items()}
    base = direct["transport"]

    def add(name: str, p50_us: float, cpu_us: float) -> None:
        ratios = {"p50_ratio": p50_us / base["p50_us"], "cpu_ratio": cpu_us / base["cpu_us"]}
        part.add(name, p50_us=p50_us, cpu_us=cpu_us, **ratios)

    add("client alone", base["p50_us"], base["cpu_us"])
    add("through the whole stack", whole.p50_us, whole.cpu_us)
    for kind in kinds[1:]:
        add(f"{kind} alone", direct[kind]["p50_us"], direct[kind]["cpu_us"])
    return part


def cache(rounds: int) -> Part:
    """A hit against a callout that is made, of a service on this machine that answers at once."""
    part = Part("c. A hit in the memory cache and in Redis against no cache: a callout of 0 ms")
    with service() as called, plugin_server() as ours, running() as redis:
        where = {"host": HOST, "port": redis.port}
        for connections in (1, 16):
            drivers = {
                "no callout": (_driver(ours, cases.fixed(called.address), connections), 2000),
                "no cache": (_driver(ours, cases.token_injection(called.address), connections), 2000),
                "memory hit": (_driver(ours, cases.cached(called.address), connections), 2000),
                "redis hit": (_driver(ours, cases.cached_in(where, called.address), connections), 2000),
            }
            loads, _ = in_turns(drivers, rounds)
            nothing, none = loads["no callout"], loads["no cache"]
            for name, load in loads.items():
                ratio = load.events_per_s / none.events_per_s
                of_callout = {
                    "cpu_of_callout_ratio": (load.cpu_us - nothing.cpu_us) / (none.cpu_us - nothing.cpu_us),
                    "time_of_callout_ratio": (load.p50_us - nothing.p50_us) / (none.p50_us - nothing.p50_us),
                }
                part.add(f"{name}, {connections} connections", **_figures(load), ratio=ratio, **of_callout)
    part.note = (
        "of callout: what is left when the event without any callout is taken off, against the same of a callout. CPU "
        "is that of the plugin server: the called service and Redis have theirs beside it."
    )
    return part


def workers(rounds: int) -> Part:
    """Two workers against one, on events that have nothing to do with each other."""
    part = Part("h. Two workers against one, 16 connections")
    with service() as called, plugin_server("--workers", "1") as one, plugin_server("--workers", "2") as two:
        shapes = {
            "an expression, no callout": (cases.expression(), 5000),
            "a callout from the memory cache": (cases.cached(called.address), 3000),
            "a callout": (cases.token_injection(called.address), 3000),
            "a callout, 1 ms in a script": (cases.burning(called.address), 800),
        }
        for name, (config, count) in shapes.items():
            loads, _ = in_turns({server: (_driver(server, config, 16), count) for server in (one, two)}, rounds)
            for number, load in enumerate(loads.values(), 1):
                part.add(
                    f"{name}: {number} worker{'s' if number > 1 else ''}",
                    **_figures(load),
                    to_one_ratio=load.events_per_s / loads[one].events_per_s,
                    cpu_ratio=load.cpu_us / loads[one].cpu_us,
                )
    part.note = "The load's own process, and the called service, take their share of the same processors."
    return part


def side_by_side(rounds: int) -> Part:
    """Independent callouts of 50 and of 300 ms, and chains of them."""
    part = Part("d. Callouts side by side: the time of one request")
    with service() as called, plugin_server() as ours:
        shapes = [(50, count, False) for count in (1, 3, 10, 30)] + [(50, 3, True)]
        shapes += [(300, 1, False), (300, 3, False), (300, 2, True)]
        drivers = {
            shape: (
                _driver(ours, cases.several(called.address, shape[1], chained=shape[2], path=f"/delay/{shape[0]}"), 1),
                5,
            )
            for shape in shapes
        }
        loads, _ = in_turns(drivers, rounds)
    for (delay_ms, count, chained), load in loads.items():
        one_us = loads[delay_ms, 1, False].p50_us
        name = f"{count} of {delay_ms} ms, {'chained' if chained else 'independent'}"
        part.add(name, p50_ms=load.p50_us / 1000, to_one_ratio=load.p50_us / one_us)
    return part


def for_each(rounds: int) -> Part:
    """A list of 100 elements of which each takes 20 ms, at several concurrencies."""
    count, delay_ms = 100, 20
    part = Part(f"i. A call for each of {count} elements, {delay_ms} ms each: the time of one request")
    concurrencies = (1, 10, 50)
    with service() as called, plugin_server() as ours:
        drivers = {
            most: (_driver(ours, cases.for_each(called.address, count, most, f"/delay/{delay_ms}"), 1), 3)
            for most in concurrencies
        }
        loads, _ = in_turns(drivers, rounds)
    for most, load in loads.items():
        ideal_ms = count / most * delay_ms
        part.add(
            f"concurrency {most}",
            p50_ms=load.p50_us / 1000,
            cpu_us=load.cpu_us,
            to_one_ratio=load.p50_us / loads[1].p50_us,
            to_ideal_ratio=load.p50_us / 1000 / ideal_ms,
        )
    part.note = "ideal: the elements' own time, divided by the concurrency."
    return part


def growth(rounds: int) -> Part:
    """What a request costs as the configuration and the bodies grow."""
    part = Part("e. Growth: CPU of one request")
    with service() as called, plugin_server() as ours:
        counts = {
            count: (_driver(ours, cases.several(called.address, count), 1), max(1000 // count, 40))
            for count in (1, 2, 5, 10, 20, 50)
        }
        sizes = {
            size: (_driver(ours, cases.several(called.address, 1, path=f"/bytes/{size}"), 1), events)
            for size, events in ((10**3, 1000), (10**4, 1000), (10**5, 300), (10**6, 60), (10**7, 8))
        }
        by_count, _ = in_turns(counts, rounds)
        by_size, _ = in_turns(sizes, rounds)
    for count, load in by_count.items():
        part.add(
            f"{count} callouts" if count > 1 else "1 callout",
            cpu_us=load.cpu_us,
            p50_us=load.p50_us,
            cpu_ratio=load.cpu_us / by_count[1].cpu_us,
            cpu_per_callout_us=load.cpu_us / count,
        )
    for size, load in by_size.items():
        part.add(
            f"a body of {size // 1000:,} KB",
            cpu_us=load.cpu_us,
            p50_us=load.p50_us,
            cpu_ratio=load.cpu_us / by_size[1000].cpu_us,
            cpu_per_kb_us=load.cpu_us / size * 1000,
        )
    return part


def memory(_rounds: int, *, long: bool = False) -> Part:
    """Resident size and open descriptors as events go by: all to their end, or most with another end."""
    part = Part("f. Memory of the server")
    marks = (2_000, 20_000, 200_000) if long else (2_000, 20_000)
    mixes = {
        "all to their end": (cases.token_injection,),
        "half end in exit, a tenth in errors": (cases.token_injection, cases.early_exit) * 4
        + (cases.script_error, cases.early_exit),
    }
    for name, mix in mixes.items():
        with service() as called, plugin_server(quiet=True) as ours:
            driver = Driver(ours, [case(called.address) for case in mix], 16, cases.RESULTS)
            done, first = 0, 0
            for mark in marks:
                driver.run(mark - done)
                done, resident = mark, ours.resident_kib()
                first = first or resident
                part.add(
                    f"{name}: after {mark:,} events",
                    resident_mib=resident / 1024,
                    to_first_ratio=resident / first,
                    descriptors=ours.descriptors(),
                )
            driver.close()
    return part


def in_turns(
    drivers: Mapping[Any, tuple[Driver, int]], rounds: int, also: Callable[[], dict[str, float]] = dict
) -> tuple[dict[Any, Load], dict[str, float]]:
    """The medians of every driver's runs, and of what ``also`` gives.

    All run in each round, so that what else goes on meets all alike.
    """
    found: dict[Any, list[Load]] = {name: [] for name in drivers}
    others: list[dict[str, float]] = []
    for driver, count in drivers.values():
        driver.run(max(count // 5, 2))
    for _ in range(rounds):
        for name, (driver, count) in drivers.items():
            found[name].append(driver.run(count))
        others.append(also())
    for driver, _ in drivers.values():
        driver.close()
    return {name: median(loads) for name, loads in found.items()}, medians(others)


def _driver(server: Measured, config: dict[str, Any], connections: int) -> Driver:
    return Driver(server, [config], connections, cases.RESULTS)


def _naive(server: Measured, config: dict[str, Any], connections: int) -> Driver:
    return Driver(server, [config], connections, kind=MsgPackConnection)


def _figures(load: Load) -> dict[str, float]:
    return {
        "events_per_s": load.events_per_s,
        "cpu_us": load.cpu_us,
        "p50_us": load.p50_us,
        "p99_us": load.p99_us,
    }
