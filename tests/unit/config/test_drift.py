"""What Kong makes of a configuration is what the file says: ``deck gateway diff`` finds nothing to change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from request_callout.cli.validate.checking import Checks
from request_callout.config import load
from request_callout.config.declarative import plugin_configurations, read
from request_callout.config.editor_schema import editor_schema
from request_callout.config.kong_schema import config_fields
from request_callout.config.schema import json_schema
from request_callout.gateway.schema_rules import fill, validate
from request_callout.lua import Lua

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*/kong.yml"))
CONFIGURATIONS = [
    pytest.param(one.raw, id=f"{path.parent.name} {one.path}")
    for path in EXAMPLES
    for one in plugin_configurations(read(path.read_text("utf-8")))
]
KONG = {"type": "record", "fields": config_fields()}


def filled(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration as Kong keeps it and ``deck gateway dump`` writes it."""
    return fill(KONG, raw)


def with_schema_defaults(raw: Any, schema: Mapping[str, Any]) -> Any:
    """The configuration with what the JSON Schema says a field is when it is left out; null if it says nothing."""
    if isinstance(raw, list):
        return [with_schema_defaults(one, schema["items"]) for one in raw]
    if not isinstance(raw, dict) or "properties" not in schema:
        return raw
    made = dict(raw)
    for name, node in schema["properties"].items():
        if name in raw:
            made[name] = with_schema_defaults(raw[name], node)
        elif "default" in node:
            made[name] = node["default"]
        else:
            is_filled = "properties" in node and not node.get("x-optional")
            made[name] = with_schema_defaults({}, node) if is_filled else None
    return made


def differences(before: Any, after: Any, path: str = "config") -> Iterator[str]:
    """The paths of what is in ``before`` and not the same in ``after``."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name, value in before.items():
            yield from differences(value, after.get(name), f"{path}.{name}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for place, (one, other) in enumerate(zip(before, after, strict=True), 1):
            yield from differences(one, other, f"{path}[{place}]")
    elif before != after or isinstance(before, bool) is not isinstance(after, bool):
        yield path


def test_there_are_configurations_to_look_at() -> None:
    """The examples hold some."""
    assert len(CONFIGURATIONS) >= 20


@pytest.mark.parametrize("raw", CONFIGURATIONS)
def test_kong_changes_nothing_that_a_file_says(raw: dict[str, Any]) -> None:
    """Each value of the file is in what Kong keeps, as it is."""
    assert list(differences(raw, filled(raw))) == []


@pytest.mark.parametrize("raw", CONFIGURATIONS)
def test_filling_what_is_filled_changes_nothing(raw: dict[str, Any]) -> None:
    """What was dumped and is synchronised again is the same, through YAML too."""
    once = filled(raw)
    assert filled(once) == once
    assert filled(yaml.safe_load(yaml.safe_dump(once))) == once


@pytest.mark.parametrize("raw", CONFIGURATIONS)
def test_a_file_with_all_defaults_is_what_kong_keeps(raw: dict[str, Any]) -> None:
    """Kong fills in the JSON Schema's defaults and null, nothing else: who writes them all sees no difference."""
    complete = with_schema_defaults(raw, json_schema())
    assert filled(raw) == complete
    assert filled(complete) == complete


@pytest.mark.parametrize("raw", CONFIGURATIONS)
def test_what_kong_keeps_means_the_same(raw: dict[str, Any]) -> None:
    """The plugin makes the same of the file and of what Kong filled in."""
    assert load(filled(raw)) == load(raw)


@pytest.mark.parametrize("raw", CONFIGURATIONS)
def test_a_dump_is_a_file_that_passes_every_check(raw: dict[str, Any]) -> None:
    """What Kong keeps is taken by Kong again, by validate (without a warning) and by the schema for editors."""
    document = {"_format_version": "3.0", "plugins": [{"name": "request-callout", "config": filled(raw)}]}
    assert validate(KONG, filled(raw)) == {}
    assert Checks(Lua().check, {}).check_text("dump.yml", yaml.safe_dump(document)).findings == ()
    assert [error.message for error in jsonschema.Draft7Validator(editor_schema("file")).iter_errors(document)] == []
