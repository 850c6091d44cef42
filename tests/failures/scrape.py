"""Reading a server's metrics, with Prometheus' own parser."""

from __future__ import annotations

import http.client
import re
import socket
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics_families
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.conformance.callee import PATIENCE_S
from tests.failures.stage import until

OPEN_METRICS = "application/openmetrics-text; version=1.0.0"


class Answer:
    """What an address answered."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.content_type = response.getheader("Content-Type", "")
        self.text = response.read().decode()


def get(address: str, path: str = "/metrics", accept: str = "text/plain", method: str = "GET") -> Answer:
    """Ask at ``HOST:PORT`` or ``unix:PATH``."""
    connection = http.client.HTTPConnection("localhost" if address.startswith("unix:") else address, timeout=PATIENCE_S)
    if address.startswith("unix:"):
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.sock.settimeout(PATIENCE_S)
        connection.sock.connect(address[len("unix:") :])
    try:
        connection.request(method, path, headers={"Accept": accept})
        return Answer(connection.getresponse())
    finally:
        connection.close()


def address_in(log: Path) -> str:
    """Where the server's metrics are, by its log."""
    found = re.findall(r'metrics at ([^\s"]+)', log.read_text())
    return str(found[-1])


class Scrape:
    """One scrape: its families, and sums over its samples."""

    def __init__(self, address: str, accept: str = "text/plain") -> None:
        answer = get(address, accept=accept)
        assert answer.status == 200
        self.text = answer.text
        parse: Callable[[str], Iterable[Metric]] = (
            open_metrics_families if "openmetrics" in answer.content_type else text_string_to_metric_families
        )
        self.families = {family.name: family for family in parse(answer.text)}

    @property
    def samples(self) -> list[Sample]:
        return [sample for family in self.families.values() for sample in family.samples]

    def sum(self, name: str, **labels: str) -> float:
        """The sum of all samples of this name that have these labels."""
        return sum(
            sample.value
            for sample in self.samples
            if sample.name == f"request_callout_{name}" and labels.items() <= sample.labels.items()
        )

    def by(self, name: str, label: str) -> dict[str, float]:
        """Sums by one label's values."""
        found: dict[str, float] = {}
        for sample in self.samples:
            if sample.name == f"request_callout_{name}":
                found[sample.labels[label]] = found.get(sample.labels[label], 0.0) + sample.value
        return {value: count for value, count in found.items() if count}


def scraped(address: str, true: Callable[[Scrape], Any], what: str) -> Scrape:
    """Scrape until it is so."""
    last: list[Scrape] = []

    def look() -> bool:
        last[:] = [Scrape(address)]
        return bool(true(last[0]))

    until(look, what, PATIENCE_S * 3)
    return last[0]
