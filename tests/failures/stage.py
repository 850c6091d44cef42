"""What the tests here kill, and what they watch it with: processes, load, and the rule for the upstream."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import yaml

from request_callout.cli.demo.process import GatewayProcess
from tests.conformance.callee import PATIENCE_S, Callee
from tests.failures import token_service

ROOT = Path(__file__).parents[2]
CLIENTS = 16
BACK_WITHIN_S = 2.0
"""How soon there is service again after what was killed is there again, or was killed where others stand in for it."""

STATUSES = {"protobuf": {200, 500}, "msgpack": {200, 500, 503}}
DOWN = {"protobuf": 500, "msgpack": 503}
"""What clients may see at any time, and what they see without a plugin server: the 503 is the guard's."""

SECRET = secrets.token_hex(16)


def token(identity: str) -> str:
    """What the callout of the request with this id gives; so one who has it has made that callout."""
    return token_service.token(SECRET, identity)


def until(true: Callable[[], bool], what: str, within_s: float = PATIENCE_S) -> None:
    """Look until it is so."""
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        time.sleep(0.005)


class TokenService:
    """The service that the callouts call; it comes back on the port that it had."""

    def __init__(self) -> None:
        self.port = 0
        self.start()

    def start(self) -> None:
        """Start it, and wait until it listens."""
        command = [sys.executable, "-m", token_service.__name__, str(self.port), SECRET]
        self._process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        self.url = f"http://127.0.0.1:{self.port}"

    def kill(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


class PluginServer:
    """``request-callout serve`` at one path, started again by whoever killed it."""

    def __init__(self, folder: Path, protocol: str, options: Sequence[str] = ()) -> None:
        self.path = str(folder / "kong.sock")
        self.log = folder / "server.log"
        self._command = [sys.executable, "-m", "request_callout", "serve", "--socket", self.path]
        self._command += ["--protocol", protocol, *options]
        self._ready = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._ready.bind(str(folder / "ready.sock"))
        self._ready.settimeout(PATIENCE_S * 2)
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it, and wait until it says that it serves."""
        began_s = time.monotonic()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=ROOT,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "NOTIFY_SOCKET": self._ready.getsockname()},
            )
        assert self._ready.recv(100).startswith(b"READY=1"), self.log.read_text()
        self.started_in_s = time.monotonic() - began_s

    def kill(self) -> None:
        """Kill the supervisor and all workers at once."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def workers(self) -> list[int]:
        """The processes that handle requests."""
        assert self._process is not None
        return children(self._process.pid)

    def wait_for_end_of(self, worker: int) -> None:
        """Wait until the supervisor has noticed that a worker has ended."""
        until(lambda: worker not in self.workers(), "the end of a worker is noticed")

    def descriptors(self) -> int:
        """How many file descriptors all its processes have open."""
        assert self._process is not None
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in (self._process.pid, *self.workers()))

    def close(self) -> None:
        self.kill()
        self._ready.close()


def children(pid: int) -> list[int]:
    """The processes that this one has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def injection(url: str) -> dict[str, Any]:
    """A configuration whose callout asks for the token of the request's id and puts it into the upstream request."""
    return {
        "callouts": [
            {
                "name": "auth",
                "request": {"url": url, "query": {"forward": True}, "error": {"error_response_code": 500}},
                "response": {"body": {"decode": True}},
            }
        ],
        "upstream": {"headers": {"custom": {"Authorization": "Bearer $(callouts.auth.response.body.token)"}}},
    }


@contextmanager
def gateway(
    folder: Path, protocol: str, upstream: str, configs: Mapping[str, Mapping[str, Any]], *options: str
) -> Iterator[GatewayProcess]:
    """The embedded gateway with a route for each path, on MsgPack with the guard of ``examples/msgpack-guard``."""
    routes: list[dict[str, Any]] = []
    for path, config in configs.items():
        plugins: list[Mapping[str, Any]] = [{"name": "request-callout", "config": config}]
        if protocol == "msgpack":
            plugins.append(_guard())
        routes.append({"name": f"r{len(routes)}", "paths": [path], "strip_path": False, "plugins": plugins})
    file = folder / "kong.yml"
    services = [{"name": "s", "url": upstream, "routes": routes}]
    file.write_text(json.dumps({"_format_version": "3.0", "services": services}))
    with GatewayProcess(file, ["--protocol", protocol, "--log-level", "error", *options]) as process:
        yield process


