"""Options of the whole test run."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from request_callout import values


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("conformance", "the gateway that tests/conformance runs on")
    group.addoption(
        "--kong-proxy",
        metavar="URL",
        help="run the conformance suite on this Kong instead of the embedded gateway: where clients come; its "
        "plugin server must run on this machine (callees listen on 127.0.0.1), and -n must be 0",
    )
    group.addoption("--kong-admin", metavar="URL", help="the Admin API of that Kong, which must be db-less")
    group.addoption("--kong-debug-secret", metavar="SECRET", help="the debug secret of that Kong's plugin server")
    browser = parser.getgroup("browser", "the tests that look at pages in Chromium")
    browser.addoption("--without-browser", action="store_true", help="leave tests/browser out")
    browser.addoption(
        "--write-screenshots", action="store_true", help="let tests/browser write the pictures in docs/images anew"
    )
    parser.addoption(
        "--without-index", action="store_true", help="leave out the tests that need a package index, such as offline"
    )
    parser.addoption("--compiled", action="store_true", help="refuse to run on anything but the compiled build")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--compiled") and not values.__file__.endswith(".so"):
        raise pytest.UsageError(f"not compiled: {values.__file__}")


# How fast a machine is has no part in whether a rule holds.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder with room for a socket's path, which may have 107 bytes: pytest's own has the names of user and test."""
    with tempfile.TemporaryDirectory(prefix="rc-", dir="/tmp") as folder:
        yield Path(folder)


@pytest.fixture(autouse=True)
def log_as_it_was() -> Iterator[None]:
    """Fails a test that leaves this process logging more or less than before: the tests after it would differ."""
    logger = logging.getLogger()
    level = logger.level
    yield
    left = logger.level
    logger.setLevel(level)
    assert left == level, "the test changed the level of the root logger: what sets up a log runs in a process"
