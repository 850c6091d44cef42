"""A gateway with every output switched on, a route for each configuration, and all that comes out of it."""

from __future__ import annotations

import json
import os
import re
import stat
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from click.testing import CliRunner

from request_callout.cli import main
from request_callout.cli.demo.process import GatewayProcess
from request_callout.cli.trace.page import page_server
from request_callout.cli.trace.source import TraceSource
from tests.conformance import client
from tests.conformance.callee import Callee
from tests.failures.scrape import address_in, get
from tests.failures.stage import children, until
from tests.secrets.everywhere import SURROUNDINGS
from tests.secrets.planted import Planted
from tests.telemetry.collector import Collector

REFERENCES = "$refs"


def kong_file(configs: Mapping[str, Mapping[str, Any]], upstream: str) -> tuple[str, dict[str, str], list[str]]:
    """A declarative file with a route for each configuration, the variables of its vaults, and the routes' paths."""
    variables: dict[str, str] = {}
    routes: list[dict[str, Any]] = []
    for number, (name, config) in enumerate(configs.items()):
        plugin = {"name": "request-callout", "config": _with_references(config, variables)}
        routes.append({"name": re.sub(r"\W+", "-", name), "paths": [f"/r{number}"], "plugins": [plugin]})
    service = {"name": "upstream", "url": upstream, "retries": 0, "routes": routes}
    text = yaml.safe_dump({"_format_version": "3.0", "services": [service]}, sort_keys=False)
    return text, variables, [route["paths"][0] for route in routes]


def _with_references(value: Any, variables: dict[str, str]) -> Any:
    """A configuration as it stands in a file: with references where Kong would put what is in the vault."""
    if isinstance(value, list):
        return [_with_references(one, variables) for one in value]
    if not isinstance(value, Mapping):
        return value
    references = value.get(REFERENCES, {})
    for name, reference in references.items():
        variable = reference.removeprefix("{vault://env/").removesuffix("}").upper().replace("-", "_")
        assert variables.setdefault(variable, value[name]) == value[name], reference
    kept = {name: _with_references(one, variables) for name, one in value.items() if name != REFERENCES}
    return {**kept, **references}


