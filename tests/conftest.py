"""Options of the whole test run."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("conformance", "the gateway that tests/conformance runs on")
    group.addoption(
        "--kong-proxy",
        metavar="URL",
        help="run the conformance suite on this Kong instead of the embedded gateway: where clients come; its "
        "plugin server must run on this machine (callees listen on 127.0.0.1), and -n must be 0",
    )
    group.addoption("--kong-admin", metavar="URL", help="the Admin API of that Kong, which must be db-less")
