"""Independent callouts run side by side, dependent ones in order: shown through the embedded gateway.

Three callouts of 300 ms each: independent they take little more than one of them, in a chain the sum. Prints the
median of several requests and the ratios; ``--json`` for machines.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import requests

DELAY_S = 0.3
REQUESTS = 5


class Slow(BaseHTTPRequestHandler):
    """Answers ``{"n": 1}`` after the delay."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one segment

    def do_GET(self) -> None:
        time.sleep(DELAY_S)
        body = b'{"n": 1}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def slow_service() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()


@contextmanager
def gateway() -> Iterator[dict[str, str]]:
    command = [sys.executable, "-m", "request_callout", "gateway", "--proxy", "127.0.0.1:0", "--admin", "127.0.0.1:0"]
    command += ["--log-level", "warn"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    addresses: dict[str, str] = {}
    try:
        assert process.stdout is not None
        while not addresses.keys() >= {"proxy", "admin"}:
            line = process.stdout.readline()
            if not line:
                raise RuntimeError("the gateway did not start")
            name, _, address = line.strip().partition(" ")
            addresses[name] = address
        yield addresses
    finally:
        process.terminate()
        process.wait(10)


def plugin(url: str, *, chained: bool) -> dict[str, Any]:
    callouts: list[dict[str, Any]] = []
    for place in range(3):
        request: dict[str, Any] = {"url": f"{url}/{place}"}
        if chained and place:
            request["query"] = {"custom": {"n": f"$(callouts.c{place - 1}.response.body.n)"}}
        callouts.append({"name": f"c{place}", "request": request, "response": {"body": {"decode": True}}})
    by_lua = "kong.response.exit(200, {n = kong.ctx.shared.callouts.c2.response.body.n})"
    return {"name": "request-callout", "config": {"callouts": callouts, "upstream": {"by_lua": by_lua}}}


def declarative(url: str) -> dict[str, Any]:
    routes = [
        {"name": name, "paths": [f"/{name}"], "plugins": [plugin(url, chained=name == "chained")]}
        for name in ("independent", "chained")
    ]
    return {"_format_version": "3.0", "services": [{"name": "s", "url": url, "routes": routes}]}


def measure(url: str) -> float:
    """The median time of one request, in milliseconds."""
    times = []
    for _ in range(REQUESTS):
        started = time.perf_counter()
        response = requests.get(url, timeout=30)
        times.append((time.perf_counter() - started) * 1000)
        if response.json() != {"n": 1}:
            raise RuntimeError(f"{url}: {response.status_code} {response.text}")
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    with slow_service() as service, gateway() as addresses:
        config = json.dumps(declarative(service))
        requests.post(f"{addresses['admin']}/config", json={"config": config}, timeout=30).raise_for_status()
        independent = measure(f"{addresses['proxy']}/independent")
        chained = measure(f"{addresses['proxy']}/chained")
    one = DELAY_S * 1000
    result = {
        "one_callout_ms": one,
        "three_independent_ms": round(independent, 1),
        "three_chained_ms": round(chained, 1),
        "independent_to_one": round(independent / one, 2),
        "chained_to_one": round(chained / one, 2),
    }
    if arguments.json:
        print(json.dumps(result))
        return
    for name, value in result.items():
        print(f"{name:24} {value}")


if __name__ == "__main__":
    main()
