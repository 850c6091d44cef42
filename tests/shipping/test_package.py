"""What goes to a package index: built, checked, and installed where nothing else is."""

from __future__ import annotations

import configparser
import os
import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

from request_callout import __version__
from tests.shipping.commands import ROOT

BUILT_FROM = ("setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE", "schema", "request_callout")


def run(*command: str | Path, cwd: Path) -> str:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "REQUEST_CALLOUT"))}
    done = subprocess.run(command, cwd=cwd, env=clean, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sdist, made of the files that git keeps, and the wheel, made of the sdist alone."""
    checkout = tmp_path_factory.mktemp("checkout")
    kept = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    names = [name for name in kept.split("\0") if name and (ROOT / name).exists()]
    run("cp", "--parents", "--no-dereference", "--target-directory", checkout, *names, cwd=ROOT)
    run(sys.executable, "-m", "build", "--outdir", checkout / "dist", checkout, cwd=checkout)
    (sdist,) = (checkout / "dist").glob("*.tar.gz")
    (wheel,) = (checkout / "dist").glob("*.whl")
    return sdist, wheel


@pytest.fixture(scope="module")
def metadata(packages: tuple[Path, Path]) -> Message:
    with zipfile.ZipFile(packages[1]) as wheel:
        (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
        return Parser().parsestr(wheel.read(name).decode())


def test_twine_has_nothing_against_them(packages: tuple[Path, Path]) -> None:
    """``twine check --strict`` passes both: their metadata is whole and the description can be shown."""
    assert run(sys.executable, "-m", "twine", "check", "--strict", *packages, cwd=ROOT).count("PASSED") == 2


def test_the_wheel_has_the_package_and_nothing_else(packages: tuple[Path, Path]) -> None:
    """Every file of the package that git keeps is in it, with the type marker, and no test, bench or document."""
    kept = subprocess.run(["git", "ls-files", "request_callout"], cwd=ROOT, capture_output=True, text=True, check=True)
    with zipfile.ZipFile(packages[1]) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
        schema = wheel.read("request_callout/config/request-callout.schema.json")
    assert names == set(kept.stdout.split())
    assert "request_callout/py.typed" in names
    assert schema == (ROOT / "schema" / "request-callout.schema.json").read_bytes()


def test_the_sdist_has_what_the_build_needs_and_no_junk(packages: tuple[Path, Path]) -> None:
    """The sources, the schema (a file, where the package has a link to it), and nothing that a build leaves behind."""
    with tarfile.open(packages[0]) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    top = {name.partition("/")[0] for name in names if name}
    assert set(BUILT_FROM) - {"schema"} <= top
    assert "request_callout/config/request-callout.schema.json" in names
    assert not [name for name in names if re.search(r"__pycache__|\.so$|\.pyc$|^\.venv|^build/|^dist/|\.cache", name)]


def test_the_metadata_says_what_setup_cfg_says(metadata: Message) -> None:
    """Name, version, Python, licence, extras: each asks for what it lists, the package itself for the rest."""
    parsed = configparser.ConfigParser()
    parsed.read(ROOT / "setup.cfg", encoding="utf-8")
    assert (metadata["Name"], metadata["Version"]) == ("kong-request-callout", __version__)
    assert metadata["License"] == "Apache-2.0"
    assert metadata["Requires-Python"] == parsed["options"]["python_requires"]
    assert metadata["Description-Content-Type"] == "text/markdown"
    required = metadata.get_all("Requires-Dist", [])
    extras = parsed["options.extras_require"]
    assert set(metadata.get_all("Provides-Extra", [])) == set(extras)
    for name, listed in extras.items():
        assert len([text for text in required if text.endswith(f'extra == "{name}"')]) == len(listed.split())
    always = [text for text in required if "extra ==" not in text]
    assert len(always) == len(parsed["options"]["install_requires"].split())


def test_it_works_where_nothing_else_is(packages: tuple[Path, Path], tmp_path: Path) -> None:
    """The wheel in a fresh environment, without extras: version, description, validation of an example, types."""
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", packages[1], cwd=tmp_path)
    command = tmp_path / "venv" / "bin" / "request-callout"
    assert run(command, "--version", cwd=tmp_path) == f"request-callout, version {__version__} (pure Python)\n"
    assert '"Name": "request-callout"' in run(command, "dump", cwd=tmp_path)
    assert "ok" in run(command, "validate", ROOT / "examples" / "token-injection" / "kong.yml", cwd=tmp_path)
    run(python, "-m", "pip", "check", cwd=tmp_path)
