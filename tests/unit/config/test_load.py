from __future__ import annotations

import logging
from dataclasses import FrozenInstanceError, fields, is_dataclass
from typing import Any

import pytest

from request_callout.config import InvalidConfiguration, load, model
from request_callout.config.schema import json_schema
from request_callout.config.template import parse
from tests.unit.pdk.recorded import lines

KONG: dict[str, Any] = {"__plugin_id": "p", "__seq__": 3, "__key__": "k", "__ws_id": "w"}


def callout(**request: Any) -> dict[str, Any]:
    """The smallest configuration of one callout."""
    return {"callouts": [{"name": "a", "request": {"url": "http://host/", **request}}]}


def defaults(schema: dict[str, Any]) -> dict[str, Any]:
    """The defaults of a record by their paths, without those of records that may be absent."""
    found = {}
    for name, node in schema["properties"].items():
        if "default" in node:
            found[name] = node["default"]
        if node["type"] == "object" and "properties" in node and not node.get("x-optional"):
            found.update({f"{name}.{below}": value for below, value in defaults(node).items()})
    return found


def test_the_recorded_configuration_loads() -> None:
    """What a running Kong sent for a filled configuration, with a vault reference, becomes the typed one."""
    raw = lines("protobuf.jsonl")[1]["config"]
    config = load(raw)
    (only,) = config.callouts
    assert config.plugin_id == "0f2bf6aa-ce1e-5e65-9bbc-3437393d3753"
    assert (only.name, only.request.method, only.request.url) == ("auth1", "POST", "https://idp/x")
    assert only.depends_on == ()
    assert only.request.headers.custom == {"Authorization": "s3cret", "X-A": "$(headers.host)"}
    assert only.request.error == model.ErrorPolicy("retry", 3, frozenset({500, 502}), 400, "service callout error")
    assert only.response.body_decode is True
    assert (config.cache.strategy, config.cache.cache_ttl_s, config.cache.redis.host) == ("redis", 360, "localhost")
    assert config.secrets == {"s3cret"}


def test_what_is_absent_gets_the_schemas_default() -> None:
    """A configuration with nothing but a name and a URL has every default of the schema, in the model's fields."""
    config = load(callout())
    schema = json_schema()["properties"]
    of_callout = defaults(schema["callouts"]["items"])
    request, response = config.callouts[0].request, config.callouts[0].response
    assert of_callout == {
        "request.method": request.method,
        "request.query.forward": request.query.forward,
        "request.headers.forward": request.headers.forward,
        "request.body.forward": request.body.forward,
        "request.body.decode": request.body.decode,
        "request.body.typed": request.body.typed,
        "request.error.error_response_code": request.error.error_response_code,
        "request.error.error_response_msg": request.error.error_response_msg,
        "request.http_opts.ssl_verify": request.http_opts.ssl_verify,
        "response.headers.store": response.headers_store,
        "response.body.store": response.body_store,
        "response.body.decode": response.body_decode,
        "cache.bypass": config.callouts[0].cache.bypass,
    }
    upstream = config.upstream
    assert defaults(schema["upstream"]) == {
        "query.forward": upstream.query.forward,
        "headers.forward": upstream.headers.forward,
        "body.forward": upstream.body.forward,
        "body.decode": upstream.body.decode,
        "body.typed": upstream.body.typed,
    }
    redis = config.cache.redis
    assert defaults(schema["cache"]) == {
        "cache_ttl": config.cache.cache_ttl_s,
        "strategy": config.cache.strategy,
        "memory.dictionary_name": config.cache.dictionary_name,
        "redis.cloud_authentication.aws_is_serverless": redis.cloud_authentication.aws_is_serverless,
        "redis.cluster_max_redirections": redis.cluster_max_redirections,
        "redis.connect_timeout": redis.connect_timeout_ms,
        "redis.connection_is_proxied": redis.connection_is_proxied,
        "redis.database": redis.database,
        "redis.host": redis.host,
        "redis.keepalive_pool_size": redis.keepalive_pool_size,
        "redis.port": redis.port,
        "redis.read_timeout": redis.read_timeout_ms,
        "redis.send_timeout": redis.send_timeout_ms,
        "redis.ssl": redis.ssl,
        "redis.ssl_verify": redis.ssl_verify,
    }


def test_what_is_absent_and_has_no_default_is_empty_or_none() -> None:
    """Optional parts that are not given are None, lists and maps of changes are empty."""
    config = load(callout())
    (only,) = config.callouts
    assert only.depends_on is None
    assert (only.request.http_opts.timeouts, only.request.http_opts.proxy) == (None, None)
    assert (only.request.headers.custom, only.request.headers.remove) == ({}, ())
    assert only.request.error.http_statuses is None
    assert config.cache.redis.cluster_nodes == config.cache.redis.sentinel_nodes == ()
    assert (config.route_id, config.service_id, config.consumer_id, config.secrets) == (None, None, None, frozenset())


