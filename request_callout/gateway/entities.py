"""The entities of a declarative configuration and the bundled plugins of the gateway, in Kong's schema language.

After ``kong/db/schema/entities`` of Kong 3.9, without what needs TLS certificates, upstreams or a database.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from request_callout.gateway.router import compile_path
from request_callout.gateway.schema_rules import Definition
from request_callout.values import raw

FORMAT_VERSIONS = ("1.1", "2.1", "3.0")

CHILDREN: Mapping[str, Mapping[str, str]] = {
    "services": {"routes": "service", "plugins": "service"},
    "routes": {"plugins": "route"},
    "consumers": {"plugins": "consumer", "keyauth_credentials": "consumer"},
}
"""What may stand inside an entity, and the field of the inner one that then refers to the outer."""

FOREIGN: Mapping[str, Mapping[str, str]] = {
    "routes": {"service": "services"},
    "plugins": {"route": "routes", "service": "services", "consumer": "consumers"},
    "keyauth_credentials": {"consumer": "consumers"},
}
"""The fields that refer to other entities, and their kind."""

NAME_OF: Mapping[str, str] = {
    "services": "name",
    "routes": "name",
    "consumers": "username",
    "plugins": "instance_name",
    "vaults": "prefix",
}
"""The field by which an entity is referred to, beside its id."""

_UUID = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\Z")
_NAME = re.compile(rb"[A-Za-z0-9.\-_~\x80-\xf4]+\Z")
_HOST = re.compile(r"(?:[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_.])?|\[?[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*\]?)\Z")
_PATH = re.compile(rb"/[A-Za-z0-9.\-_~/%:@!$&'()*+,;=]*\Z")
_HEADER_NAME = re.compile(r"[A-Za-z0-9-_]+\Z")
PROTOCOLS = ("grpc", "grpcs", "http", "https", "tcp", "tls", "tls_passthrough", "udp")


def _uuid(value: str) -> str | None:
    return None if _UUID.match(value) else "expected a valid UUID"


def _name(value: str) -> str | None:
    if _NAME.match(raw(value)):
        return None
    return f"invalid value '{value}': the only accepted ascii characters are alphanumerics or ., -, _, and ~"


def _host(value: str) -> str | None:
    name, colon, port = value.rpartition(":")
    if colon and port.isdigit() and ":" not in name:
        return "must not have a port"
    return None if _HOST.match(value) else f"invalid value: {value}"


def _wildcard_host(value: str) -> str | None:
    if value.count("*") > 1:
        return "only one wildcard must be specified"
    if "*" in value[1:-1]:
        return "wildcard must be leftmost or rightmost character"
    name, colon, port = value.rpartition(":")
    host = name if colon and port.isdigit() else value
    return None if _HOST.match(host.replace("*", "wildcard")) else f"invalid value: {value}"


def _path(value: str) -> str | None:
    if not _PATH.match(raw(value)):
        return f"invalid path: '{value}' (characters outside of the reserved list of RFC 3986 found)"
    stray = re.search(r"%(?![0-9A-Fa-f]{2}).{0,2}", value)
    return f"invalid url-encoded value: '{stray[0]}'" if stray else None


def _router_path(value: str) -> str | None:
    if value.startswith("/"):
        if "//" in value:
            return "must not have empty segments"
        return _path(value)
    if not value.startswith("~/"):
        return "should start with: / (fixed path) or ~/ (regex path)"
    try:
        compile_path(value)
    except ValueError as error:
        return f"invalid regex: '{value[1:]}' (PCRE returned: {error})"
    return None


def _header_name(value: str) -> str | None:
    if _HEADER_NAME.match(value):
        return None
    return f"bad header name '{value}', allowed characters are A-Z, a-z, 0-9, '_', and '-'"


def _string(check: Callable[[str], str | None] | None = None, **more: Any) -> Definition:
    return {"type": "string", **({"custom": check} if check else {}), **more}


def _strings(element: Definition, kind: str = "array", **more: Any) -> Definition:
    return {"type": kind, "elements": element, **more}


def _flag(*, default: bool) -> Definition:
    return {"type": "boolean", "required": True, "default": default}


_ID = _string(_uuid)
_TAGS = _strings(_string(), "set")
_TIME: Definition = {"type": "integer"}
_TIMEOUT: Definition = {"type": "integer", "between": [1, 2**31 - 2], "default": 60000}
_REFERENCE: Definition = {"type": "any"}
_EDITED: tuple[dict[str, Definition], ...] = ({"created_at": _TIME}, {"updated_at": _TIME})


def _record(*fields: dict[str, Definition], checks: list[dict[str, Any]] | None = None) -> Definition:
    return {"type": "record", "fields": list(fields), "entity_checks": checks or []}


def _protocols(default: tuple[str, ...]) -> Definition:
    return _strings(
        _string(one_of=PROTOCOLS),
        "set",
        required=True,
        len_min=1,
        default=list(default),
    )


_SERVICES = _record(
    {"id": _ID},
    *_EDITED,
    {"name": _string(_name)},
    {"retries": {"type": "integer", "default": 5, "between": [0, 32767]}},
    {"protocol": _string(one_of=PROTOCOLS, required=True, default="http")},
    {"host": _string(_host, required=True)},
    {"port": {"type": "integer", "required": True, "default": 80, "between": [0, 65535]}},
    {"path": _string(_path, starts_with="/", match_none=[{"pattern": "//", "err": "must not have empty segments"}])},
    {"connect_timeout": _TIMEOUT},
    {"write_timeout": _TIMEOUT},
    {"read_timeout": _TIMEOUT},
    {"tags": _TAGS},
    {"enabled": _flag(default=True)},
)

_ROUTES = _record(
    {"id": _ID},
    *_EDITED,
    {"name": _string(_name)},
    {
        "protocols": {
            **_protocols(("http", "https")),
            "mutually_exclusive_subsets": [
                ["http", "https"],
                ["tcp", "tls", "udp"],
                ["tls_passthrough"],
                ["grpc", "grpcs"],
            ],
        }
    },
    {
        "https_redirect_status_code": {
            "type": "integer",
            "one_of": [426, 301, 302, 307, 308],
            "default": 426,
            "required": True,
        }
    },
    {"strip_path": _flag(default=True)},
    {"preserve_host": _flag(default=False)},
    {"request_buffering": _flag(default=True)},
    {"response_buffering": _flag(default=True)},
    {"tags": _TAGS},
    {"service": _REFERENCE},
    {"methods": _strings(_string(match="^%u+$"), "set")},
    {"hosts": _strings(_string(_wildcard_host))},
    {"paths": _strings(_string(_router_path))},
    {
        "headers": {
            "type": "map",
            "keys": _string(
                _header_name,
                match_none=[
                    {
                        "pattern": "^[Hh][Oo][Ss][Tt]$",
                        "err": "cannot contain 'host' header, which must be specified in the 'hosts' attribute",
                    }
                ],
            ),
            "values": _strings(_string()),
        }
    },
    {"regex_priority": {"type": "integer", "default": 0}},
    {"path_handling": _string(default="v0", one_of=["v0", "v1"])},
)

_CONSUMERS = _record(
    {"id": _ID},
    *_EDITED,
    {"username": _string()},
    {"custom_id": _string()},
    {"tags": _TAGS},
    checks=[{"at_least_one_of": ["custom_id", "username"]}],
)

_KEYAUTH_CREDENTIALS = _record(
    {"id": _ID},
    {"created_at": _TIME},
    {"consumer": {**_REFERENCE, "required": True}},
    {"key": _string()},
    {"tags": _TAGS},
    {"ttl": {"type": "integer", "between": [0, 100_000_000]}},
)

_VAULTS = _record(
    {"id": _ID},
    {"prefix": _string(required=True, match="^[a-z][a-z%d-]-[a-z%d]+$", not_one_of=["env"])},
    {"name": _string(required=True)},
    {"description": _string()},
    {"config": {**_record({"prefix": _string(match="^[%a_-][%a%d_-]*$")}), "required": True}},
    *_EDITED,
    {"tags": _TAGS},
)

SCHEMAS: Mapping[str, Definition] = {
    "services": _SERVICES,
    "routes": _ROUTES,
    "consumers": _CONSUMERS,
    "keyauth_credentials": _KEYAUTH_CREDENTIALS,
    "vaults": _VAULTS,
}
"""All kinds but ``plugins``, whose schema depends on the plugin (``plugin_schema``)."""


def route_problem(route: Mapping[str, Any]) -> str | None:
    """What Kong says of a route that nothing can match: which fields it may have depends on its protocols."""
    secure = bool({"https", "grpcs"} & set(route["protocols"]))
    names = ["hosts", "headers", "paths"]
    if {"http", "https"} & set(route["protocols"]):
        names.insert(0, "methods")
        protocol = "https" if secure else "http"
    else:
        protocol = "grpcs" if secure else "grpc"
    if any(route.get(name) for name in names):
        return None
    listed = ", ".join(f"'{name}'" for name in [*names, *(["snis"] if secure else [])])
    return f"must set one of {listed} when 'protocols' is '{protocol}'"


def plugin_schema(plugin: Definition) -> Definition:
    """The schema of a ``plugins`` entity with the fields that one plugin's own schema specialises."""
    own: dict[str, Definition] = {}
    for entry in plugin["fields"]:
        own.update(entry)
    fields: dict[str, Definition] = {
        "id": _ID,
        "name": _string(required=True),
        "instance_name": _string(_name),
        "created_at": _TIME,
        "updated_at": _TIME,
        "route": _REFERENCE,
        "service": _REFERENCE,
        "consumer": _REFERENCE,
        "config": {"type": "record", "fields": [], "required": True},
        "protocols": _protocols(("grpc", "grpcs", "http", "https")),
        "enabled": _flag(default=True),
        "tags": _TAGS,
    }
    for name, definition in own.items():
        fields[name] = _records_required(definition) if definition["type"] == "record" else definition
    checks = plugin.get("entity_checks") or []
    return {
        "type": "record",
        "fields": [{name: definition} for name, definition in fields.items()],
        "entity_checks": checks,
    }


