"""Redis servers for tests: one process each, nothing on disk but a temporary folder, ended by process id."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gevent
import trustme
from redis.connection import Connection

HOST = "127.0.0.1"
_START_S = 20.0
_PORTS = range(20000, 32000)  # below the ports that the system gives to clients; ten thousand more is a cluster's bus

TLS_NAME = "redis.example"
USERNAME = "callouts"
PASSWORD = "correct-horse-battery-staple"


def until(holds: Callable[[], bool], what: str, limit_s: float = _START_S) -> None:
    """Poll until something holds, letting greenlets run; an assertion error if it takes too long."""
    end = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < end, f"waited {limit_s} s for {what}"
        gevent.sleep(0.01)


class RedisServer:
    """One ``redis-server`` process that can be killed, stopped and started again on the same port."""

    def __init__(self, directory: Path, options: Sequence[str], *, tls: bool = False, sentinel: bool = False) -> None:
        self._directory = directory
        self._options = options
        self._tls = tls
        self._sentinel = sentinel
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def start(self) -> None:
        """Start it, on a free port if it never ran before; returns when it answers."""
        if self.port:
            assert self._spawn(self.port), self._said()
            return
        for _ in range(20):
            port = random.choice(_PORTS)
            # Another process may take the port in between: then the server ends, and the next port is tried.
            if _is_free(port) and _is_free(port + 10000) and self._spawn(port):
                self.port = port
                return
        raise AssertionError(f"redis-server does not start: {self._said()}")

    def kill(self) -> None:
        """As ``kill -9``."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """As ``kill -STOP``: it accepts connections, through the kernel, and says nothing."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """As ``kill -CONT``."""
        self._signal(signal.SIGCONT)

    def command(self, *arguments: str | int) -> Any:
        """The raw reply to one command, in text, on a blocking connection of its own."""
        blocking: Any = Connection
        connection = blocking(HOST, self.port, decode_responses=True, protocol=2, socket_timeout=10)
        try:
            connection.send_command(*arguments)
            return connection.read_response()
        finally:
            connection.disconnect()

    def _spawn(self, port: int) -> bool:
        program = shutil.which("redis-server")
        assert program is not None, "redis-server is not installed; `make test` installs it or says how"
        ports = ["--port", "0", "--tls-port", str(port)] if self._tls else ["--port", str(port)]
        arguments = ["--bind", HOST, "--dir", str(self._directory), "--daemonize", "no", *ports, *self._options]
        if self._sentinel:
            arguments = [str(self._directory / "sentinel.conf"), "--sentinel", *arguments]
        else:
            arguments += ["--save", "", "--appendonly", "no"]
        with (self._directory / "log").open("ab") as log:
            self._process = process = subprocess.Popen([program, *arguments], stdout=log, stderr=log)
        end = time.monotonic() + _START_S
        while process.poll() is None and time.monotonic() < end:
            if self._listens(port):
                return True
            time.sleep(0.005)
        self.kill()
        return False

    def _listens(self, port: int) -> bool:
        try:
            with socket.create_connection((HOST, port), timeout=1) as sock:
                if self._tls:
                    return True
                sock.sendall(b"PING\r\n")
                return sock.recv(5) in (b"+PONG", b"-NOAU")
        except OSError:
            return False

    def _signal(self, number: int) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    def _said(self) -> str:
        return (self._directory / "log").read_text()[-2000:]


def _is_free(port: int) -> bool:
    with socket.socket() as sock:
        try:
            sock.bind((HOST, port))
        except OSError:
            return False
    return True


@contextmanager
def running(*options: str, tls: bool = False, sentinel_conf: str | None = None) -> Iterator[RedisServer]:
    """A server with these options of the command line, ended afterwards."""
    with tempfile.TemporaryDirectory(prefix="redis-") as name:
        directory = Path(name)
        if sentinel_conf is not None:
            (directory / "sentinel.conf").write_text(sentinel_conf)
        server = RedisServer(directory, options, tls=tls, sentinel=sentinel_conf is not None)
        try:
            server.start()
            yield server
        finally:
            server.kill()


@dataclass(frozen=True)
class SecureRedis:
    """A server with TLS only, and one user only; its certificate is for ``TLS_NAME`` and is from ``ca_file``."""

    server: RedisServer
    ca_file: str


@contextmanager
def secure_redis() -> Iterator[SecureRedis]:
    """A server that takes TLS, ``USERNAME`` and ``PASSWORD``, and keys that begin with ``request-callout:``."""
    with tempfile.TemporaryDirectory(prefix="redis-tls-") as name:
        directory = Path(name)
        ca = trustme.CA()
        certificate = ca.issue_cert(TLS_NAME)
        files = {part: directory / f"{part}.pem" for part in ("ca", "cert", "key")}
        ca.cert_pem.write_to_path(files["ca"])
        certificate.private_key_pem.write_to_path(files["key"])
        for pem in certificate.cert_chain_pems:
            pem.write_to_path(files["cert"], append=True)
        acl = directory / "users.acl"
        rule = f"user {USERNAME} on >{PASSWORD} ~request-callout:* +@all"
        acl.write_text(f"user default off\n{rule}\n")
        options = ["--tls-cert-file", str(files["cert"]), "--tls-key-file", str(files["key"])]
        options += ["--tls-ca-cert-file", str(files["ca"]), "--tls-auth-clients", "no", "--aclfile", str(acl)]
        with running(*options, tls=True) as server:
            yield SecureRedis(server, str(files["ca"]))
