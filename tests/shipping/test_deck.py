"""decK takes every configuration of this repository as a state file."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.shipping.commands import ROOT

FILES = sorted([*ROOT.glob("examples/*/kong.yml"), *ROOT.glob("deploy/*/kong.yml")])
NAMES = [str(file.relative_to(ROOT)) for file in FILES]

_OF_ROUTE = {"name", "paths", "methods", "hosts", "plugins", "strip_path", "headers", "protocols", "tags"}
_OF_PLUGIN = {"name", "config", "enabled", "protocols", "tags", "instance_name"}


@pytest.mark.parametrize("name", NAMES)
def test_it_has_the_shape_of_a_state_file(name: str) -> None:
    """Entities are nested, named and without ids, so that ``deck gateway sync`` and ``diff`` find them again."""
    state: dict[str, Any] = yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))
    assert state["_format_version"] == "3.0"
    assert set(state) <= {"_format_version", "vaults", "services", "plugins", "consumers"}
    names = []
    for service in state["services"]:
        assert set(service) <= {"name", "url", "routes", "plugins", "tags"}
        for route in service["routes"]:
            assert set(route) <= _OF_ROUTE
            names.append(route["name"])
            assert all(set(plugin) <= _OF_PLUGIN for plugin in route.get("plugins", []))
        names.append(service["name"])
    assert len(names) == len(set(names))


@pytest.mark.skipif(shutil.which("deck") is None, reason="deck is not installed")
def test_deck_itself_takes_them(tmp_path: Path) -> None:
    """``deck file validate`` and ``deck file render`` end with status 0, and what is rendered is a state file again."""
    rendered = tmp_path / "rendered.yml"
    for name in NAMES:
        deck("validate", ROOT / name)
        deck("render", "--output-file", rendered, ROOT / name)
        deck("validate", rendered)
        rendered.unlink()


def deck(action: str, *arguments: str | Path) -> None:
    """Run ``deck file``; an assertion error tells what it has against a file."""
    command = ["deck", "file", action, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
