"""Kong's declarative configuration: read, checked, and flattened into entities."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import yaml

from request_callout.gateway import entities as kinds
from request_callout.gateway.lua_pretty import pretty
from request_callout.gateway.model import (
    Configuration,
    Consumer,
    Credential,
    PluginConfig,
    Route,
    Service,
    Vault,
)
from request_callout.gateway.schema_rules import Definition, Errors, each_field, fill, validate

_IDS = uuid.UUID("fd02801f-0957-4a15-a55a-c8d9606f30b5")
_TOP_LEVEL = ("services", "routes", "consumers", "plugins", "keyauth_credentials", "vaults")
_ELSEWHERE = frozenset(
    [
        "acls",
        "basicauth_credentials",
        "ca_certificates",
        "certificates",
        "clustering_data_planes",
        "filter_chains",
        "hmacauth_credentials",
        "jwt_secrets",
        "key_sets",
        "keys",
        "oauth2_credentials",
        "parameters",
        "snis",
        "tags",
        "targets",
        "upstreams",
        "workspaces",
    ]
)
_META: Mapping[str, Definition] = {
    "_format_version": {"type": "string", "required": True, "one_of": kinds.FORMAT_VERSIONS},
    "_transform": {"type": "boolean"},
    "_comment": {"type": "string"},
    "_ignore": {"type": "array", "elements": {"type": "any"}},
}


class InvalidDeclaration(ValueError):
    """A declarative configuration that Kong would refuse: ``errors`` is Kong's tree, ``source`` what was given."""

    def __init__(self, errors: Errors, source: Mapping[str, Any] | None = None) -> None:
        super().__init__(f"declarative config is invalid: {pretty(errors, '')}")
        self.errors = errors
        self.source = source


class _Loader(yaml.SafeLoader):
    """YAML as Kong reads it: what looks like a date stays text."""


