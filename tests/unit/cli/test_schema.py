from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from click.testing import CliRunner

from request_callout.cli import main
from request_callout.config.schema import json_schema

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted((ROOT / "examples").glob("*/kong.yml"))
WRONG = Path(__file__).parent / "wrong"


def printed(*arguments: str) -> dict[str, Any]:
    """What the command prints."""
    result = CliRunner().invoke(main, ["schema", *arguments])
    assert result.exit_code == 0, result.output
    document: dict[str, Any] = json.loads(result.output)
    return document


FILE = jsonschema.Draft7Validator(printed())


def with_plugin(config: object, **fields: object) -> dict[str, object]:
    """A declarative file with one plugin."""
    return {"_format_version": "3.0", "plugins": [{"name": "request-callout", "config": config, **fields}]}


def test_the_configuration_s_own_schema_is_the_one_that_the_plugin_checks_by() -> None:
    """KIND config prints the schema of the package."""
    assert printed("config") == json_schema()


@pytest.mark.parametrize("kind", ["file", "kubernetes", "plugin"])
def test_schemas_for_editors_are_draft_7(kind: str) -> None:
    """Editors know draft 7 best; nothing of later drafts is in it."""
    document = printed(kind)
    assert document["$schema"] == "http://json-schema.org/draft-07/schema#"
    jsonschema.Draft7Validator.check_schema(document)
    assert not [word for word in ("dependentRequired", "$defs", '"x-') if word in json.dumps(document)]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_every_example_fits(path: Path) -> None:
    """The examples are files that the schema takes."""
    assert [error.message for error in FILE.iter_errors(yaml.safe_load(path.read_text("utf-8")))] == []


@pytest.mark.parametrize(
    "name",
    [
        "10-version",
        "13-missing",
        "15-misspelt",
        "16-wrong",
        "17-out",
        "29-nulls",
        "33-auth",
        "35-redis",
        "39-unset",
        "54-proxy",
    ],
)
def test_a_wrong_shape_does_not_fit(name: str) -> None:
    """What is wrong with the shape of a configuration is seen in the editor."""
    (path,) = WRONG.glob(f"{name}*")
    assert not FILE.is_valid(yaml.safe_load(path.read_text("utf-8")))


def test_nested_plugins_are_checked_and_others_are_free() -> None:
    """A plugin is found below services and routes; what other plugins have is their own affair."""
    good: dict[str, object] = {"callouts": []}
    for config, fits in ((good, True), ({"callout": []}, False)):
        route = {"plugins": [{"name": "request-callout", "config": config}, {"name": "cors", "config": {"x": 1}}]}
        assert FILE.is_valid({"_format_version": "3.0", "services": [{"name": "s", "routes": [route]}]}) is fits
        assert FILE.is_valid({"_format_version": "3.0", "consumer_groups": [route], "extra": 1}) is fits


def test_templates_nulls_and_shared_configurations_fit() -> None:
    """What decK takes and dumps is no error in the editor."""
    callout = {"name": "a", "request": {"url": "http://a", "method": None, "auth": None}}
    assert FILE.is_valid(with_plugin({"callouts": [callout], "deadline_ms": '${{ env "DECK_MS" | toInt }}'}))
    assert not FILE.is_valid(with_plugin({"callouts": [callout], "deadline_ms": "soon"}))
    assert FILE.is_valid(with_plugin({"cache": {"strategy": '${{ env "DECK_CACHE" }}'}}, _config="shared"))
    assert not FILE.is_valid(with_plugin({"cache": {"strategy": "memory"}}))
    assert not FILE.is_valid(with_plugin({"caches": {}}, _config="shared"))


def test_manifests_and_plugins_are_checked() -> None:
    """KIND kubernetes takes a KongPlugin, KIND plugin what one sends to the Admin API."""
    for kind, name in (("kubernetes", "plugin"), ("plugin", "name")):
        validator = jsonschema.Draft7Validator(printed(kind))
        assert validator.is_valid({name: "request-callout", "config": {"callouts": []}})
        assert validator.is_valid({name: "other", "config": {"callouts": 1}})
        assert not validator.is_valid({name: "request-callout", "config": {"callouts": 1}})