def _guard() -> Mapping[str, Any]:
    document = yaml.safe_load((ROOT / "examples/msgpack-guard/kong.yml").read_text())
    plugins: list[Mapping[str, Any]] = document["services"][0]["routes"][0]["plugins"]
    return next(plugin for plugin in plugins if plugin["name"] == "post-function")


@dataclass(frozen=True)
class Answer:
    """What a client got, and when it had asked."""

    identity: str
    path: str
    status: int
    body: bytes
    began_s: float
    ended_s: float


class Load:
    """Clients that ask one thing after the other, each request with an id of its own, until told to stop.

    They ask for ``paths`` in turn.
    """

    def __init__(self, url: str, paths: Sequence[str] = ("/",), clients: int = CLIENTS) -> None:
        self.answers: list[Answer] = []
        self._host = urlsplit(url).netloc
        self._paths = paths
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self._failures: list[Exception] = []
        self._threads = [threading.Thread(target=self._ask, args=(client,)) for client in range(clients)]
        for thread in self._threads:
            thread.start()

    def _ask(self, client: int) -> None:
        connection = http.client.HTTPConnection(self._host, timeout=30)
        number = client
        try:
            while not self._stop.is_set():
                number += 1
                identity, path = f"{client}-{number}", self._paths[number % len(self._paths)]
                began_s = time.monotonic()
                connection.request("GET", self._target(path, identity))
                response = connection.getresponse()
                body = response.read()
                with self._changed:
                    self.answers.append(Answer(identity, path, response.status, body, began_s, time.monotonic()))
                    self._changed.notify_all()
        except (OSError, http.client.HTTPException) as error:
            self._failures.append(error)
        finally:
            connection.close()

    def _target(self, path: str, identity: str) -> str:
        """What a request asks for."""
        return f"{path}?id={identity}"

    def wait_for(self, status: int, times: int, began_after_s: float = 0.0) -> Answer:
        """Until so many requests that were begun after a moment got this status; gives the first of them."""
        found: list[Answer] = []
        seen = 0

        def enough() -> bool:
            nonlocal seen
            new, seen = self.answers[seen:], len(self.answers)
            found.extend(one for one in new if one.status == status and one.began_s > began_after_s)
            return len(found) >= times

        with self._changed:
            came = self._changed.wait_for(enough, PATIENCE_S * 3)
        assert came, f"no {times} answers with {status}: {self._failures}, {self.answers[-20:]}"
        return found[0]

    def stop(self) -> None:
        """Stop, when what was asked is answered; the connections of clients must not have been broken."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        assert self._failures == []

    def statuses(self) -> set[int]:
        return {answer.status for answer in self.answers}


@contextmanager
def load(url: str, paths: Sequence[str] = ("/",)) -> Iterator[Load]:
    """Load while the block runs."""
    running = Load(url, paths)
    try:
        yield running
    finally:
        running.stop()


def identity_of(query: str) -> str:
    """The id of a request, from its query."""
    return dict(parse_qsl(query))["id"]


def passed_with_callouts(upstream: Callee, answers: Iterable[Answer]) -> int:
    """Check that what reached the upstream has each its own callout's header, and that no 200 came from elsewhere.

    Gives how many requests reached the upstream.
    """
    received = upstream.received()
    wrong = [one for one in received if one.all("authorization") != [f"Bearer {token(identity_of(one.query))}"]]
    assert wrong == [], f"{len(wrong)} of {len(received)} without their callout's header"
    seen = {identity_of(one.query) for one in received}
    assert {one.identity for one in answers if one.status == 200} <= seen
    return len(received)