def test_every_field_is_carried_over() -> None:
    """Each value given stands in the field of its name, with its unit."""
    raw = callout(
        method="post",
        query={"forward": True, "custom": {"q": "1"}, "remove": ["r"]},
        body={"forward": True, "decode": True, "typed": True, "custom": {"n": "$(1)"}, "remove": ["x"]},
        http_opts={
            "ssl_verify": False,
            "ssl_server_name": "sni",
            "timeouts": {"connect": 1, "write": 2, "read": 3},
            "proxy": {"http_proxy": "http://p:1", "auth_username": "u", "auth_password": "pw"},
        },
        error={
            "on_error": "continue",
            "http_statuses": [500.0],
            "error_response_code": 502,
            "error_response_msg": "no",
        },
        by_lua="return",
    )
    raw["callouts"][0].update(response={"by_lua": "local x"}, cache={"bypass": True}, depends_on=[])
    raw["cache"] = {
        "redis": {
            "cluster_nodes": [{"ip": "n1"}, {"port": 7000}],
            "keepalive_backlog": 9,
            "cloud_authentication": {"auth_provider": "gcp", "gcp_service_account_json": "{}"},
        }
    }
    config = load(raw)
    request = config.callouts[0].request
    assert request.method == "POST"
    assert request.query == model.Parameters(True, {"q": "1"}, ("r",))
    assert request.body == model.Body(True, True, True, {"n": "$(1)"}, ("x",))
    assert request.http_opts.timeouts == model.Timeouts(connect_ms=1, write_ms=2, read_ms=3)
    assert request.http_opts.proxy == model.Proxy("http://p:1", None, "u", "pw")
    assert (request.http_opts.ssl_verify, request.http_opts.ssl_server_name) == (False, "sni")
    assert request.error == model.ErrorPolicy("continue", 2, frozenset({500}), 502, "no")
    assert (request.by_lua, config.callouts[0].response.by_lua) == ("return", "local x")
    redis = config.cache.redis
    assert redis.cluster_nodes == (model.HostPort("n1", 6379), model.HostPort("127.0.0.1", 7000))
    assert (redis.keepalive_backlog, redis.cloud_authentication.auth_provider) == (9, "gcp")


def test_every_field_of_orchestration_is_carried_over() -> None:
    """Conditions, lists, budgets, policies, credentials, bodies and destinations stand in the fields of their names."""
    raw = callout(
        method="put",
        body={"format": "raw", "content": "<a>$(1)</a>"},
        auth={
            "type": "oauth2_client_credentials",
            "token_url": "https://id/token",
            "client_id": "c",
            "client_secret": "s",
            "scopes": ["r", "w"],
            "audience": "aud",
            "credentials_in": "body",
            "extra_parameters": {"resource": "x"},
        },
        circuit_breaker={"failure_rate": 50, "open_ms": 100},
        hedge_after_ms=90,
        destination={"allow_hosts": ["*.example.com"], "deny_networks": ["10.0.0.0/8"]},
        http_opts={"timeouts": {"total": 3000}, "max_response_bytes": 1024.0, "max_redirects": 2},
        error={
            "on_error": "continue",
            "when": "$(callouts.a.response.body.error)",
            "backoff": {"max_ms": 500},
            "retry_after": True,
            "retry_methods": ["get", "PUT"],
            "fallback": {"status": 203, "headers": {"X": "$(1)"}, "body": "[]"},
        },
    )
    raw["callouts"][0].update(
        when="$(true)", for_each={"items": "$({1})", "concurrency": 2}, response={"body": {"format": "xml"}}
    )
    raw["upstream"] = {
        "respond": {"status": 201, "headers": {"X": "1"}, "body": "{}", "when": "$(true)"},
        "target": {"host": "h", "path": "/$(1)"},
    }
    raw["deadline_ms"] = 900
    config = load(raw)
    (only,) = config.callouts
    request = only.request
    assert (only.when, only.for_each) == ("$(true)", model.ForEach("$({1})", max_items=100, concurrency=2))
    assert request.body == model.Body(False, False, False, {}, (), format="raw", content="<a>$(1)</a>")
    assert request.auth == model.Auth(
        type="oauth2_client_credentials",
        token_url="https://id/token",
        client_id="c",
        client_secret="s",
        scopes=("r", "w"),
        audience="aud",
        credentials_in="body",
        extra_parameters={"resource": "x"},
    )
    assert request.circuit_breaker == model.CircuitBreaker(
        failures=None, failure_rate=50, min_requests=10, window_ms=10_000, open_ms=100, half_open_probes=1
    )
    assert request.hedge_after_ms == 90
    assert request.destination == model.Destination(("*.example.com",), ("10.0.0.0/8",))
    assert request.http_opts.timeouts == model.Timeouts(0, 0, 0, total_ms=3000)
    assert (request.http_opts.max_response_bytes, request.http_opts.max_redirects) == (1024, 2)
    assert isinstance(request.http_opts.max_response_bytes, int)
    assert request.error == model.ErrorPolicy(
        on_error="continue",
        retries=2,
        http_statuses=None,
        error_response_code=400,
        error_response_msg="service callout error",
        backoff=model.Backoff(initial_ms=100, max_ms=500, factor=2),
        retry_after=True,
        retry_methods=frozenset({"GET", "PUT"}),
        fallback=model.Fallback(203, {"X": "$(1)"}, "[]"),
        when="$(callouts.a.response.body.error)",
    )
    assert only.response.body_format == "xml"
    assert config.upstream.respond == model.Respond(201, {"X": "1"}, "{}", "$(true)")
    assert config.upstream.target == model.UpstreamTarget(scheme=None, host="h", port=None, path="/$(1)")
    assert config.deadline_ms == 900


