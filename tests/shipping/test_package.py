"""What goes to a package index: built, checked, and installed where nothing else is."""

from __future__ import annotations

import configparser
import contextlib
import fnmatch
import os
import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Iterator
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

from request_callout import __version__
from tests.shipping.commands import ROOT

pytestmark = pytest.mark.timeout(900)
"""What comes from a package index comes as fast as that is."""

BUILT_FROM = ("setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE", "schema", "request_callout")


def run(*command: str | Path, cwd: Path) -> str:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "REQUEST_CALLOUT"))}
    done = subprocess.run(command, cwd=cwd, env=clean, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def kept_files() -> set[str]:
    """The files that git keeps; where there is no git, or this is no clone of it, all that it would keep."""
    with contextlib.suppress(FileNotFoundError):
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
        if listed.returncode == 0:
            return {name for name in listed.stdout.split("\0") if name and (ROOT / name).exists()}
    ignored = [".git", *(line.rstrip("/") for line in (ROOT / ".gitignore").read_text().splitlines())]
    found = set()
    for folder, folders, files in os.walk(ROOT):
        for names in (folders, files):
            names[:] = [name for name in names if not any(fnmatch.fnmatch(name, one) for one in ignored)]
        found |= {str((Path(folder) / name).relative_to(ROOT)) for name in files}
    return found


def made_in(checkout: Path) -> tuple[Path, Path]:
    """The sdist, made of the files that git keeps, and the wheel, made of the sdist alone."""
    run("cp", "--parents", "--no-dereference", "--target-directory", checkout, *kept_files(), cwd=ROOT)
    run(sys.executable, "-m", "build", "--outdir", checkout / "dist", checkout, cwd=checkout)
    (sdist,) = (checkout / "dist").glob("*.tar.gz")
    (wheel,) = (checkout / "dist").glob("*.whl")
    return sdist, wheel


@pytest.fixture(scope="module")
def packages(package_index: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURCE_DATE_EPOCH", "1700000000")
        yield made_in(tmp_path_factory.mktemp("checkout"))


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
    with zipfile.ZipFile(packages[1]) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
        schema = wheel.read("request_callout/config/request-callout.schema.json")
    assert names == {name for name in kept_files() if name.startswith("request_callout/")}
    assert "request_callout/py.typed" in names
    assert schema == (ROOT / "schema" / "request-callout.schema.json").read_bytes()


def test_the_sdist_has_what_the_build_needs_and_no_junk(packages: tuple[Path, Path]) -> None:
    """The sources, the schema (a file, where the package has a link to it), the changelog, and no junk."""
    with tarfile.open(packages[0]) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    top = {name.partition("/")[0] for name in names if name}
    assert set(BUILT_FROM) - {"schema"} <= top
    assert "CHANGELOG.md" in top
    assert "request_callout/config/request-callout.schema.json" in names
    assert not [name for name in names if re.search(r"__pycache__|\.so$|\.pyc$|^\.venv|^build/|^dist/|\.cache", name)]


def test_they_depend_on_the_sources_alone(packages: tuple[Path, Path], tmp_path: Path) -> None:
    """Made again with the same SOURCE_DATE_EPOCH, of files with other times, both are the same byte for byte.

    Nothing in the sdist names who made it.
    """
    again = made_in(tmp_path)
    assert [one.read_bytes() for one in again] == [one.read_bytes() for one in packages]
    with tarfile.open(packages[0]) as sdist:
        assert {(one.uid, one.gid, one.uname, one.gname) for one in sdist} == {(0, 0, "", "")}


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
