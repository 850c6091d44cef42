"""From a checked configuration with all defaults to the frozen model: types and units, nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from request_callout.config import model
from request_callout.config.schema import schema_at


def callout(raw: Mapping[str, Any]) -> model.Callout:
    """``callouts[]``."""
    depends_on, response = raw.get("depends_on"), raw["response"]
    return model.Callout(
        name=raw["name"],
        depends_on=None if depends_on is None else tuple(depends_on),
        request=_request(raw["request"]),
        response=model.Response(
            headers_store=response["headers"]["store"],
            body_store=response["body"]["store"],
            body_decode=response["body"]["decode"],
            by_lua=response.get("by_lua"),
            body_format=response["body"].get("format"),
        ),
        cache=_callout_cache(raw["cache"]),
        when=raw.get("when"),
        for_each=model.ForEach(**raw["for_each"]) if raw.get("for_each") else None,
    )


def upstream(raw: Mapping[str, Any]) -> model.Upstream:
    """``upstream``."""
    return model.Upstream(
        query=_parameters(raw["query"]),
        headers=_parameters(raw["headers"]),
        body=_body(raw["body"]),
        by_lua=raw.get("by_lua"),
        respond=None if raw.get("respond") is None else _respond(raw["respond"]),
        target=_optional(model.UpstreamTarget, raw["target"]) if raw.get("target") else None,
    )


def cache(raw: Mapping[str, Any], from_vault: Mapping[str, str] | None = None) -> model.Cache:
    """``cache``; ``from_vault`` has the references of the values that came from a vault."""
    return model.Cache(
        strategy=raw["strategy"],
        cache_ttl_s=raw["cache_ttl"],
        dictionary_name=raw["memory"]["dictionary_name"],
        redis=_redis(raw["redis"], from_vault or {}),
    )


def _respond(raw: Mapping[str, Any]) -> model.Respond:
    return model.Respond(raw["status"], raw.get("headers") or {}, raw.get("body"), raw.get("when"))


def _request(raw: Mapping[str, Any]) -> model.Request:
    return model.Request(
        url=raw["url"],
        method=raw["method"].upper(),
        query=_parameters(raw["query"]),
        headers=_parameters(raw["headers"]),
        body=_body(raw["body"]),
        http_opts=_http_options(raw["http_opts"]),
        error=_error_policy(raw["error"]),
        by_lua=raw.get("by_lua"),
        auth=_auth(raw["auth"]) if raw.get("auth") else None,
        circuit_breaker=_optional(model.CircuitBreaker, raw["circuit_breaker"]) if raw.get("circuit_breaker") else None,
        hedge_after_ms=raw.get("hedge_after_ms"),
        destination=_destination(raw["destination"]) if raw.get("destination") else None,
    )


def _parameters(raw: Mapping[str, Any]) -> model.Parameters:
    return model.Parameters(
        forward=raw["forward"], custom=raw.get("custom") or {}, remove=tuple(raw.get("remove") or ())
    )


def _body(raw: Mapping[str, Any]) -> model.Body:
    return model.Body(
        forward=raw["forward"],
        decode=raw["decode"],
        typed=raw["typed"],
        custom=raw.get("custom") or {},
        remove=tuple(raw.get("remove") or ()),
        format=raw.get("format") or "json",
        content=raw.get("content"),
    )


def _http_options(raw: Mapping[str, Any]) -> model.HttpOptions:
    timeouts, proxy = raw.get("timeouts"), raw.get("proxy")
    return model.HttpOptions(
        ssl_verify=raw["ssl_verify"],
        ssl_server_name=raw.get("ssl_server_name"),
        timeouts=_timeouts(timeouts) if timeouts else None,
        proxy=_optional(model.Proxy, proxy) if proxy else None,
        client_certificate=raw.get("client_certificate"),
        client_key=raw.get("client_key"),
        ca_certificates=raw.get("ca_certificates"),
        max_response_bytes=raw.get("max_response_bytes"),
        max_redirects=raw.get("max_redirects", 0),
    )


def _timeouts(raw: Mapping[str, Any]) -> model.Timeouts:
    return model.Timeouts(raw.get("connect", 0), raw.get("write", 0), raw.get("read", 0), raw.get("total"))


def _auth(raw: Mapping[str, Any]) -> model.Auth:
    lists_and_maps = {"scopes": tuple(raw.get("scopes", ())), "extra_parameters": raw.get("extra_parameters", {})}
    return model.Auth(**{**raw, **lists_and_maps})


def _destination(raw: Mapping[str, Any]) -> model.Destination:
    return model.Destination(tuple(raw.get("allow_hosts", ())), tuple(raw.get("deny_networks", ())))


def _error_policy(raw: Mapping[str, Any]) -> model.ErrorPolicy:
    """The effective policy: ``retries`` alone asks for retries, as in the overview's example of Kong's documents."""
    retries, statuses, methods = raw.get("retries"), raw.get("http_statuses"), raw.get("retry_methods")
    fallback = raw.get("fallback")
    effective: int = schema_at("callouts", "request", "error", "retries")["x-effective-default"]
    return model.ErrorPolicy(
        on_error=raw.get("on_error") or ("fail" if retries is None else "retry"),
        retries=effective if retries is None else retries,
        http_statuses=None if statuses is None else frozenset(statuses),
        error_response_code=raw["error_response_code"],
        error_response_msg=raw["error_response_msg"],
        backoff=model.Backoff(**raw["backoff"]) if raw.get("backoff") else None,
        retry_after=raw.get("retry_after", False),
        retry_methods=None if methods is None else frozenset(method.upper() for method in methods),
        fallback=None if fallback is None else _fallback(fallback),
        when=raw.get("when"),
    )


def _fallback(raw: Mapping[str, Any]) -> model.Fallback:
    return model.Fallback(raw["status"], raw.get("headers") or {}, raw.get("body"))


def _callout_cache(raw: Mapping[str, Any]) -> model.CalloutCache:
    statuses = raw.get("statuses")
    return model.CalloutCache(
        bypass=raw["bypass"],
        ttl=raw.get("ttl"),
        statuses=None if statuses is None else frozenset(statuses),
        negative_ttl_s=raw.get("negative_ttl"),
        stale_while_revalidate_s=raw.get("stale_while_revalidate", 0.0),
        stale_if_error_s=raw.get("stale_if_error", 0.0),
        respect_cache_control=raw.get("respect_cache_control", False),
        vary_on=tuple(raw.get("vary_on", ())),
        jitter_percent=raw.get("jitter", 0.0),
    )


def _redis(raw: Mapping[str, Any], from_vault: Mapping[str, str]) -> model.Redis:
    values = {name.removesuffix("_ms"): name for name in model.Redis.__dataclass_fields__}
    fields: dict[str, Any] = {field: raw.get(name) for name, field in values.items()}
    fields["sentinel_nodes"] = tuple(
        model.HostPort(node["host"], node["port"]) for node in raw.get("sentinel_nodes", ())
    )
    fields["cluster_nodes"] = tuple(model.HostPort(node["ip"], node["port"]) for node in raw.get("cluster_nodes", ()))
    fields["from_vault"] = tuple(sorted(from_vault.items()))
    fields["cloud_authentication"] = _optional(model.CloudAuthentication, raw["cloud_authentication"])
    return model.Redis(**fields)


def _optional(record: Any, raw: Mapping[str, Any]) -> Any:
    """A record whose fields have the names of the configuration; what is absent is None."""
    return record(**{name: raw.get(name) for name in record.__dataclass_fields__})
