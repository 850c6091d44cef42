"""The examples of destinations, redirects, codings and certificates, run as they stand in their folders."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from request_callout.cli.demo.services import StandIns
from tests.examples.conftest import EXAMPLES
from tests.examples.test_examples import Example, services


def test_guarded_destination(example: Example, stand_ins: StandIns) -> None:
    """The allowed page is fetched; a host of another name and the metadata service in any spelling are not."""
    page = stand_ins.addresses["httpbin"] + "/uuid"
    url = example("guarded-destination") + "/preview"
    assert re.search(r"[0-9a-f-]{36}", requests.get(url, params={"of": page}).text)
    readme = (EXAMPLES / "guarded-destination" / "README.md").read_text()
    refused = [*re.findall(r"of=(http://(?:\d+\.|\d+/)\S+meta-data/)", readme), page.replace("127.0.0.1", "localhost")]
    assert len(refused) == 3
    for other in refused:
        assert requests.get(url, params={"of": other}).status_code == 500
    assert services(stand_ins, "httpbin", "upstream") == ["/uuid"]


def test_redirect_and_gzip(example: Example, stand_ins: StandIns) -> None:
    """The redirect is followed, and what is read of the document came in gzip."""
    answer = requests.get(example("redirect-and-gzip") + "/document")
    assert answer.json()["headers"]["X-Was-Compressed"] == "true"
    assert services(stand_ins, "httpbin") == ["/redirect-to?url=/gzip", "/gzip"]


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def running(command: list[str], folder: Path, port: int) -> Iterator[None]:
    """A service that listens on a port, killed at the end."""
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            connected = False
            while not connected:
                assert process.poll() is None
                with socket.socket() as client:
                    connected = not client.connect_ex(("127.0.0.1", port))
            yield
        finally:
            os.kill(process.pid, signal.SIGKILL)


def test_mutual_tls(
    example: Example, replaced: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the README's commands service and gateway know each other, and without a certificate there is no answer."""
    readme = (EXAMPLES / "mutual-tls" / "README.md").read_text()
    service, own, serving = re.findall(r"^    (openssl .*?)(?: &)?$", readme, re.MULTILINE)
    for command in (service, own):
        subprocess.run(shlex.split(command), cwd=tmp_path, check=True, capture_output=True)
    for name, file in re.findall(r'(\w+)="\$\(cat (\S+)\)"', readme):
        monkeypatch.setenv(name, (tmp_path / file).read_text())
    port = free_port()
    replaced["127.0.0.1:18443"] = f"127.0.0.1:{port}"
    with running(shlex.split(serving.replace("18443", str(port))), tmp_path, port):
        answer = requests.get(example("mutual-tls") + "/mutual-tls")
        assert answer.status_code == 200
        assert "my-gateway" in answer.text
        replaced.update({"client_certificate:": "#", "client_key:": "#"})
        assert requests.get(example("mutual-tls") + "/mutual-tls").status_code == 400
