"""The admin port: the part of Kong's Admin API that shows what runs and takes a new configuration."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import parse_qsl

import orjson
from aiohttp import web

from request_callout import __version__
from request_callout.config.kong_schema import PLUGIN_NAME
from request_callout.engine.answer import JSON_TYPE
from request_callout.gateway import declarative
from request_callout.gateway.declarative import InvalidDeclaration, not_enabled
from request_callout.gateway.entities import plugin_schema
from request_callout.gateway.flat_errors import flattened
from request_callout.gateway.lua_pretty import pretty
from request_callout.gateway.model import Configuration
from request_callout.gateway.pdk import NODE_ID
from request_callout.gateway.runtime import PRIORITIES
from request_callout.gateway.schema_rules import Definition, Errors, fill, validate
from request_callout.gateway.upstream import SERVER_TOKEN

VERSION = SERVER_TOKEN.partition("/")[2]
_LISTED = ("services", "routes", "consumers", "plugins", "vaults", "keyauth_credentials")


class Node(Protocol):
    """The gateway as the Admin API sees it."""

    @property
    def configuration(self) -> Configuration:
        """What runs now."""

    @property
    def schemas(self) -> Mapping[str, Definition]:
        """The schemas of the plugins, by name, as Kong loads them."""

    async def apply(self, configuration: Configuration) -> None:
        """Make this the configuration that runs."""


def application(node: Node) -> web.Application:
    """The aiohttp application of the admin port."""
    admin = _Admin(node)
    result = web.Application(client_max_size=256 * 1024 * 1024)
    result.add_routes(
        [
            web.get("/", admin.node),
            web.get("/status", admin.status),
            web.get("/config", admin.get_config),
            web.post("/config", admin.post_config),
            web.get("/schemas/plugins/{name}", admin.plugin_schema),
            web.post("/schemas/plugins/validate", admin.validate_plugin),
            *(web.get(f"/{kind}", admin.entities) for kind in _LISTED),
            *(web.get(f"/{kind}/{{id}}", admin.entity) for kind in _LISTED),
        ]
    )
    result.middlewares.append(_not_found)
    return result


@web.middleware
async def _not_found(request: web.Request, handler: Any) -> web.StreamResponse:
    try:
        response: web.StreamResponse = await handler(request)
    except web.HTTPNotFound:
        response = _json(404, {"message": "Not found"})
    except web.HTTPMethodNotAllowed:
        response = _json(405, {"message": "Method not allowed"})
    return response


class _Admin:
    def __init__(self, node: Node) -> None:
        self._node = node

    async def node(self, _: web.Request) -> web.Response:
        enabled = {one["name"] for one in self._node.configuration.entities.get("plugins", {}).values()}
        return _json(
            200,
            {
                "tagline": "Welcome to the embedded gateway of request-callout, for trying out and tests",
                "version": VERSION,
                "edition": "community",
                "hostname": platform.node(),
                "node_id": NODE_ID,
                "plugins": {
                    "available_on_server": {
                        name: {"version": __version__ if name == PLUGIN_NAME else VERSION, "priority": priority}
                        for name, priority in PRIORITIES.items()
                    },
                    "enabled_in_cluster": sorted(enabled),
                },
                "pids": {"master": os.getpid(), "workers": [os.getpid()]},
                "configuration": {"database": "off", "router_flavor": "traditional_compatible"},
            },
        )

    async def status(self, _: web.Request) -> web.Response:
        return _json(200, {"database": {"reachable": True}, "server": {"connections_active": 1}})

    async def get_config(self, _: web.Request) -> web.Response:
        entities = {kind: list(entries.values()) for kind, entries in self._node.configuration.entities.items()}
        document = {"_format_version": "3.0", "_transform": False, **entities}
        return _json(200, {"config": orjson.dumps(document).decode()})

    async def post_config(self, request: web.Request) -> web.Response:
        document: Mapping[str, Any] | None = None
        try:
            document = await _posted(request)
            if document is None:
                return _json(400, {"message": "expected a declarative configuration"})
            configuration = declarative.load(document, self._node.schemas)
        except InvalidDeclaration as invalid:
            wants_flat = request.query.get("flatten_errors", "").lower() in ("1", "true", "on", "yes")
            return _json(400, _refused(invalid, flat=wants_flat))
        await self._node.apply(configuration)
        return _json(201, configuration.entities)

    async def plugin_schema(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in self._node.schemas:
            return _json(404, {"message": f"No plugin named '{name}'"})
        schema = self._node.schemas[name]
        return _json(200, {"fields": _jsonable(schema["fields"]), "entity_checks": schema.get("entity_checks") or []})

    async def validate_plugin(self, request: web.Request) -> web.Response:
        given = await _parameters(request)
        name = given.get("name")
        if name is None:
            errors: Errors = {"name": "required field missing"}
        elif name not in self._node.schemas:
            errors = {"name": not_enabled(name)}
        else:
            schema = plugin_schema(self._node.schemas[name])
            errors = validate(schema, fill(schema, given))
        if errors:
            return _json(400, schema_violation(errors))
        return _json(200, {"message": "schema validation successful"})

    async def entities(self, request: web.Request) -> web.Response:
        kind = request.path.strip("/").split("/")[0]
        entries = list(self._node.configuration.entities.get(kind, {}).values())
        return _json(200, {"data": entries, "next": None})

    async def entity(self, request: web.Request) -> web.Response:
        kind = request.path.strip("/").split("/")[0]
        wanted = request.match_info["id"]
        for identity, entity in self._node.configuration.entities.get(kind, {}).items():
            if wanted in (identity, entity.get("name") if kind != "plugins" else None, entity.get("username")):
                return _json(200, entity)
        return _json(404, {"message": "Not found"})


async def _posted(request: web.Request) -> Mapping[str, Any] | None:
    """The declarative document of a request: a field ``config`` of it, or the whole body."""
    kind = request.content_type
    if kind == "multipart/form-data":
        field = (await request.post()).get("config")
        if field is None:
            return None
        content = field.file.read() if isinstance(field, web.FileField) else field
        return declarative.parse(content if isinstance(content, str) else bytes(content).decode("utf-8", "replace"))
    body = (await request.read()).decode("utf-8", "replace")
    if not body.strip():
        return None
    if kind == "application/x-www-form-urlencoded":
        fields = dict(parse_qsl(body))
        return declarative.parse(fields.get("config", body))
    document = declarative.parse(body)
    inner = document.get("config")
    if "_format_version" not in document and inner is not None:
        return declarative.parse(inner) if isinstance(inner, str) else inner
    return document


async def _parameters(request: web.Request) -> dict[str, Any]:
    """An entity as given: JSON, or form fields with dots in their names."""
    if request.content_type == "application/json":
        try:
            given = orjson.loads(await request.read())
        except ValueError:
            given = None
        return given if isinstance(given, dict) else {}
    result: dict[str, Any] = {}
    for path, value in (await request.post()).items():
        *parents, name = path.split(".")
        at = result
        for parent in parents:
            at = at.setdefault(parent, {})
        at[name] = value
    return result


def _refused(invalid: InvalidDeclaration, *, flat: bool) -> dict[str, Any]:
    if flat and invalid.source is not None:
        entity_errors, rest = flattened(invalid.errors, invalid.source)
        return {
            "code": 14,
            "name": "invalid declarative configuration",
            "message": "declarative config is invalid: " + pretty(rest, ""),
            "fields": _jsonable(rest),
            "flattened_errors": entity_errors,
        }
    return {
        "code": 14,
        "name": "invalid declarative configuration",
        "message": str(invalid),
        "fields": _jsonable(invalid.errors),
    }


def schema_violation(errors: Errors) -> dict[str, Any]:
    """The answer to an entity that its schema refuses (``kong/db/errors.lua``)."""
    parts = list(errors.get("@entity", []))
    for name in sorted(one for one in errors if one != "@entity"):
        problem = errors[name]
        if isinstance(problem, dict):
            for below in sorted(problem, key=str):
                shown = problem[below] if isinstance(problem[below], str) else pretty(problem[below])
                parts.append(f"{name}.{below}: {shown}")
        else:
            parts.append(f"{name}: {problem}")
    head = "schema violation" if len(parts) == 1 else f"{len(parts)} schema violations"
    return {
        "code": 2,
        "name": "schema violation",
        "message": f"{head} ({'; '.join(parts)})",
        "fields": _jsonable(errors),
    }


def _jsonable(value: Any) -> Any:
    """A tree as JSON: what is numbered from 1 is an array, with nulls for what is missing; functions are left out."""
    if isinstance(value, Mapping):
        if value and all(isinstance(key, int) for key in value):
            return [_jsonable(value.get(at)) for at in range(1, max(value) + 1)]
        return {str(key): _jsonable(one) for key, one in value.items() if not callable(one)}
    if isinstance(value, (list, tuple)):
        return [_jsonable(one) for one in value]
    return value


def _json(status: int, document: Any) -> web.Response:
    headers = {"Server": SERVER_TOKEN, "Content-Type": JSON_TYPE}
    return web.Response(status=status, body=orjson.dumps(document, option=orjson.OPT_NON_STR_KEYS), headers=headers)
