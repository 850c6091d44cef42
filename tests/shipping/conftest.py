"""The package index that pip is set up for, which the tests that build and install packages need."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.fixture(scope="session")
def package_index(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Leaves the tests out that need it with --without-index; fails with that advice where it can't be reached."""
    if request.config.getoption("--without-index"):
        pytest.skip("--without-index")
    folder = str(tmp_path_factory.mktemp("index"))
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, "setuptools>=77"]
    asked = subprocess.run(command, capture_output=True, text=True)
    if asked.returncode != 0:
        said = (asked.stderr.strip().splitlines() or ["nothing"])[-1]
        pytest.fail(
            "building and installing packages needs a package index, and pip can't fetch setuptools from it "
            f"({said}); these tests are left out with --without-index",
            pytrace=False,
        )
