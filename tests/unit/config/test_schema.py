from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from request_callout.config import load
from request_callout.config.schema import json_schema, schema_text

HERE = Path(__file__).parent
DOCUMENTED: dict[str, Any] = json.loads((HERE / "config-3.15.json").read_text())

# What the plugin has beyond the documented configuration.
OURS = {
    *(f"callouts[].request.{part}.remove" for part in ("query", "headers", "body")),
    *(f"upstream.{part}.remove" for part in ("query", "headers", "body")),
    *(f"{part}.remove[]" for place in ("callouts[].request", "upstream") for part in (f"{place}.query",)),
    *(f"{part}.remove[]" for place in ("callouts[].request", "upstream") for part in (f"{place}.headers",)),
    *(f"{part}.remove[]" for place in ("callouts[].request", "upstream") for part in (f"{place}.body",)),
    "callouts[].request.body.typed",
    "upstream.body.typed",
    *(f"callouts[].cache.{name}" for name in ("ttl", "statuses", "statuses[]", "negative_ttl", "stale_if_error")),
    *(f"callouts[].cache.{name}" for name in ("stale_while_revalidate", "respect_cache_control", "jitter")),
    *(f"callouts[].cache.{name}" for name in ("vary_on", "vary_on[]")),
    *("deadline_ms", "callouts[].when", "callouts[].response.body.format"),
    *("callouts[].request.hedge_after_ms", "callouts[].request.http_opts.timeouts.total"),
    *(f"callouts[].request.body.{name}" for name in ("format", "content")),
    *(f"callouts[].for_each{name}" for name in ("", ".items", ".max_items", ".concurrency")),
    *(f"callouts[].request.error.{name}" for name in ("when", "retry_after", "retry_methods", "retry_methods[]")),
    *(f"callouts[].request.error.backoff{name}" for name in ("", ".initial_ms", ".max_ms", ".factor")),
    *(f"callouts[].request.error.fallback{name}" for name in ("", ".status", ".headers", ".headers.*", ".body")),
    *(f"callouts[].request.http_opts.{name}" for name in ("client_certificate", "client_key", "ca_certificates")),
    *(f"callouts[].request.http_opts.{name}" for name in ("max_response_bytes", "max_redirects")),
    *(f"callouts[].request.auth{name}" for name in ("", ".type", ".username", ".password", ".token", ".token_url")),
    *(f"callouts[].request.auth.{name}" for name in ("client_id", "client_secret", "scopes", "scopes[]", "audience")),
    *(f"callouts[].request.auth.{name}" for name in ("credentials_in", "extra_parameters", "extra_parameters.*")),
    *(f"callouts[].request.circuit_breaker{name}" for name in ("", ".failures", ".failure_rate", ".min_requests")),
    *(f"callouts[].request.circuit_breaker.{name}" for name in ("window_ms", "open_ms", "half_open_probes")),
    *(f"callouts[].request.destination{name}" for name in ("", ".allow_hosts", ".deny_networks")),
    *(f"callouts[].request.destination.{name}" for name in ("allow_hosts[]", "deny_networks[]")),
    *(f"upstream.respond{name}" for name in ("", ".status", ".headers", ".headers.*", ".body", ".when")),
    *(f"upstream.target{name}" for name in ("", ".scheme", ".host", ".port", ".path")),
}
# Where the default is a rule, not a value: it is told in the description.
RULED = {"callouts[].depends_on", "callouts[].request.error.on_error", "callouts[].request.error.retries"}


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every field, element and map value with its path."""
    if path:
        yield path, schema
    for name, node in schema.get("properties", {}).items():
        yield from nodes(node, f"{path}.{name}" if path else name)
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from nodes(schema["additionalProperties"], f"{path}.*")


OWN = dict(nodes(json_schema()))
THEIRS = dict(nodes(DOCUMENTED))


def test_fields_are_the_documented_ones_and_ours() -> None:
    """Every documented field is there, and nothing else but the named additions."""
    assert set(OWN) - set(THEIRS) == OURS
    assert set(THEIRS) <= set(OWN)


def test_what_goes_beyond_enterprise_is_marked() -> None:
    """Each field that Enterprise does not have, and no other, says so."""
    assert {path for path, node in OWN.items() if node.get("x-beyond-enterprise")} == {
        path for path in OURS if not path.endswith(("[]", ".*"))
    }


def within_an_optional_record(path: str) -> bool:
    """Whether some record around this field is there only when it is given."""
    names = path.split(".")
    return any(OWN[".".join(names[:end])].get("x-optional") for end in range(1, len(names)))


def test_what_goes_beyond_enterprise_is_absent_unless_it_is_asked_for() -> None:
    """Kong fills nothing of ours in by itself, but for what switches nothing on."""
    for path in OURS - {path for path in OURS if within_an_optional_record(path)}:
        parent, _, name = path.rpartition(".")
        assert name not in OWN.get(parent, json_schema()).get("required", ())
        assert "default" not in OWN[path] or name == "typed"
        assert "properties" not in OWN[path] or OWN[path]["x-optional"]


@pytest.mark.parametrize("path", sorted(THEIRS))
def test_a_documented_field_has_its_type_limits_and_marks(path: str) -> None:
    """Type, enum, limits, vault and encryption marks of a field are those of the documentation."""
    own, theirs = OWN[path], THEIRS[path]
    kind = [theirs["type"], "null"] if path.endswith("custom.*") else theirs["type"]
    assert own["type"] == kind
    for word in ("maximum", "x-encrypted"):
        if not path.endswith("error_response_code"):
            assert own.get(word) == theirs.get(word)
    if "minimum" in theirs:
        assert own["minimum"] == theirs["minimum"]
    assert set(own.get("enum", ())) == set(theirs.get("enum", ()))
    assert own.get("required", []) == theirs.get("required", [])
    if path != "cache.redis.port":  # a reference in a number does not work in the open-source gateway
        assert own.get("x-referenceable") == theirs.get("x-referenceable")
    else:
        assert "x-referenceable" not in own
    if path not in RULED:
        assert own.get("default", "none") == theirs.get("default", "none")
    else:
        assert "default" not in own


def test_a_list_with_a_minimum_has_it_as_items() -> None:
    """Nodes of a cluster or of sentinels are at least one."""
    assert OWN["cache.redis.cluster_nodes"]["minItems"] == OWN["cache.redis.sentinel_nodes"]["minItems"] == 1


def test_rules_stand_in_descriptions_where_a_default_is_missing() -> None:
    """The description of a field whose default depends on others says what happens when it is left out."""
    for path in RULED:
        assert "eft out" in OWN[path]["description"], path


@pytest.mark.parametrize("path", sorted(path for path in OWN if not path.endswith("[]")))
def test_every_field_is_explained(path: str) -> None:
    """Each field has a title and a description of 10 to 500 characters, Kong's limits."""
    assert 10 <= len(OWN[path]["description"]) <= 500
    if not path.endswith(".*"):
        assert OWN[path]["title"]


def test_unknown_fields_are_refused_in_every_record() -> None:
    """No record takes a field that it does not name."""
    records = [json_schema(), *(node for node in OWN.values() if "properties" in node)]
    assert all(record["additionalProperties"] is False for record in records)


def test_it_is_a_json_schema_that_an_editor_can_use() -> None:
    """It is valid JSON Schema 2020-12, and its defaults and examples fit their own fields."""
    jsonschema.Draft202012Validator.check_schema(json_schema())
    for path, node in OWN.items():
        validator = jsonschema.Draft202012Validator(node)
        for value in [*node.get("examples", ()), *([node["default"]] if "default" in node else [])]:
            assert validator.is_valid(value), (path, value)


def test_the_example_of_the_whole_loads() -> None:
    """The schema's own example is a configuration that passes every check."""
    for example in json_schema()["examples"]:
        load(example)


def test_the_package_holds_the_schema_of_the_checkout() -> None:
    """What the package reads is the file under schema/, not a copy of it."""
    assert schema_text() == (HERE.parents[2] / "schema" / "request-callout.schema.json").read_text(encoding="utf-8")
