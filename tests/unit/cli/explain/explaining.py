"""Runs ``explain`` as its users do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import yaml
from click.testing import CliRunner, Result

from request_callout.cli import main

ROOT = Path(__file__).parents[4]
HERE = Path(__file__).parent


def run(*arguments: str | Path, text: str | None = None) -> Result:
    """The outcome of the command, in a terminal of 100 columns without colours."""
    environment = {"COLUMNS": "100", "NO_COLOR": "1", "DECK_SECRET": "from-the-environment"}
    return CliRunner().invoke(main, ["explain", *map(str, arguments)], input=text, env=environment)


def explained(config: dict[str, Any]) -> dict[str, Any]:
    """The explanation of one configuration, as JSON has it."""
    document = {"_format_version": "3.0", "plugins": [{"name": "request-callout", "config": config}]}
    result = run("-", "--output", "json", text=yaml.safe_dump(document))
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = orjson.loads(result.output)["configurations"][0]
    return found


def codes(config: dict[str, Any]) -> list[str]:
    """What it warns of and advises, but for the two that nearly every short configuration has."""
    found = [warning["code"] for warning in explained(config)["warnings"]]
    return [code for code in found if code not in ("no-timeouts", "any-status")]


def callout(name: str = "a", *, url: str = "https://h.example/", **parts: Any) -> dict[str, Any]:
    """A callout with these parts of its request; ``response``, ``cache`` and the like stand beside it."""
    own = ("depends_on", "when", "for_each", "cache", "response")
    beside = {key: parts.pop(key) for key in own if key in parts}
    return {"name": name, "request": {"url": url, **parts}, **beside}