class Watched:
    """The gateway with its plugin server, and where its outputs are."""

    def __init__(self, process: GatewayProcess, planted: Planted, collector: Collector, folder: Path) -> None:
        self._process = process
        self._planted = planted
        self._collector = collector
        self._folder = folder
        self.traces = TraceSource(str(folder / "trace.sock"))
        self.admin = process.admin
        self.asked = 0
        self.texts: dict[str, str] = {"answers": ""}

    def ask(self, path: str, content_type: str, body: str, secret: str) -> client.Answer:
        """One request of a client that has secrets everywhere."""
        planted = self._planted
        headers = {
            "Authorization": f"Bearer {planted('client: Authorization')}",
            "Cookie": f"session={planted('client: Cookie')}; lang=en",
            "X-Api-Key": planted("client: X-Api-Key"),
            "Content-Type": content_type,
            "X-Callout-Debug": secret,
            "Connection": "close",
        }
        query = f"key={planted('client: query')}&tab=2"
        answer = client.request(f"{self._process.proxy}{path}?{query}", "POST", headers, body.encode())
        self.asked += secret == planted("debug secret")
        self.texts["answers"] += f"{answer.status} {answer.headers} {answer.text}\n"
        return answer

    def ask_all(self, paths: Iterable[str]) -> None:
        """Each route twice, traced: with JSON and with a form; once with a wrong secret."""
        planted = self._planted
        as_json = json.dumps({"password": planted("client: body"), "about": "something"})
        form = f"passwd={planted('client: form')}&about=something"
        for path in paths:
            self.ask(path, "application/json", as_json, planted("debug secret"))
            self.ask(path, "application/x-www-form-urlencoded", form, planted("debug secret"))
        self.ask(path, "application/json", as_json, planted("wrong debug secret"))

    def look(self) -> dict[str, str]:
        """The texts of all outputs, as they are now, by name."""
        until(lambda: len(self.traces.since()) >= self.asked, f"{self.asked} traces are there")
        self._collector.wait_for(lambda all: [span.name for span in all].count("request-callout") >= self.asked + 1)
        log = self._process.log()
        (self._folder / "log").write_text(log)
        address = address_in(self._folder / "log")
        texts = {**self.texts, "log": log, "spans": self._collector.bytes.decode("latin-1")}
        texts["metrics"] = "".join(get(address, accept=kind).text for kind in ("text/plain", "*/*"))
        texts["health"] = get(address, "/healthz").text
        texts["processes"] = "".join(map(_command_line, self._processes()))
        texts |= self._traces()
        texts |= self._doctor()
        texts["admin"] = client.request(f"{self.admin}/schemas/plugins/request-callout").text
        return texts

    def _processes(self) -> list[int]:
        found = [self._process.pid]
        for pid in found:
            found += children(pid)
        assert len(found) >= 3, found
        return found

    def _doctor(self) -> dict[str, str]:
        """What doctor says, with the Admin API's own secrets."""
        planted = self._planted
        admin = self.admin.replace("http://", f"http://admin:{planted('doctor: URL')}@")
        secret = planted("doctor: header")
        texts: dict[str, str] = {}
        for address, output in ((admin, "text"), (admin, "json"), (f"{admin}/nowhere?key={admin[-5:]}", "text")):
            told = CliRunner().invoke(
                main,
                ["doctor", "--admin", address, "--header", f"Kong-Admin-Token: {secret}", "--output", output],
            )
            texts["doctor"] = texts.get("doctor", "") + told.output
        return texts

    def _traces(self) -> dict[str, str]:
        """Every trace in every form."""
        socket_path = str(self._folder / "trace.sock")
        texts: dict[str, str] = dict.fromkeys(("traces", "trace --json", "trace ID", "trace page"), "")
        ids = [str(one["id"]) for one in self.traces.since()]
        with page(self.traces) as url:
            for path in ("/", "/traces", *(f"/traces/{one}" for one in ids)):
                texts["trace page"] += client.request(url + path).text
        texts["traces"] = "".join(json.dumps(self.traces.get(one)) for one in ids)
        runner = CliRunner(env={"COLUMNS": "250"})

        def run(*arguments: str) -> str:
            result = runner.invoke(main, ["trace", "--socket", socket_path, *arguments])
            assert result.exit_code == 0, result.output
            return result.output

        texts["trace --json"] = run("--json", "--limit", "1000")
        texts["trace ID"] = run("--limit", "1000") + "".join(run(one) for one in ids)
        return texts


@contextmanager
def page(source: TraceSource) -> Iterator[str]:
    """The page of traces, served; its address."""
    server = page_server(source, "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def watched(
    folder: Path,
    temporary: Path,
    planted: Planted,
    configs: Mapping[str, Mapping[str, Any]],
    upstream: Callee,
    protocol: str,
    log_format: str,
) -> Iterator[tuple[Watched, list[str]]]:
    """A gateway with these configurations that logs all, counts, traces and exports; and the paths of its routes.

    Its files that are not configured are in ``temporary``.
    """
    text, variables, paths = kong_file(configs, upstream.url)
    (folder / "kong.yml").write_text(text)
    (folder / "debug-secret").write_text(planted("debug secret"))
    options = [
        "--log-level=debug",
        f"--log-format={log_format}",
        "--metrics=127.0.0.1:0",
        "--otel",
        f"--debug-secret-file={folder / 'debug-secret'}",
        f"--trace-socket={folder / 'trace.sock'}",
    ]
    given = ["--protocol", protocol, "--log-level", "debug", *(f"--serve-option={one}" for one in options)]
    collector = Collector()
    environment = {
        **variables,
        **SURROUNDINGS,
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_EXPORTER_OTLP_HEADERS": f"api-key={planted('exporter: header')}",
        "OTEL_BSP_SCHEDULE_DELAY": "20",
        "TMPDIR": str(temporary),
    }
    try:
        with GatewayProcess(folder / "kong.yml", given, environment) as process:
            yield Watched(process, planted, collector, folder), paths
    finally:
        collector.close()


def _command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ") + "\n"


def readable_by_others(folder: Path) -> list[str]:
    """The files below a folder that others than their owner could open."""
    found = []
    for place, _, names in os.walk(folder):
        if stat.S_IMODE(os.stat(place).st_mode) & 0o077 and place != str(folder):
            found += [f"{place}/"]
        found += [f"{place}/{name}" for name in names if os.lstat(f"{place}/{name}").st_mode & 0o077]
    return found
