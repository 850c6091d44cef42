"""The admin port."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests

from tests.unit.gateway.conftest import SCHEMA, Make
from tests.unit.gateway.stand_ins import Upstream


def document(up: Upstream, path: str = "/a") -> dict[str, Any]:
    return {
        "_format_version": "3.0",
        "services": [{"name": "s", "url": up.url, "routes": [{"name": "r", "paths": [path]}]}],
    }


def test_node(make: Make) -> None:
    """The root tells Kong's version and the plugins."""
    node = requests.get(make({}).admin, timeout=10).json()
    assert node["version"] == "3.9.1"
    assert set(node["plugins"]["available_on_server"]) == {
        "request-callout",
        "key-auth",
        "pre-function",
        "post-function",
    }


@pytest.mark.parametrize("form", ["json", "document", "yaml", "form", "multipart"])
def test_post_config(make: Make, up: Upstream, form: str) -> None:
    """A configuration is taken in every form that Kong takes, and holds for the next request."""
    gateway = make({})
    text = json.dumps(document(up))
    forms: dict[str, dict[str, Any]] = {
        "json": {"json": {"config": text}},
        "document": {"json": document(up)},
        "yaml": {"data": text, "headers": {"Content-Type": "text/yaml"}},
        "form": {"data": {"config": text}},
        "multipart": {"files": {"config": ("kong.yml", text)}},
    }
    assert gateway.get("/a").status_code == 404
    response = requests.post(f"{gateway.admin}/config?check_hash=1", timeout=10, **forms[form])
    assert response.status_code == 201
    assert [route["name"] for route in response.json()["routes"].values()] == ["r"]
    assert gateway.get("/a").status_code == 200
    listed = requests.get(f"{gateway.admin}/routes", timeout=10).json()["data"]
    assert [route["paths"] for route in listed] == [["/a"]]


def test_bad_configuration_changes_nothing(make: Make, up: Upstream) -> None:
    """A refused configuration is answered with the tree of errors, flattened on request, and the old one stays."""
    gateway = make({**document(up)})
    bad = document(up, "no-slash")
    bad["services"][0]["routes"][0]["plugins"] = [{"name": "request-callout", "config": {"level": 9}}]
    response = requests.post(f"{gateway.admin}/config", json=bad, timeout=10)
    assert response.status_code == 400
    answer = response.json()
    assert answer["name"] == "invalid declarative configuration"
    route_errors = answer["fields"]["services"][0]["routes"][0]
    assert route_errors["plugins"] == [{"config": {"level": "value should be between 1 and 5"}}]
    flat = requests.post(f"{gateway.admin}/config?flatten_errors=1", json=bad, timeout=10).json()
    assert {entry["entity_type"]: [one["field"] for one in entry["errors"]] for entry in flat["flattened_errors"]} == {
        "route": ["paths.1"],
        "plugin": ["config.level"],
    }
    assert gateway.get("/a").status_code == 200


def test_plugin_schema(make: Make) -> None:
    """The schema of the external plugin is shown, an unknown plugin is 404."""
    admin = make({}).admin
    shown = requests.get(f"{admin}/schemas/plugins/request-callout", timeout=10).json()
    assert shown["fields"] == SCHEMA["fields"]
    missing = requests.get(f"{admin}/schemas/plugins/nope", timeout=10)
    assert (missing.status_code, missing.json()["message"]) == (404, "No plugin named 'nope'")


def test_validate(make: Make) -> None:
    """A plugin's configuration is checked without being taken."""
    url = f"{make({}).admin}/schemas/plugins/validate"
    good = requests.post(url, json={"name": "request-callout", "config": {"text": "x"}}, timeout=10)
    assert (good.status_code, good.json()["message"]) == (200, "schema validation successful")
    bad = requests.post(url, json={"name": "request-callout", "config": {"custom": {"a": None}}}, timeout=10)
    assert bad.status_code == 400
    assert bad.json() == {
        "code": 2,
        "name": "schema violation",
        "message": "schema violation (config.custom: required field missing)",
        "fields": {"config": {"custom": "required field missing"}},
    }