def test_certificates_and_simple_credentials_are_carried_over() -> None:
    """References in a file stay in the fields of their names."""
    pem = {name: f"{{vault://env/{name}}}" for name in ("client_certificate", "client_key", "ca_certificates")}
    raw = callout(auth={"type": "basic", "username": "u", "password": "{vault://env/password}"}, http_opts=pem)
    request = load(raw).callouts[0].request
    assert request.auth == model.Auth(type="basic", username="u", password="{vault://env/password}")
    assert {name: getattr(request.http_opts, name) for name in pem} == pem


def test_what_switches_something_on_is_absent_unless_it_is_given() -> None:
    """Null, and a record with nothing in it, is as good as absent; an answer and a fallback need nothing in them."""
    plain = load({**callout(), "upstream": {}})
    nothing = dict.fromkeys(["auth", "circuit_breaker", "hedge_after_ms", "destination"])
    error = dict.fromkeys(["when", "backoff", "retry_after", "retry_methods", "fallback"])
    raw = callout(**{**nothing, "destination": {}}, error=error, body={"format": None, "content": None})
    raw["callouts"][0].update(when=None, for_each=None)
    raw.update(deadline_ms=None, upstream={"respond": None, "target": {"host": None}})
    assert load(raw) == plain
    raw["upstream"] = {"respond": {}}
    assert load(raw).upstream.respond == model.Respond(200, {}, None, None)
    raw["callouts"][0]["request"]["error"] = {"on_error": "continue", "fallback": {}, "backoff": {}}
    error_policy = load(raw).callouts[0].request.error
    assert error_policy.fallback == model.Fallback(200, {}, None)
    assert error_policy.backoff == model.Backoff(initial_ms=100, max_ms=10_000, factor=2)


def test_every_field_of_a_callouts_cache_is_carried_over() -> None:
    """Seconds, percent and statuses stand in the fields of their names; texts stay as they are."""
    raw = callout()
    raw["callouts"][0]["cache"] = {
        "ttl": "$(callouts.a.response.body.expires_in - 30)",
        "statuses": [200, 404.0],
        "negative_ttl": 1.5,
        "stale_while_revalidate": 30,
        "stale_if_error": 600,
        "respect_cache_control": True,
        "vary_on": ["$(headers.accept_language)", "v2"],
        "jitter": 10,
    }
    assert load(raw).callouts[0].cache == model.CalloutCache(
        bypass=False,
        ttl="$(callouts.a.response.body.expires_in - 30)",
        statuses=frozenset({200, 404}),
        negative_ttl_s=1.5,
        stale_while_revalidate_s=30,
        stale_if_error_s=600,
        respect_cache_control=True,
        vary_on=("$(headers.accept_language)", "v2"),
        jitter_percent=10,
    )


@pytest.mark.parametrize(
    "cache", [None, {}, dict.fromkeys(["ttl", "statuses", "negative_ttl", "stale_if_error", "vary_on", "jitter"])]
)
def test_a_callouts_cache_is_plain_unless_more_is_asked_for(cache: dict[str, Any] | None) -> None:
    """What is absent or null leaves the cache as Enterprise has it."""
    raw = callout()
    raw["callouts"][0]["cache"] = cache
    assert load(raw).callouts[0].cache == model.CalloutCache(bypass=False)


