"""A real Chromium without a window, driven through Selenium, that may reach nothing but this machine."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.chromium import Chromium

IMAGES = Path(__file__).parents[2] / "docs" / "images"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    if config.getoption("--without-browser"):
        left_out = pytest.mark.skip(reason="--without-browser")
        for item in items:
            if here in item.path.parents:
                item.add_marker(left_out)


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """The browser, one for each process of the tests; fails with what to install where there is none."""
    binary = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.fail(
            "tests/browser needs Chromium and its driver: tests/servers/install-debian chromium chromium-driver "
            "(as root); or leave these tests out with --without-browser",
            pytrace=False,
        )
    with Chromium.running(binary, driver, tmp_path_factory.mktemp("chromium")) as running:
        yield running


@pytest.fixture
def screenshots(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Where pictures for the documentation go: with --write-screenshots into docs/images."""
    return IMAGES if request.config.getoption("--write-screenshots") else tmp_path
