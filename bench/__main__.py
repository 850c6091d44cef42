"""``python -m bench``: all figures in one run; ``python -m bench events cache`` only these parts.

Every figure is the median of several rounds, and what is compared takes turns within the run: on another machine the
figures differ, the ratios hardly.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable
from pathlib import Path

from bench import native, observing, outages, parts, resilience
from bench.chart import draw
from bench.native import in_kong
from bench.native.nginx import install
from bench.report import Part, show, write_json


def main() -> None:
    """Run the parts that were asked for."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    names = (
        "events",
        "stack",
        "cache",
        "side_by_side",
        "for_each",
        "growth",
        "memory",
        "workers",
        "outages",
        "native",
        "outage_of_callee",
        "hedging",
        "observing",
        "in_kong",
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(names)}; all unless given")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of which the median counts (5)")
    parser.add_argument("--long", action="store_true", help="200,000 events for the memory, an outage of 10 s")
    parser.add_argument("--install", action="store_true", help="install nginx, its Lua module and wrk with apt first")
    parser.add_argument("--kong-proxy", metavar="URL", help="a real Kong with the plugin, for in_kong")
    parser.add_argument("--kong-admin", metavar="URL", help="its Admin API: its configuration is replaced")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file")
    parser.add_argument("--chart", type=Path, metavar="FILE", help="draw events and native as an SVG")
    given = parser.parse_args()
    if unknown := set(given.parts) - set(names):
        parser.error(f"no part {', '.join(sorted(unknown))}")
    if given.install:
        install()
    measures: dict[str, Callable[[int], Part]] = {
        "events": parts.events,
        "stack": parts.stack,
        "cache": parts.cache,
        "side_by_side": parts.side_by_side,
        "for_each": parts.for_each,
        "growth": parts.growth,
        "memory": functools.partial(parts.memory, long=given.long),
        "workers": parts.workers,
        "outages": outages.measure,
        "native": native.measure,
        "outage_of_callee": functools.partial(resilience.outage_of_callee, long=given.long),
        "hedging": resilience.hedging,
        "observing": observing.measure,
        "in_kong": functools.partial(in_kong.measure, proxy=given.kong_proxy, admin=given.kong_admin),
    }
    done: dict[str, Part] = {}
    for name in given.parts or names:
        done[name] = measures[name](given.rounds)
        show(done[name])
    if given.json is not None:
        write_json(done, given.json)
    if given.chart is not None:
        draw(done, given.chart)


if __name__ == "__main__":
    main()
