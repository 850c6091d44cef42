from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from request_callout import __version__
from request_callout.config.kong_schema import plugin_info
from tests.unit.config.test_schema import OWN

# Attributes that a schema may have when it arrives as JSON.
KNOWN = {
    *("type", "required", "default", "description", "elements", "keys", "values", "fields", "entity_checks"),
    *("one_of", "between", "gt", "len_min", "referenceable", "encrypted"),
}


def nodes(field: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every field, element and map value of Kong's schema, with the paths of the JSON Schema."""
    yield path, field
    for entry in field.get("fields", ()):
        assert len(entry) == 1
        for name, node in entry.items():
            yield from nodes(node, f"{path}.{name}".lstrip("."))
    for word, mark in (("elements", "[]"), ("values", ".*")):
        if word in field:
            yield from nodes(field[word], path + mark)


INFO = plugin_info()
CONFIG: dict[str, Any] = INFO["Schema"]["fields"][1]["config"]
KONG = {path: node for path, node in nodes(CONFIG, "") if path}


def test_the_plugin_runs_where_the_documentation_says() -> None:
    """Phase access, priority 812, the package's version."""
    assert (INFO["Name"], INFO["Phases"], INFO["Priority"]) == ("request-callout", ["access"], 812)
    assert INFO["Version"] == __version__
    assert INFO["Schema"]["name"] == "request-callout"


def test_protocols_are_those_of_http_and_grpc() -> None:
    """The protocols field is a set with all four as its default."""
    protocols = INFO["Schema"]["fields"][0]["protocols"]
    four = ["grpc", "grpcs", "http", "https"]
    assert (protocols["type"], protocols["required"], protocols["default"]) == ("set", True, four)
    assert protocols["elements"] == {"type": "string", "one_of": four}


def test_it_travels_as_json() -> None:
    """Nothing in it is lost on the way through JSON."""
    assert json.loads(json.dumps(INFO)) == INFO


def test_every_field_of_the_json_schema_is_there() -> None:
    """Kong knows exactly the fields of the JSON Schema, in its order."""
    assert list(KONG) == list(OWN)


@pytest.mark.parametrize("path", list(OWN))
def test_a_field_says_in_kongs_words_what_the_json_schema_says(path: str) -> None:
    """Type, default, options, limits and marks are translated, and no attribute is one that Kong does not know."""
    kong, own = KONG[path], OWN[path]
    assert set(kong) <= KNOWN
    kind = own["type"][0] if isinstance(own["type"], list) else own["type"]
    compound = {"object": "record" if "properties" in own else "map"}
    assert kong["type"] == compound.get(kind, kind)
    assert kong.get("default", "none") == own.get("default", "none")
    assert kong.get("one_of") == own.get("enum")
    assert kong.get("referenceable", False) == own.get("x-referenceable", False)
    assert kong.get("encrypted", False) == own.get("x-encrypted", False)
    if "maximum" in own:
        assert kong["between"] == [own["minimum"], own["maximum"]]
    elif "minimum" in own:
        assert kong["gt"] == own["minimum"] - 1
    assert kong.get("len_min") == (own.get("minItems") if kind == "array" else 0 if own.get("minLength") == 0 else None)
    if not path.endswith(("[]", ".*")):
        assert kong["description"] == own["description"]


def test_kong_fills_all_records_but_two() -> None:
    """Kong fills every record with its defaults, but leaves proxy and timeouts absent when they are not given."""
    records = {path: node for path, node in KONG.items() if node["type"] == "record" and not path.endswith("[]")}
    absent = {path.rsplit(".", 1)[-1] for path, node in records.items() if not node.get("required")}
    assert absent == {"proxy", "timeouts"}


def test_only_what_has_no_default_is_required() -> None:
    """Beside records, Kong requires callouts, names and URLs; a null for anything else is as good as absent."""
    required = {path for path, node in KONG.items() if node.get("required") and node["type"] != "record"}
    assert required == {"callouts", "callouts[].name", "callouts[].request.url"}


def test_rules_over_several_fields_are_entity_checks() -> None:
    """All-or-none groups, exclusions and conditions of the JSON Schema are Kong's entity checks."""
    options = KONG["callouts[].request.http_opts.timeouts"]["entity_checks"]
    assert options == [{"mutually_required": ["connect", "read", "write"]}]
    assert KONG["cache.redis"]["entity_checks"] == [
        {"mutually_required": ["sentinel_master", "sentinel_nodes", "sentinel_role"]},
        {"mutually_exclusive": ["cluster_nodes", "sentinel_nodes"]},
    ]
    named = {path for path, node in KONG.items() if "entity_checks" in node}
    assert named == {
        "cache.redis",
        "cache.redis.cloud_authentication",
        "callouts[].request.http_opts.proxy",
        "callouts[].request.http_opts.timeouts",
    }


def test_a_condition_does_not_hold_for_an_absent_field() -> None:
    """Kong lets a null match unless the condition also requires the field (seen on 3.9.1)."""
    conditions = [
        check["conditional"]
        for node in KONG.values()
        for check in node.get("entity_checks", ())
        if "conditional" in check
    ]
    assert len(conditions) == 2
    assert all(one["if_match"]["required"] for one in conditions)
