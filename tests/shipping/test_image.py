"""The image, as far as it can be looked at without a Docker engine: its files, and its very commands run here."""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

from request_callout import __version__
from tests.shipping import dockerfile
from tests.shipping.commands import DESCRIPTION, IMAGE_DIRECTORY, ROOT, SOCKET, parse

pytestmark = pytest.mark.timeout(900)
"""What comes from a package index comes as fast as that is."""

ARGUMENTS, STAGES = dockerfile.read()
BUILD, FINAL = STAGES


def test_the_base_is_pinned_to_a_minor_version_of_python_that_is_supported() -> None:
    """Both stages start from the same slim Python, of a version among the package's classifiers."""
    assert BUILD.base == "python:${PYTHON}-slim AS build"
    assert FINAL.base == "python:${PYTHON}-slim"
    assert re.fullmatch(r"3\.\d+", ARGUMENTS["PYTHON"])
    assert f"Python :: {ARGUMENTS['PYTHON']}\n" in (ROOT / "setup.cfg").read_text(encoding="utf-8")


def test_nothing_but_the_environment_is_taken_from_the_build() -> None:
    """The compiler and the sources stay in the first stage, and nothing is installed in the last one."""
    assert FINAL.all("COPY") == ["--from=build /opt/request-callout /opt/request-callout"]
    assert not [text for text in FINAL.all("RUN") if re.search(r"\b(apt|apt-get|pip|gcc)\b", text)]
    assert "--no-cache-dir" in BUILD.all("RUN")[-1]


def test_the_sources_exist_and_reach_the_builder() -> None:
    """What is copied exists, and .dockerignore lets these through and nothing else at the top."""
    ignored = [
        line for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[:1] not in "#"
    ]
    let_through = {line[1:] for line in ignored if line.startswith("!")}
    assert let_through == set(BUILD.copied)
    assert all((ROOT / name).exists() for name in BUILD.copied)
    assert ignored[0] == "*"
    assert any(fnmatch("request_callout/engine/run__mypyc.so", line) for line in ignored[1:])


def test_it_runs_as_nobody_special() -> None:
    """The last user is the one Kong's chart runs as, by number, so that Kubernetes can tell it is not root."""
    assert FINAL.only("USER") == "1000:1000"
    assert [name for name, _ in FINAL.instructions].index("USER") > [name for name, _ in FINAL.instructions].index(
        "RUN"
    )
    (made,) = FINAL.all("RUN")
    assert f"install --directory --owner=1000 --group=1000 --mode=0700 {IMAGE_DIRECTORY}" in made
    assert FINAL.only("STOPSIGNAL") == "SIGTERM"


def test_started_without_arguments_it_serves_where_the_other_files_look() -> None:
    """Entry point and command are ``request-callout serve``, with socket and description from the environment."""
    assert json.loads(FINAL.only("ENTRYPOINT")) == ["request-callout"]
    variables = {name: value for name, value in FINAL.environment.items() if name.startswith("REQUEST_CALLOUT_")}
    served = parse(json.loads(FINAL.only("CMD")), variables)
    assert (served["path"], served["dump_file"]) == (SOCKET, DESCRIPTION)
    name, *health = FINAL.health
    assert name == "request-callout"
    assert parse(health, {"REQUEST_CALLOUT_SOCKET": SOCKET})["path"] == SOCKET


def test_the_labels_tell_this_version() -> None:
    """The version in the labels is the package's."""
    assert f'org.opencontainers.image.version="{__version__}"' in FINAL.only("LABEL")


def test_the_extras_that_it_names_are_the_packages() -> None:
    """The extras in the comment of the argument are those of setup.cfg that serve a running server."""
    named = re.search(r"# Extras of the package, separated by commas: (.*)\.", (ROOT / "Dockerfile").read_text("utf-8"))
    assert named is not None
    parsed = configparser.ConfigParser()
    parsed.read(ROOT / "setup.cfg", encoding="utf-8")
    assert set(named[1].split(", ")) == set(parsed["options.extras_require"]) - {"test", "docs"}


@pytest.fixture(scope="module")
def built(package_index: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The environment that the builder's last command makes out of the files it has, elsewhere than in /opt."""
    context = tmp_path_factory.mktemp("context")
    for name in BUILD.copied:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, context / name, symlinks=True, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
        else:
            shutil.copy(source, context)
    target = context / "opt"
    made = subprocess.run(
        ["sh", "-ec", BUILD.all("RUN")[-1].replace("/opt/request-callout", str(target))],
        cwd=context,
        # The image has a `python`; a machine need not.
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "COMPILE": "0", "EXTRAS": ""},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert made.returncode == 0, made.stderr
    return target


def test_the_very_commands_work(built: Path, tmp_path: Path) -> None:
    """Built as the image is and started as it is, the server is healthy, and leaves only a description and a socket."""
    environment = {
        name: value.replace("/opt/request-callout", str(built)).replace(IMAGE_DIRECTORY, str(tmp_path))
        for name, value in FINAL.environment.items()
    }
    environment["PATH"] = environment["PATH"].replace("$PATH", os.environ["PATH"])
    entry = json.loads(FINAL.only("ENTRYPOINT"))
    ready = tmp_path.parent / f"{tmp_path.name}-ready"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(str(ready))
        told.settimeout(60)
        server = subprocess.Popen(
            [str(built / "bin" / entry[0]), *json.loads(FINAL.only("CMD"))],
            env={**environment, "NOTIFY_SOCKET": str(ready)},
            cwd=tmp_path.parent,
        )
        try:
            assert told.recv(4096).startswith(b"READY=1")
            health = subprocess.run(FINAL.health, env=environment, capture_output=True, text=True, timeout=60)
            assert health.returncode == 0, health.stderr
            assert sorted(os.listdir(tmp_path)) == ["kong.sock", "request-callout.json"]
            described = json.loads((tmp_path / "request-callout.json").read_bytes())
            assert described["Plugins"][0]["Version"] == __version__
            assert described["Protocol"] == "ProtoBuf:1"
        finally:
            server.send_signal(signal.SIGTERM)
            status = server.wait(60)
    assert status == 0
    assert os.listdir(tmp_path) == ["request-callout.json"]
    down = subprocess.run(FINAL.health, env=environment, capture_output=True, text=True, timeout=60)
    assert down.returncode == 1
    assert not (built / "bin" / "pip").exists()
