from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from request_callout.config.settings import Settings
from request_callout.engine import Engine
from tests.unit.engine.kong_double import KongDouble

Access = Callable[..., KongDouble]


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine(Settings(deadline_ms=5_000))
    yield engine
    engine.close()


@pytest.fixture
def access(engine: Engine) -> Access:
    """Run one event of a configuration on a Kong double, and give the double."""

    def run(config: dict[str, Any], kong: KongDouble | None = None) -> KongDouble:
        kong = kong or KongDouble()
        instance = engine.instance({"__plugin_id": "p", **config})
        assert instance.problems == ()
        instance.access(kong)
        return kong

    return run
