"""Options of the whole test run."""

from __future__ import annotations

import pytest

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
    parser.addoption("--compiled", action="store_true", help="refuse to run on anything but the compiled build")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--compiled") and not values.__file__.endswith(".so"):
        raise pytest.UsageError(f"not compiled: {values.__file__}")
