"""From a raw configuration, as Kong or a file has it, to the checked and typed one."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

from request_callout.config import model, typed
from request_callout.config.checks import check
from request_callout.config.normal import KONG_KEYS, encrypted, from_kong, normal, references
from request_callout.config.problems import InvalidConfiguration, Problem
from request_callout.config.schema import json_schema
from request_callout.config.shape import shape_problems
from request_callout.config.sources import SourceCheck

_log = logging.getLogger(__name__)


def load(raw: Mapping[str, Any], check_source: SourceCheck | None = None) -> model.Configuration:
    """Check a plugin configuration and give it types; raises InvalidConfiguration with every problem.

    ``check_source`` finds syntax errors in Lua; without it scripts and expressions are not looked into.
    """
    if not isinstance(raw, Mapping):
        raise InvalidConfiguration(shape_problems(raw))
    schema = json_schema()
    problems: list[Problem] = []
    raw = _with_text_keys(raw, "config", problems)
    own = {name: value for name, value in raw.items() if name not in KONG_KEYS}
    if from_kong(raw):
        own = _known(own, schema)
    config = normal(own, schema)
    resolved = list(references(raw, "config"))
    for stage in (_unresolved(resolved), shape_problems(config), check(config, check_source)):
        told = {problem.path for problem in problems}  # what a later stage finds at the same place follows from it
        problems += [problem for problem in stage if problem.path not in told]
    if problems:
        raise InvalidConfiguration(problems)
    return model.Configuration(
        callouts=tuple(typed.callout(one) for one in config["callouts"]),
        upstream=typed.upstream(config["upstream"]),
        cache=typed.cache(config["cache"], dict(_of_redis(resolved))),
        plugin_id=str(raw.get("__plugin_id", "")),
        route_id=raw.get("route_id"),
        service_id=raw.get("service_id"),
        consumer_id=raw.get("consumer_id"),
        secrets=frozenset(
            secret
            for secret in (*(value for _, _, value in resolved), *encrypted(config, schema))
            if isinstance(secret, str) and secret
        ),
        deadline_ms=config.get("deadline_ms"),
    )


def _with_text_keys(raw: Any, path: str, problems: list[Problem]) -> Any:
    """The same with names that are texts; YAML can also make numbers and others of them."""
    if isinstance(raw, Mapping):
        problems += [
            Problem(f"{path}.{name}", "a name must be a string; put it in quotes", rule="schema")
            for name in raw
            if not isinstance(name, str)
        ]
        return {str(name): _with_text_keys(value, f"{path}.{name}", problems) for name, value in raw.items()}
    if isinstance(raw, (list, tuple)):
        return [_with_text_keys(value, f"{path}[{place}]", problems) for place, value in enumerate(raw, 1)]
    return raw


def _known(own: dict[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """Without the top-level keys that some version of Kong adds and we do not know: they are logged, not refused."""
    unknown = [name for name in own if name not in schema["properties"] and name != "$refs"]
    for name in unknown:
        _log.warning("Kong sent a key that is not known here: %s", name)
    return {name: value for name, value in own.items() if name not in unknown}


def _of_redis(resolved: list[tuple[str, str, Any]]) -> Iterator[tuple[str, str]]:
    """The values among those from a vault that say how Redis is reached, with their references."""
    for path, reference, value in resolved:
        if path.startswith("config.cache.redis.") and isinstance(value, str):
            yield value, reference


def _unresolved(resolved: list[tuple[str, str, Any]]) -> list[Problem]:
    return [
        Problem(path, f"the reference {reference} could not be resolved; check that the vault has it", rule="reference")
        for path, reference, value in resolved
        if value in ("", None)
    ]