def _records_required(record: Definition) -> Definition:
    """As in Kong's entities, a record within records is required, and so filled, unless its definition says otherwise.

    Records that are elements of arrays, and those within them, are what their definitions say.
    """
    fields = [
        {name: _records_required(field) if field["type"] == "record" else field for name, field in entry.items()}
        for entry in record["fields"]
    ]
    return {"required": True, **record, "fields": fields}


_NO_CONSUMER: Definition = {"type": "any", "custom": lambda value: "value must be null"}

KEY_AUTH: Definition = {
    "name": "key-auth",
    "fields": [
        {"consumer": _NO_CONSUMER},
        {"protocols": _protocols(("grpc", "grpcs", "http", "https"))},
        {
            "config": _record(
                {"key_names": _strings(_string(_header_name), required=True, default=["apikey"])},
                {"hide_credentials": _flag(default=False)},
                {"anonymous": _string()},
                {"key_in_header": _flag(default=True)},
                {"key_in_query": _flag(default=True)},
                {"key_in_body": {**_flag(default=False), "custom": lambda on: _UNSUPPORTED_BODY if on else None}},
                {"run_on_preflight": _flag(default=True)},
                {"realm": _string()},
            )
        },
    ],
}
_UNSUPPORTED_BODY = "the embedded gateway does not look for keys in bodies"
_UNSUPPORTED_PHASE = "the embedded gateway runs functions in the access phase only"


def function_plugin(name: str, check_source: Callable[[str], str | None]) -> Definition:
    """The schema of ``pre-function`` and ``post-function``; ``check_source`` gives a syntax error's message."""

    def check(source: str) -> str | None:
        problem = check_source(source)
        return f"error parsing {name}: {problem}" if problem else None

    def phase(**more: Any) -> Definition:
        return _strings(_string(check), required=True, default=[], **more)

    def no_functions(value: Any) -> str | None:
        return _UNSUPPORTED_PHASE if value else None

    phases = ("certificate", "rewrite", "access", "header_filter", "body_filter", "log")
    fields: list[dict[str, Definition]] = [
        {one: phase() if one == "access" else phase(custom=no_functions)} for one in phases
    ]
    return {
        "name": name,
        "fields": [
            {"consumer": _NO_CONSUMER},
            {"protocols": _protocols(("grpc", "grpcs", "http", "https"))},
            {"config": _record(*fields)},
        ],
        "entity_checks": [{"at_least_one_of": [f"config.{one}" for one in phases]}],
    }
