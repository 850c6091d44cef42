"""Debian's nginx and wrk, which the parts that compare with Lua need."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

from bench import cases
from bench.processes import Measured
from request_callout.pdk.protobuf import StartInstance, encode_call, frame

PACKAGES = ("nginx", "libnginx-mod-http-lua", "wrk")
_MODULES = Path("/usr/lib/nginx/modules")
_HERE = Path(__file__).parent
_SECONDS = 2


def install() -> None:
    """Install what these parts need with apt (as root)."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(
        ["apt-get", "install", "-y", "-q", "--no-install-recommends", *PACKAGES], check=True, env=environment
    )


def missing() -> str:
    """Why a part that needs them has to be skipped; empty if it has not."""
    found = [name for name in ("nginx", "wrk") if shutil.which(name) is None]
    if not (_MODULES / "ngx_http_lua_module.so").exists():
        found.append("libnginx-mod-http-lua")
    return f"skipped: {', '.join(found)} not installed (python -m bench --install)" if found else ""


@contextmanager
def nginx(template: str, called: Measured | None = None, ours: Measured | None = None) -> Iterator[Measured]:
    """An nginx of one worker on a free port; its address is a URL."""
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        os.chmod(folder, 0o755)
        port = _free_port()
        text = (_HERE / template).read_text(encoding="utf-8")
        user = "user root;" if os.geteuid() == 0 else ""
        values = {"PORT": str(port), "FOLDER": folder, "LUA": str(_HERE), "MODULES": str(_MODULES), "USER": user}
        if called is not None and ours is not None:
            values["SERVICE"] = called.address.removeprefix("http://")
            values["SOCKET"] = ours.address
            config = json.dumps(cases.token_injection(called.address)).encode()
            start = frame(encode_call(StartInstance(1, "request-callout", config)))
            Path(folder, "start.bin").write_bytes(start)
        text = re.sub(r"@([A-Z]+)@", lambda found: values[found[1]], text)
        Path(folder, "nginx.conf").write_text(text, encoding="utf-8")
        process = subprocess.Popen(["nginx", "-p", folder, "-c", f"{folder}/nginx.conf", "-e", f"{folder}/error.log"])
        try:
            _await_port(port, process, folder)
            yield Measured(process.pid, f"http://127.0.0.1:{port}")
        finally:
            process.terminate()
            process.wait(10)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


def _await_port(port: int, process: subprocess.Popen[bytes], folder: str) -> None:
    for _ in range(200):
        if process.poll() is not None:
            break
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise RuntimeError(f"nginx did not start: {Path(folder, 'error.log').read_text(errors='replace')[-2000:]}")


def check(url: str) -> None:
    """Raise unless the upstream gets the token."""
    response = requests.get(url, timeout=10)
    if response.status_code != 200 or not response.text.startswith("Bearer ey"):
        raise RuntimeError(f"{url}: {response.status_code} {response.text[:200]}")


def wrk(url: str, connections: int) -> tuple[float, float, int]:
    """Requests per second, p99 in microseconds, and how many requests there were."""
    command = ["wrk", "-t", "1", "-c", str(connections), "-d", f"{_SECONDS}s", "--latency", url]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in output or "Socket errors" in output:
        raise RuntimeError(f"{url}: {output}")
    per_s = float(_found(r"Requests/sec:\s*([\d.]+)", output)[1])
    p99 = _found(r"99%\s*([\d.]+)(us|ms|s)", output)
    count = int(_found(r"(\d+) requests in", output)[1])
    return per_s, float(p99[1]) * {"us": 1, "ms": 1e3, "s": 1e6}[p99[2]], count


def _found(pattern: str, output: str) -> re.Match[str]:
    found = re.search(pattern, output)
    if found is None:
        raise RuntimeError(f"not understood: {output}")
    return found
