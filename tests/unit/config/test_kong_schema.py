from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from request_callout import __version__
from request_callout.config import InvalidConfiguration, load
from request_callout.config.kong_schema import plugin_info
from request_callout.gateway.schema_rules import fill, validate
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


# Records that mean something by being there.
OPTIONAL = {
    *("callouts[].for_each", "upstream.respond", "upstream.target"),
    *(f"callouts[].request.{name}" for name in ("auth", "circuit_breaker", "destination")),
    *(f"callouts[].request.error.{name}" for name in ("backoff", "fallback")),
    *(f"callouts[].request.http_opts.{name}" for name in ("proxy", "timeouts")),
}


def test_kong_fills_all_records_that_mean_nothing_by_being_there() -> None:
    """Kong fills every record with its defaults, but leaves those absent that switch something on."""
    records = {path: node for path, node in KONG.items() if node["type"] == "record" and not path.endswith("[]")}
    assert {path for path, node in records.items() if not node.get("required")} == OPTIONAL


def test_only_what_has_no_default_is_required() -> None:
    """Beside records, Kong requires what a part is nothing without; a null for anything else is as good as absent."""
    required = {path for path, node in KONG.items() if node.get("required") and node["type"] != "record"}
    needed = {"callouts[].for_each.items", "callouts[].request.auth.type"}
    assert required == {"callouts", "callouts[].name", "callouts[].request.url"} | needed


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


def test_the_cache_of_a_callout_in_kongs_words() -> None:
    """What goes beyond Enterprise is optional, without defaults; the time to live is a string, Kong has no unions."""
    node = KONG["callouts[].cache"]
    assert (node["type"], node["required"]) == ("record", True)
    told = [
        {name: {k: v for k, v in field.items() if k != "description"}}
        for one in node["fields"]
        for name, field in one.items()
    ]
    seconds = {"type": "number", "between": [0, 2147483646]}
    assert told == [
        {"bypass": {"type": "boolean", "default": False}},
        {"ttl": {"type": "string"}},
        {"statuses": {"type": "array", "elements": {"type": "integer", "between": [100, 599]}, "len_min": 1}},
        {"negative_ttl": seconds},
        {"stale_while_revalidate": seconds},
        {"stale_if_error": seconds},
        {"respect_cache_control": {"type": "boolean"}},
        {"vary_on": {"type": "array", "elements": {"type": "string"}}},
        {"jitter": {"type": "number", "between": [0, 100]}},
    ]


def test_limits_of_numbers_are_exact() -> None:
    """A number that may have a fraction has both limits: Kong's lower limit alone is an exclusive one."""
    numbers = [node for node in KONG.values() if node["type"] == "number"]
    assert numbers
    assert all("between" in node and "gt" not in node for node in numbers)


def through_kong(config: dict[str, Any]) -> dict[str, Any]:
    """What the gateway's schema rules find wrong with a configuration."""
    schema = {"type": "record", "fields": [{"config": CONFIG}]}
    return validate(schema, fill(schema, {"config": config}))


@pytest.mark.parametrize(
    ("cache", "problems"),
    [
        ({}, {}),
        ({"ttl": "60"}, {}),
        ({"ttl": "$(callouts.a.response.body.expires_in)", "vary_on": ["$(headers.x)"], "statuses": [200]}, {}),
        ({"ttl": 60}, {"ttl": "expected a string"}),
        ({"statuses": [600]}, {"statuses": {1: "value should be between 100 and 599"}}),
        ({"statuses": []}, {"statuses": "length must be at least 1"}),
        ({"negative_ttl": 0.5, "stale_if_error": 0, "stale_while_revalidate": 10}, {}),
        ({"negative_ttl": -0.5}, {"negative_ttl": "value should be between 0 and 2147483646"}),
        ({"jitter": 100.5}, {"jitter": "value should be between 0 and 100"}),
        ({"vary_on": [""]}, {"vary_on": {1: "length must be at least 1"}}),
        ({"respect_cache_control": "yes"}, {"respect_cache_control": "expected a boolean"}),
    ],
)
def test_kong_takes_and_refuses_what_load_does(cache: dict[str, Any], problems: dict[str, Any]) -> None:
    """Kong finds by the translated schema what is found here by the JSON Schema."""
    config = {"callouts": [{"name": "a", "request": {"url": "http://x/"}, "cache": cache}]}
    found = through_kong(config)
    assert found == ({"config": {"callouts": {1: {"cache": problems}}}} if problems else {})
    if problems:
        with pytest.raises(InvalidConfiguration):
            load(config)
    else:
        load(config)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "sentinel_master": st.just("m"),
            "sentinel_role": st.sampled_from(["any", "replica"]),
            "sentinel_nodes": st.sampled_from([[{}], [{"host": "s", "port": 70000}], None]),
            "cluster_nodes": st.sampled_from([[{}], [{"ip": ""}], None]),
            "connection_is_proxied": st.booleans() | st.none(),
            "keepalive_pool_size": st.integers(-1, 1),
        },
    )
)
def test_kong_and_load_agree_on_any_redis(redis: dict[str, Any]) -> None:
    """Whatever is said of sentinels, clusters and proxies together, Kong takes it exactly if it loads here."""
    config = {"callouts": [], "cache": {"redis": redis}}
    try:
        load(config)
    except InvalidConfiguration:
        loads = False
    else:
        loads = True
    assert (through_kong(config) == {}) is loads
