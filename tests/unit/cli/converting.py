"""Runs ``request-callout convert`` and looks at what it gives."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from click.testing import CliRunner, Result

from request_callout.cli import main
from request_callout.config import load, model
from request_callout.config.declarative import nulls, plugin_configurations
from request_callout.lua import Lua


def convert(*arguments: str | Path, text: str | bytes | None = None) -> Result:
    """The command, which never ends in a traceback."""
    result = CliRunner().invoke(main, ["convert", *map(str, arguments)], input=text)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def converted(document: Mapping[str, Any] | str, *arguments: str, status: int = 0) -> dict[str, Any]:
    """What the command makes of a document on its standard input."""
    text = document if isinstance(document, str) else json.dumps(document)
    result = convert("-", *arguments, text=text)
    assert result.exit_code == status, result.output
    made: dict[str, Any] = yaml.safe_load(result.stdout)
    return made


def entries(result: Result) -> list[str]:
    """The lines of the report."""
    return [line.removeprefix("-: ") for line in result.stderr.splitlines()]


def loaded(document: Mapping[str, Any]) -> list[model.Configuration]:
    """Every configuration of the plugin in a document, as the plugin and open-source Kong take it."""
    found = list(plugin_configurations(document))
    assert not [problem for one in found for problem in nulls(one.raw)]
    return [load(one.raw, Lua().check) for one in found]
