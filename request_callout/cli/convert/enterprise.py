"""Enterprise's configurations of the plugin into ones that open-source Kong takes.

What stands in a declarative file (Kong's or decK's) or comes from the Admin API stays as it is, in its order. Changed
is what Kong's open-source schema refuses: an explicit null in a map of values to set becomes a name in ``remove``, a
null for a whole record goes, and a partial (a shared ``cache.redis``) is put in where it is used. Parts of the file
around it that only Enterprise knows are told.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from request_callout.cli.convert.report import Report, Unconvertible
from request_callout.config.declarative import PLUGIN_NAME
from request_callout.config.normal import REFS
from request_callout.config.schema import json_schema

_PARENTS = ("services", "routes", "consumers", "consumer_groups")
_DEFAULT_PARTIAL_PATH = "config.cache.redis"

# Top-level entities and keys of a file that open-source Kong does not take.
_ENTERPRISE_ONLY = {
    "_workspace": "convert each workspace for a Kong of its own",
    "_konnect": "sync the file to a Kong of your own",
    "licenses": "none is needed",
    "rbac_roles": "restrict the Admin API by other means, such as a network policy",
    "rbac_users": "restrict the Admin API by other means, such as a network policy",
}
# Whom a plugin is for, in the Admin API's answers {id: ...}, in a declarative file a name or id.
_SCOPES = ("service", "route", "consumer", "consumer_group")


def convert(document: Mapping[str, Any], report: Report) -> dict[str, Any]:
    """The document with every configuration of the plugin converted; raises Unconvertible if it holds none."""
    converter = _Converter(document, report)
    listed = document.get("data")
    if isinstance(listed, list):  # an answer of the Admin API to GET /plugins
        converted: dict[str, Any] = {"_format_version": "3.0", "plugins": converter.listed(listed)}
        if document.get("next"):
            what = f"the pages from {document['next']} on"
            report.left_out("next", what, "this answer of the Admin API is one page of several", "convert each page")
    else:
        converted = converter.entity(document, "")
    if not converter.found:
        raise Unconvertible("", f"there is no {PLUGIN_NAME} plugin in it")
    shared = document.get("_plugin_configs")
    if isinstance(shared, Mapping):
        converted["_plugin_configs"] = {
            name: _config(value) if name in converter.shared else value for name, value in shared.items()
        }
    converter.leave_out_rest(converted)
    return converted


class _Converter:
    def __init__(self, document: Mapping[str, Any], report: Report) -> None:
        self.found = False
        self.shared: set[str] = set()
        self._report = report
        partials = document.get("partials")
        self._partials = [one for one in partials if isinstance(one, Mapping)] if isinstance(partials, list) else []
        self._used: set[int] = set()

    def entity(self, entity: Mapping[str, Any], path: str) -> dict[str, Any]:
        """A document, service, route, ...: with what stands in it."""
        if entity.get("name") == PLUGIN_NAME and ("config" in entity or "_config" in entity):
            return self._plugin(entity, path)
        converted = dict(entity)
        for kind in ("plugins", *_PARENTS):
            members = entity.get(kind)
            if isinstance(members, list):
                below = f"{path}." if path else ""
                converted[kind] = [
                    self._member(one, kind, f"{below}{kind}[{number}]") for number, one in enumerate(members, 1)
                ]
        return converted

    def listed(self, plugins: list[Any]) -> list[Any]:
        """The plugins of an answer of the Admin API, those of this plugin only."""
        converted = []
        for number, plugin in enumerate(plugins, 1):
            if not isinstance(plugin, Mapping) or plugin.get("name") != PLUGIN_NAME:
                continue
            one = self._plugin(plugin, f"data[{number}]")
            for scope in _SCOPES:
                whom = one.get(scope)
                if isinstance(whom, Mapping) and "id" in whom:
                    one[scope] = whom["id"]
                    self._report.left_out(
                        f"data[{number}].{scope}",
                        f"the {scope} {whom['id']}",
                        "the answer of the Admin API for plugins does not have it",
                        "add it to the file, or begin with the output of deck gateway dump",
                    )
            converted.append(one)
        return converted

    def _member(self, member: Any, kind: str, path: str) -> Any:
        if not isinstance(member, Mapping):
            return member
        if kind != "plugins":
            return self.entity(member, path)
        if member.get("name") == PLUGIN_NAME:
            return self._plugin(member, path)
        return dict(member)

    def _plugin(self, plugin: Mapping[str, Any], path: str) -> dict[str, Any]:
        self.found = True
        if plugin.get("_config") is not None:
            self.shared.add(str(plugin["_config"]))
        below = f"{path}." if path else ""
        converted = {
            name: value for name, value in plugin.items() if not (value is None and name in (*_SCOPES, "ordering"))
        }
        if "config" in plugin:
            converted["config"] = _config(plugin["config"])
        if converted.pop("ordering", None):
            self._report.left_out(
                f"{below}ordering",
                "ordering",
                "only Enterprise orders plugins by it",
                "rely on the priority of plugins",
            )
        links = converted.pop("partials", None)
        for number, link in enumerate(links if isinstance(links, list) else (), 1):
            self._put_in(converted, link, f"{below}partials[{number}]")
        return converted

    def _put_in(self, plugin: dict[str, Any], link: Any, place: str) -> None:
        if not isinstance(link, Mapping):
            return
        wanted = {name: link[name] for name in ("id", "name") if link.get(name) is not None}
        path = str(link.get("path") or _DEFAULT_PARTIAL_PATH)
        for number, partial in enumerate(self._partials):
            if wanted and all(partial.get(name) == value for name, value in wanted.items()):
                self._used.add(number)
                _set(plugin, path.split("."), _record(partial.get("config") or {}, _redis_schema()))
                return
        what = f"the partial {' '.join(map(str, wanted.values()))}".rstrip()
        self._report.left_out(
            place, what, "it is not in this file, and open-source Kong has no partials", f"write its fields to {path}"
        )

    def leave_out_rest(self, converted: dict[str, Any]) -> None:
        """Drop what only Enterprise takes, and tell of it; the partials that were put in are no longer needed."""
        partials = converted.pop("partials", None)
        if isinstance(partials, list) and len(self._used) < len(partials):
            what = "those partials that this plugin does not use"
            self._report.left_out(
                "partials", what, "open-source Kong has none", "write their fields into the plugins that use them"
            )
        for name, instead in _ENTERPRISE_ONLY.items():
            if converted.pop(name, None):
                self._report.left_out(name, name, "open-source Kong does not have it", instead)


def _config(config: Any) -> Any:
    """A configuration of the plugin."""
    return _record(config, json_schema()) if isinstance(config, Mapping) else config


def _redis_schema() -> Mapping[str, Any]:
    redis: Mapping[str, Any] = json_schema()["properties"]["cache"]["properties"]["redis"]
    return redis


def _record(record: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    properties = schema.get("properties", {})
    converted: dict[str, Any] = {}
    gone: list[str] = []
    for name, value in record.items():
        node = properties.get(name, {})
        if value is None and "properties" in node and not node.get("x-optional"):
            continue
        if name == "custom" and isinstance(value, Mapping) and "remove" in properties:
            gone = [str(one) for one, what in value.items() if what is None and one != REFS]
            converted[name] = {one: what for one, what in value.items() if what is not None}
        else:
            converted[name] = _value(value, node)
    if gone:
        _remove(converted, gone)
    return converted


def _value(value: Any, schema: Mapping[str, Any]) -> Any:
    if isinstance(value, Mapping):
        return _record(value, schema) if "properties" in schema else dict(value)
    if isinstance(value, list):
        return [_value(one, schema.get("items", {})) for one in value]
    return value


def _remove(record: dict[str, Any], names: list[str]) -> None:
    """List the names, where ``custom`` stands; an empty ``custom`` goes."""
    before = record.get("remove")
    listed = [*(before if isinstance(before, list) else ()), *names]
    members = list(record.items())
    record.clear()
    for name, value in members:
        if name == "custom":
            record["remove"] = list(dict.fromkeys(listed))
            if value:
                record["custom"] = value
        elif name != "remove":
            record[name] = value


def _set(record: dict[str, Any], path: list[str], value: dict[str, Any]) -> None:
    """Put ``value`` where the path leads; what the record has there itself wins."""
    for step in path[:-1]:
        below = record.get(step)
        record[step] = dict(below) if isinstance(below, Mapping) else {}
        record = record[step]
    own = record.get(path[-1])
    own = {name: one for name, one in own.items() if one is not None} if isinstance(own, Mapping) else {}
    record[path[-1]] = {**value, **own}
