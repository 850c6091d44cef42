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
        ),
        cache=_callout_cache(raw["cache"]),
    )


def upstream(raw: Mapping[str, Any]) -> model.Upstream:
    """``upstream``."""
    return model.Upstream(
        query=_parameters(raw["query"]),
        headers=_parameters(raw["headers"]),
        body=_body(raw["body"]),
        by_lua=raw.get("by_lua"),
    )


def cache(raw: Mapping[str, Any]) -> model.Cache:
    """``cache``."""
    return model.Cache(
        strategy=raw["strategy"],
        cache_ttl_s=raw["cache_ttl"],
        dictionary_name=raw["memory"]["dictionary_name"],
        redis=_redis(raw["redis"]),
    )


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
    )


def _http_options(raw: Mapping[str, Any]) -> model.HttpOptions:
    timeouts, proxy = raw.get("timeouts"), raw.get("proxy")
    return model.HttpOptions(
        ssl_verify=raw["ssl_verify"],
        ssl_server_name=raw.get("ssl_server_name"),
        timeouts=model.Timeouts(timeouts["connect"], timeouts["write"], timeouts["read"]) if timeouts else None,
        proxy=_optional(model.Proxy, proxy) if proxy else None,
    )


def _error_policy(raw: Mapping[str, Any]) -> model.ErrorPolicy:
    """The effective policy: ``retries`` alone asks for retries, as in the overview's example of Kong's documents."""
    retries, statuses = raw.get("retries"), raw.get("http_statuses")
    effective: int = schema_at("callouts", "request", "error", "retries")["x-effective-default"]
    return model.ErrorPolicy(
        on_error=raw.get("on_error") or ("fail" if retries is None else "retry"),
        retries=effective if retries is None else retries,
        http_statuses=None if statuses is None else frozenset(statuses),
        error_response_code=raw["error_response_code"],
        error_response_msg=raw["error_response_msg"],
    )


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


def _redis(raw: Mapping[str, Any]) -> model.Redis:
    values = {name.removesuffix("_ms"): name for name in model.Redis.__dataclass_fields__}
    fields: dict[str, Any] = {field: raw.get(name) for name, field in values.items()}
    fields["sentinel_nodes"] = tuple(
        model.HostPort(node["host"], node["port"]) for node in raw.get("sentinel_nodes", ())
    )
    fields["cluster_nodes"] = tuple(model.HostPort(node["ip"], node["port"]) for node in raw.get("cluster_nodes", ()))
    fields["cloud_authentication"] = _optional(model.CloudAuthentication, raw["cloud_authentication"])
    return model.Redis(**fields)


def _optional(record: Any, raw: Mapping[str, Any]) -> Any:
    """A record whose fields have the names of the configuration; what is absent is None."""
    return record(**{name: raw.get(name) for name in record.__dataclass_fields__})
