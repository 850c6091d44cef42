"""Surroundings without any cloud's credentials, and configurations that log in to one."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

from request_callout.config import load, model

Settings = Callable[..., model.Redis]


@pytest.fixture(autouse=True)
def _no_credentials_around(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither variables nor files of this machine count, and no metadata server is asked."""
    for name in os.environ:
        if name.startswith(("AWS_", "AZURE_", "GOOGLE_", "IDENTITY_", "MSI_", "CLOUDSDK_")) or "proxy" in name.lower():
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("NO_GCE_CHECK", "true")


@pytest.fixture
def settings() -> Settings:
    """``settings(provider, username=None, **cloud_authentication)``, checked as any configuration is."""

    def make(provider: str, username: str | None = None, **cloud: Any) -> model.Redis:
        redis = {"username": username, "cloud_authentication": {"auth_provider": provider, **cloud}}
        return load({"callouts": [], "cache": {"strategy": "redis", "redis": redis}}).cache.redis

    return make


def eventually(condition: Callable[[], bool]) -> None:
    """Let other greenlets run until this holds; fails after ten seconds."""
    with gevent.Timeout(10):
        while not condition():
            gevent.sleep(0.005)


@pytest.fixture
def unused_port() -> Iterator[int]:
    """A port that is taken, but that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]
