from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
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
    # Kong takes a record that says nothing for required, unless it is within an array.
    assert all("required" in node for node in records.values())


def test_only_what_has_no_default_is_required() -> None:
    """Beside records, Kong requires what a part is nothing without; a null for anything else is as good as absent."""
    required = {path for path, node in KONG.items() if node.get("required") and node["type"] != "record"}
    needed = {"callouts[].for_each.items", "callouts[].request.auth.type"}
    assert required == {"callouts", "callouts[].name", "callouts[].request.url"} | needed


def _if(field: str, then: str, *, equals: str | None = None, has_to_be: str | None = None) -> dict[str, Any]:
    def match(value: str | None) -> dict[str, Any]:
        return {"required": True} if value is None else {"required": True, "eq": value}

    rule = {"if_field": field, "if_match": match(equals), "then_field": then, "then_match": match(has_to_be)}
    return {"conditional": rule}


R = "callouts[].request"
OAUTH2 = "oauth2_client_credentials"
CHECKS: dict[str, list[dict[str, Any]]] = {
    f"{R}.http_opts": [{"mutually_required": ["client_certificate", "client_key"]}],
    f"{R}.http_opts.timeouts": [{"mutually_required": ["connect", "read", "write"]}],
    f"{R}.http_opts.proxy": [_if("auth_password", "auth_username")],
    f"{R}.error": [
        {
            "conditional": {
                "if_field": "on_error",
                "if_match": {"not_one_of": ["continue"]},
                "then_field": "fallback",
                "then_match": {"eq": None},
                "then_err": "fallback needs on_error continue",
            }
        }
    ],
    f"{R}.circuit_breaker": [{"at_least_one_of": ["failures", "failure_rate"]}],
    f"{R}.body": [
        _if("format", "content", equals="raw"),
        _if("content", "format", has_to_be="raw"),
        {"mutually_exclusive": ["content", "custom"]},
        {"mutually_exclusive": ["content", "remove"]},
    ],
    f"{R}.auth": [
        *(_if("type", name, equals="basic") for name in ("username", "password")),
        _if("type", "token", equals="bearer"),
        *(_if("type", name, equals=OAUTH2) for name in ("token_url", "client_id", "client_secret")),
    ],
    "cache.redis": [
        {"mutually_required": ["sentinel_master", "sentinel_nodes", "sentinel_role"]},
        {"mutually_exclusive": ["cluster_nodes", "sentinel_nodes"]},
    ],
    "cache.redis.cloud_authentication": [
        {"mutually_required": ["aws_access_key_id", "aws_secret_access_key"]},
        _if("auth_provider", "aws_cache_name", equals="aws"),
    ],
}


def test_rules_over_several_fields_are_entity_checks() -> None:
    """All-or-none groups, exclusions and conditions of the JSON Schema are Kong's entity checks."""
    assert {path: node["entity_checks"] for path, node in KONG.items() if "entity_checks" in node} == CHECKS


CONDITIONS = [
    (node, check["conditional"])
    for node in KONG.values()
    for check in node.get("entity_checks", ())
    if "conditional" in check
]


def test_a_condition_does_not_hold_for_an_absent_field() -> None:
    """Kong lets a null match unless the condition also requires the field (seen on 3.9.1)."""
    assert CONDITIONS
    assert all(one["if_match"].get("required") for _, one in CONDITIONS if one["then_match"] != {"eq": None})


def test_no_condition_looks_into_a_record() -> None:
    """Kong 3.9.1 ends in an error where ``if_field`` is a record, or where a record has to match anything but null."""
    for node, one in CONDITIONS:
        types = {name: field["type"] for entry in node["fields"] for name, field in entry.items()}
        assert types[one["if_field"]] != "record"
        assert types[one["then_field"]] != "record" or one["then_match"] == {"eq": None}


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


@settings(deadline=None)
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