_Loader.yaml_implicit_resolvers = {
    start: [(tag, expression) for tag, expression in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for start, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def parse(content: str) -> dict[str, Any]:
    """The document of a declarative file, JSON or YAML; raises InvalidDeclaration if it is neither or no object."""
    try:
        try:
            document = json.loads(content)
        except ValueError:
            document = yaml.load(content, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except RecursionError:
        raise InvalidDeclaration({"error": "failed parsing declarative configuration: nested too deep"}) from None
    except (yaml.YAMLError, ValueError) as error:
        raise InvalidDeclaration({"error": f"failed parsing declarative configuration: {error}"}) from None
    if not isinstance(document, dict):
        raise InvalidDeclaration({"error": "failed parsing declarative configuration: expected an object"})
    return document


@dataclass(slots=True)
class _Flattening:
    """The entities found so far, by kind and id."""

    plugins: Mapping[str, Definition]
    now: int
    entities: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    by_name: dict[tuple[str, str], str] = field(default_factory=dict)
    errors: Errors = field(default_factory=dict)


def load(document: Mapping[str, Any], plugins: Mapping[str, Definition]) -> Configuration:
    """A document as what runs. ``plugins`` are the schemas of the plugins that may be configured, by name.

    Raises InvalidDeclaration with everything that Kong's rules refuse.
    """
    work = _Flattening(plugins=plugins, now=int(time.time()))
    for name, value in document.items():
        problem = _top_level_problem(name, value)
        if problem:
            work.errors[name] = problem
    if document.get("_format_version") is None:
        work.errors["_format_version"] = "required field missing"
    for kind in _TOP_LEVEL:
        items = document.get(kind)
        if isinstance(items, list):
            errors = _take(work, kind, items, None, None)
            if errors:
                work.errors[kind] = errors
    if work.errors:
        raise InvalidDeclaration(work.errors, document)
    _resolve_references(work)
    if work.errors:
        raise InvalidDeclaration(work.errors, document)
    return _running(work.entities)


def _top_level_problem(name: Any, value: Any) -> Any:
    if name in _META:
        if name == "_format_version" and not isinstance(value, str):
            return "expected a string"
        options = _META[name].get("one_of")
        return None if options is None or value in options else f"expected one of: {', '.join(map(str, options))}"
    if name in _TOP_LEVEL:
        return None if value is None or isinstance(value, list) else "expected an array"
    if name in _ELSEWHERE:
        return "not supported by the embedded gateway"
    return "unknown field"


def _take(work: _Flattening, kind: str, items: Sequence[Any], parent: str | None, parent_id: str | None) -> Errors:
    """Check entities and keep them; ``parent`` is the field that refers to the entity around them."""
    errors: Errors = {}
    for position, given in enumerate(items, 1):
        if not isinstance(given, dict):
            errors[position] = "expected a record"
            continue
        problem = _take_one(work, kind, given, parent, parent_id)
        if problem:
            errors[position] = problem
    return errors


def _take_one(
    work: _Flattening, kind: str, given: Mapping[str, Any], parent: str | None, parent_id: str | None
) -> Errors | str:
    children = {name: given[name] for name in kinds.CHILDREN.get(kind, {}) if given.get(name) is not None}
    own = {name: value for name, value in given.items() if name not in children and name not in ("_comment", "_ignore")}
    if kind == "plugins":
        name = own.get("name")
        if not isinstance(name, str):
            return {"name": "required field missing" if name is None else "expected a string"}
        if name not in work.plugins:
            return {"name": not_enabled(name)}
        schema = kinds.plugin_schema(work.plugins[name])
    else:
        schema = kinds.SCHEMAS[kind]
    if kind == "services":
        own = _with_url(own)
    errors: Errors = {}
    if parent is not None:
        if own.get(parent) is not None:
            errors[parent] = "value must be null"
        own[parent] = {"id": parent_id}
    if own.get("id") is None:
        own["id"] = _identity(kind, own, parent)
    identity = own["id"] if isinstance(own["id"], str) else ""
    for when in ("created_at", "updated_at"):
        if own.get(when) is None and any(when == name for name, _ in each_field(schema)):
            own[when] = work.now
    if kind == "keyauth_credentials" and own.get("key") is None:
        own["key"] = uuid.uuid4().hex
    entity = fill(schema, own)
    for name in kinds.FOREIGN.get(kind, {}):
        problem = _reference_problem(entity.get(name))
        if problem:
            errors[name] = problem
    for name, problem in validate(schema, entity).items():
        errors.setdefault(name, problem)
    if kind == "routes" and not errors:
        problem = kinds.route_problem(entity)
        if problem:
            errors["@entity"] = [problem]
    if kind == "vaults" and isinstance(entity.get("name"), str) and entity["name"] != "env":
        errors["name"] = f"vault '{entity['name']}' is not installed"
    for name, inner in children.items():
        if not isinstance(inner, list):
            errors[name] = "expected an array"
            continue
        below = _take(work, name, inner, kinds.CHILDREN[kind][name], identity)
        if below:
            errors[name] = below
    return errors or _keep(work, kind, entity)


def _keep(work: _Flattening, kind: str, entity: dict[str, Any]) -> str:
    kept = work.entities.setdefault(kind, {})
    unique = {"consumers": ("username", "custom_id"), "keyauth_credentials": ("key",)}
    for name in unique.get(kind, (kinds.NAME_OF[kind],) if kind in kinds.NAME_OF else ()):
        value = entity.get(name)
        if value is None:
            continue
        if any(other.get(name) == value for other in kept.values()):
            return f"uniqueness violation: '{kind}' entity with {name} set to '{value}' already declared"
        if name == kinds.NAME_OF.get(kind):
            work.by_name[kind, value] = entity["id"]
    if entity["id"] in kept:
        return f"uniqueness violation: '{kind}' entity with primary key set to '{entity['id']}' already declared"
    kept[entity["id"]] = entity
    return ""


def _with_url(service: dict[str, Any]) -> dict[str, Any]:
    """A service with its ``url`` taken apart."""
    url = service.get("url")
    if not isinstance(url, str):
        return service
    rest = {name: value for name, value in service.items() if name != "url"}
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return service
    protocol = parts.scheme or {80: "http", 443: "https"}.get(port or 0, "http")
    return {
        **rest,
        "protocol": protocol,
        "host": parts.hostname,
        "port": port or {"https": 443}.get(protocol, 80),
        "path": parts.path or None,
    }


def _identity(kind: str, entity: Mapping[str, Any], parent: str | None) -> str:
    """The id of an entity that gives none: made of what identifies it, as Kong makes it, so that it stays the same."""

    def reference(name: str) -> str:
        value = entity.get(name)
        return str(value.get("id") if isinstance(value, dict) else value or "")

    key: str | None = None
    if kind == "plugins":
        key = ":".join(["plugins", "*", str(entity.get("name")), *map(reference, ("route", "service", "consumer"))])
        key += ":"
    elif kind == "vaults":
        key = f"vaults:*:{entity.get('prefix')}"
    elif kind in kinds.NAME_OF and entity.get(kinds.NAME_OF[kind]) is not None:
        key = str(entity[kinds.NAME_OF[kind]])
    if key is None:
        return str(uuid.uuid4())
    if kind == "plugins":
        key = key.removesuffix(":")
    return str(uuid.uuid5(uuid.uuid5(_IDS, kind), key))


def _reference_problem(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return None
    if isinstance(value, dict) and set(value) == {"id"} and isinstance(value["id"], str):
        return None
    return "expected a string"


def _resolve_references(work: _Flattening) -> None:
    """Names of other entities become ``{"id": ...}``."""
    for kind, foreign in kinds.FOREIGN.items():
        for position, entity in enumerate(work.entities.get(kind, {}).values(), 1):
            for name, other in foreign.items():
                value = entity.get(name)
                if value is None:
                    continue
                wanted = value["id"] if isinstance(value, dict) else value
                found = wanted if wanted in work.entities.get(other, {}) else work.by_name.get((other, wanted))
                if found is None:
                    shown = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
                    at = entity.get(kinds.NAME_OF.get(kind, "")) or entity["id"] or position
                    message = f"invalid reference '{name}: {shown}' (no such entry in '{other}')"
                    work.errors.setdefault(kind, {}).setdefault(at, {})[1] = message
                else:
                    entity[name] = {"id": found}


def _running(entities: dict[str, dict[str, dict[str, Any]]]) -> Configuration:
    services = {identity: _service(entity) for identity, entity in entities.get("services", {}).items()}
    consumers = {
        identity: Consumer(identity, entity.get("username"), entity.get("custom_id"), entity)
        for identity, entity in entities.get("consumers", {}).items()
    }
    credentials = {
        entity["key"]: Credential(identity, entity["key"], consumers[entity["consumer"]["id"]], entity)
        for identity, entity in entities.get("keyauth_credentials", {}).items()
    }
    return Configuration(
        routes=tuple(
            _route(entity, services)
            for entity in entities.get("routes", {}).values()
            if {"http", "https", "grpc", "grpcs"} & set(entity["protocols"])
        ),
        consumers=tuple(consumers.values()),
        credentials=credentials,
        plugins=tuple(_plugin(entity) for entity in entities.get("plugins", {}).values() if entity["enabled"]),
        vaults={
            entity["prefix"]: Vault(entity["prefix"], entity.get("config") or {})
            for entity in entities.get("vaults", {}).values()
        },
        entities=entities,
    )


def _service(entity: Mapping[str, Any]) -> Service:
    return Service(
        id=entity["id"],
        protocol=entity["protocol"],
        host=entity["host"],
        port=entity["port"],
        path=entity["path"] or "/",
        retries=entity["retries"],
        connect_timeout_ms=entity["connect_timeout"],
        write_timeout_ms=entity["write_timeout"],
        read_timeout_ms=entity["read_timeout"],
        entity=entity,
    )


def _route(entity: Mapping[str, Any], services: Mapping[str, Service]) -> Route:
    service = entity["service"]
    return Route(
        id=entity["id"],
        protocols=tuple(entity["protocols"]),
        methods=tuple(entity["methods"] or ()),
        hosts=tuple(entity["hosts"] or ()),
        paths=tuple(entity["paths"] or ()),
        headers={name: tuple(values) for name, values in (entity["headers"] or {}).items()},
        strip_path=entity["strip_path"],
        preserve_host=entity["preserve_host"],
        regex_priority=entity["regex_priority"],
        https_redirect_status_code=entity["https_redirect_status_code"],
        service=services[service["id"]] if service else None,
        entity=entity,
    )


def _plugin(entity: Mapping[str, Any]) -> PluginConfig:
    def place(name: str) -> str | None:
        return entity[name]["id"] if entity[name] else None

    return PluginConfig(
        id=entity["id"],
        name=entity["name"],
        route_id=place("route"),
        service_id=place("service"),
        consumer_id=place("consumer"),
        instance_name=entity["instance_name"],
        config=entity["config"] or {},
    )


def not_enabled(name: str) -> str:
    """Why a plugin is refused: Kong's words, and what there is here."""
    return (
        f"plugin '{name}' not enabled; add it to the 'plugins' configuration property "
        "(the embedded gateway has request-callout, key-auth, pre-function and post-function only)"
    )