def test_a_negative_ttl_of_zero_is_not_none() -> None:
    """Zero keeps no error, which is another wish than saying nothing."""
    raw = callout()
    raw["callouts"][0]["cache"] = {"negative_ttl": 0, "vary_on": []}
    assert load(raw).callouts[0].cache == model.CalloutCache(bypass=False, negative_ttl_s=0)


@pytest.mark.parametrize("ttl", ["0", "60", " 60\n", "0.5", "$(1)", "1$(2)", "$(callouts.a.response.body.ttl)"])
def test_a_time_to_live_is_a_number_or_an_expression(ttl: str) -> None:
    """Seconds as text, with a fraction or not, or anything with an expression in it."""
    raw = callout()
    raw["callouts"][0]["cache"] = {"ttl": ttl}
    assert load(raw).callouts[0].cache.ttl == ttl


@pytest.mark.parametrize(
    ("strategy", "cache"),
    [
        ("off", {"ttl": "60", "stale_if_error": 5, "negative_ttl": 5}),
        ("memory", {"bypass": True, "stale_while_revalidate": 5, "vary_on": ["$(headers.x)"]}),
        ("redis", {"statuses": [200], "negative_ttl": 5}),
        ("memory", {"respect_cache_control": True, "ttl": "60"}),
    ],
)
def test_what_has_no_effect_is_no_problem(strategy: str, cache: dict[str, Any]) -> None:
    """Fields that another one makes idle are taken: a configuration may be switched off in one place."""
    raw = callout()
    raw["callouts"][0]["cache"] = cache
    raw["cache"] = {"strategy": strategy}
    assert load(raw).cache.strategy == strategy


@pytest.mark.parametrize(
    "redis",
    [
        {"sentinel_master": "m", "sentinel_role": "slave", "sentinel_nodes": [{"host": "s1", "port": 26379}, {}]},
        {"cluster_nodes": [{"ip": "n1"}, {"ip": "n2", "port": 7001}], "database": 0},
        {"connection_is_proxied": True, "host": "envoy", "port": 6380},
        {"connection_is_proxied": True, "cluster_nodes": [{}]},
        {"connection_is_proxied": None, "cluster_nodes": [{}]},
        {"cluster_nodes": [{}], "sentinel_nodes": None, "sentinel_master": None, "sentinel_role": None},
        {"cloud_authentication": {"auth_provider": "{vault://env/provider}"}},
        {"cloud_authentication": {"auth_provider": "azure"}},
        {"port": 0, "keepalive_pool_size": 1, "keepalive_backlog": 0, "connect_timeout": 0},
    ],
)
def test_ways_to_reach_a_redis(redis: dict[str, Any]) -> None:
    """One server, sentinels, a cluster or a proxy; nulls are as good as absent."""
    settings = load({"callouts": [], "cache": {"strategy": "redis", "redis": redis}}).cache.redis
    assert len(settings.sentinel_nodes) == len(redis.get("sentinel_nodes") or ())
    assert len(settings.cluster_nodes) == len(redis.get("cluster_nodes") or ())
    assert settings.connection_is_proxied is bool(redis.get("connection_is_proxied"))


@pytest.mark.parametrize(
    ("error", "policy"),
    [
        ({}, ("fail", 2)),
        ({"retries": 3}, ("retry", 3)),
        ({"retries": 0}, ("retry", 0)),
        ({"on_error": "retry"}, ("retry", 2)),
        ({"on_error": "fail", "retries": 3}, ("fail", 3)),
        ({"on_error": "continue"}, ("continue", 2)),
    ],
)
def test_retries_alone_ask_for_retries(error: dict[str, Any], policy: tuple[str, int]) -> None:
    """Without on_error it is retry if retries is given, else fail; retries is 2 unless given."""
    effective = load(callout(error=error)).callouts[0].request.error
    assert (effective.on_error, effective.retries) == policy


def test_the_configuration_is_immutable() -> None:
    """No part of the typed configuration can be set."""
    config = load(callout())
    for part in (config, config.callouts[0], config.callouts[0].request, config.upstream.body, config.cache.redis):
        assert is_dataclass(part)
        with pytest.raises(FrozenInstanceError):
            setattr(part, fields(part)[0].name, None)