def loads(config: dict[str, Any]) -> bool:
    """Whether the configuration has no problems here."""
    try:
        load(config)
    except InvalidConfiguration:
        return False
    return True


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A record with any of these fields, each of them also null."""
    return st.fixed_dictionaries({}, optional={name: values | st.none() for name, values in fields.items()})


WORDS = st.sampled_from(["", "x"])
BODY = some(
    format=st.sampled_from(["json", "form", "multipart", "raw", "yaml"]),
    content=WORDS,
    custom=st.sampled_from([{}, {"a": "b"}]),
    remove=st.sampled_from([[], ["a"]]),
)
AUTH = some(
    type=st.sampled_from(["basic", "bearer", OAUTH2, "digest"]),
    username=WORDS,
    password=WORDS,
    token=WORDS,
    token_url=st.sampled_from(["", "http://id/token"]),
    client_id=WORDS,
    client_secret=WORDS,
    scopes=st.lists(WORDS, max_size=1),
    credentials_in=st.sampled_from(["header", "query"]),
    extra_parameters=st.dictionaries(st.just("a"), WORDS),
)
BREAKER = some(
    failures=st.integers(0, 1),
    failure_rate=st.sampled_from([0.5, 1, 99.5, 100.5]),
    min_requests=st.integers(0, 1),
    window_ms=st.integers(0, 1),
    half_open_probes=st.integers(0, 1),
)
ERROR = some(
    on_error=st.sampled_from(["fail", "retry", "continue"]),
    fallback=some(status=st.sampled_from([199, 200, 599, 600]), body=WORDS, headers=st.just({"X": ""})),
    backoff=some(factor=st.sampled_from([0.5, 1, 1.5, 101]), initial_ms=st.integers(0, 1), max_ms=st.just(60001)),
    retry_after=st.booleans(),
    retry_methods=st.lists(st.sampled_from(["", "GET"]), max_size=1),
)
TIMEOUTS = some(connect=st.integers(0, 1), write=st.integers(0, 1), read=st.integers(0, 1), total=st.integers(0, 1))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("body", BODY),
        ("auth", AUTH),
        ("circuit_breaker", BREAKER),
        ("error", ERROR),
        ("http_opts", some(timeouts=TIMEOUTS, max_redirects=st.integers(-1, 21), max_response_bytes=st.integers(0, 1))),
        ("hedge_after_ms", st.sampled_from([0, 1, 55000, 55001, None])),
        ("destination", some(allow_hosts=st.lists(WORDS, max_size=1), deny_networks=st.lists(st.just("::/0")))),
    ],
)
@settings(deadline=None)
@given(data=st.data())
def test_kong_and_load_agree_on_a_request(name: str, values: st.SearchStrategy[Any], data: st.DataObject) -> None:
    """Whatever is said of one part of a request, Kong takes it exactly if it loads here."""
    config = {"callouts": [{"name": "a", "request": {"url": "http://x/", name: data.draw(values)}}]}
    assert (through_kong(config) == {}) is loads(config)


@settings(deadline=None)
@given(
    some(items=st.just("$(1)"), max_items=st.sampled_from([0, 1, 10001]), concurrency=st.sampled_from([0, 100, 101])),
    st.sampled_from(["$(true)", "", None]),
    some(
        status=st.sampled_from([199, 204]),
        headers=st.just({"X": ""}),
        body=st.sampled_from(["", "{}"]),
        when=st.sampled_from(["", "$(true)"]),
    ),
    some(scheme=st.just("http"), host=WORDS, port=st.just("1"), path=st.just("/")),
    st.sampled_from([0, 1, 55000, 55001, None]),
)
def test_kong_and_load_agree_on_what_is_around_requests(
    for_each: dict[str, Any], when: str | None, respond: dict[str, Any], target: dict[str, Any], deadline_ms: int | None
) -> None:
    """Whatever is said of conditions, lists, answers, targets and deadlines, Kong takes it exactly if it loads here."""
    config = {
        "callouts": [{"name": "a", "request": {"url": "http://x/"}, "for_each": for_each or None, "when": when}],
        "upstream": {"respond": respond, "target": target},
        "deadline_ms": deadline_ms,
    }
    assert (through_kong(config) == {}) is loads(config)