def test_null_is_absent_but_removes_in_a_map() -> None:
    """A null for an optional field is as if it were not there; in custom it stays, to remove."""
    raw = callout(method=None, by_lua=None, http_opts={"timeouts": None, "proxy": {"http_proxy": None}}, error=None)
    raw["callouts"][0]["request"]["headers"] = {"custom": {"X-Gone": None}, "forward": None}
    raw["callouts"][0]["depends_on"] = None
    raw["upstream"] = raw["cache"] = None
    only = load(raw).callouts[0]
    assert (only.request.method, only.request.by_lua, only.depends_on) == ("GET", None, None)
    assert (only.request.http_opts.timeouts, only.request.http_opts.proxy) == (None, None)
    assert only.request.headers == model.Parameters(False, {"X-Gone": None}, ())


def test_all_timeouts_null_are_no_timeouts() -> None:
    """Exports that write out every field as null load."""
    nothing = {"connect": None, "read": None, "write": None}
    assert load(callout(http_opts={"timeouts": nothing})).callouts[0].request.http_opts.timeouts is None


def test_lua_can_not_tell_an_empty_list_from_an_empty_map() -> None:
    """An empty map for a list is an empty list, and the other way round."""
    config = load({"callouts": {}, "upstream": {"headers": {"custom": [], "remove": {}}, "query": []}})
    assert (config.callouts, config.upstream.headers.custom, config.upstream.headers.remove) == ((), {}, ())
    assert config.upstream.query.forward is True


def test_kongs_own_keys_are_known() -> None:
    """The keys that Kong adds are no unknown fields; the place of the plugin is taken from them."""
    ids = {
        "route_id": "r",
        "service_id": "s",
        "consumer_id": "c",
        "consumer_group_id": "g",
        "plugin_instance_name": "i",
    }
    config = load({**callout(), **KONG, **ids})
    assert (config.plugin_id, config.route_id, config.service_id, config.consumer_id) == ("p", "r", "s", "c")


def test_an_unknown_key_from_kong_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A top-level key that a later Kong adds does not break the plugin."""
    with caplog.at_level(logging.WARNING):
        load({**callout(), **KONG, "__new__": 1, "something": {"a": 1}})
    assert "something" in caplog.text


def test_an_unknown_key_from_a_file_is_refused() -> None:
    """Without Kong's own keys beside it, an unknown top-level key is an error."""
    with pytest.raises(InvalidConfiguration, match=r"config\.something: unknown field"):
        load({**callout(), "something": 1})


def test_secrets_are_what_came_from_a_vault_and_what_is_encrypted() -> None:
    """Values with a reference beside them, also in maps, and those of encrypted fields are kept; empty ones are not."""
    raw = callout(
        url="https://h/tok3n",
        body={"custom": {"id": "cl1ent", "plain": "x"}, "$refs": {"custom": {"id": "{vault://env/id}"}}},
        http_opts={"proxy": {"auth_username": "user", "auth_password": "pr0xy"}},
    )
    raw["callouts"][0]["request"]["$refs"] = {"url": "{vault://env/url}"}
    raw["cache"] = {"redis": {"password": "red1s", "sentinel_password": None, "username": "name"}}
    assert load({**raw, **KONG}).secrets == {"https://h/tok3n", "cl1ent", "pr0xy", "red1s"}


def test_a_secret_is_plain_text() -> None:
    """What a vault gives is never taken for an expression, nor refused for a leading #."""
    value = "#a$(b"
    raw = callout(headers={"custom": {"X": value}, "$refs": {"custom": {"X": "{vault://env/x}"}}})
    config = load({**raw, **KONG})
    template = parse(config.callouts[0].request.headers.custom["X"] or "")
    assert "".join(part if isinstance(part, str) else part.source[1:-1] for part in template.parts) == value
    assert config.secrets == {value}


def test_a_reference_in_a_file_stays_as_it_is() -> None:
    """A file that is checked on its own may hold references wherever the gateway resolves them."""
    raw = callout(url="{vault://env/url}", body={"custom": {"id": "{vault://env/id}"}})
    raw["cache"] = {"redis": {"cloud_authentication": {"auth_provider": "{vault://env/provider}"}}}
    config = load(raw)
    assert config.callouts[0].request.url == "{vault://env/url}"
    assert config.callouts[0].request.body.custom == {"id": "{vault://env/id}"}


def test_scripts_may_hold_references_of_their_own() -> None:
    """A script or an expression may ask kong.vault for a reference."""
    raw = callout(
        by_lua='local x = kong.vault.get("{vault://env/x}")',
        query={"custom": {"a": "$(kong.vault.get('{vault://env/x}'))"}},
    )
    assert load(raw).callouts[0].request.by_lua is not None


def test_no_callouts_are_allowed() -> None:
    """An empty list of callouts is a configuration: only the upstream part acts."""
    assert load({"callouts": []}).callouts == ()
