"""The plugin's configurations in Kong's declarative files and decK's, as YAML or JSON: where they stand, and raw.

Only what leads to them is read: the plugins at the top and those nested under services, routes, consumers and consumer
groups, with decK's shared ``_plugin_configs``. A lone plugin, as one posts it to the Admin API, is read too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from request_callout.config.normal import REFS
from request_callout.config.problems import Problem
from request_callout.config.schema import json_schema

PLUGIN_NAME = "request-callout"

_PARENTS = ("services", "routes", "consumers", "consumer_groups")


class Unreadable(ValueError):
    """A text that is no YAML or JSON document; ``line`` and ``column`` count from 1, None where not known."""

    def __init__(self, message: str, line: int | None = None, column: int | None = None) -> None:
        super().__init__(message if line is None else f"line {line}, column {column}: {message}")
        self.message = message
        self.line = line
        self.column = column


@dataclass(frozen=True, slots=True)
class PluginConfiguration:
    """One configuration of the plugin; ``path`` says where it stands, as ``services[1].plugins[2].config``."""

    path: str
    raw: Any

    def placed(self, problem: Problem) -> Problem:
        """A problem whose path begins with ``config`` as one of the whole file."""
        return Problem(self.path + problem.path.removeprefix("config"), problem.message, problem.line)


class _Loader(yaml.SafeLoader):
    """YAML as Kong reads it: a date is a text."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - as the base class has it
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def read(text: str) -> Mapping[str, Any]:
    """The document in a file; raises Unreadable with the place of what is wrong."""
    try:
        document = _json(text) or yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        message = ", ".join(part for part in (error.context, error.problem) if part) or "no valid YAML"
        if mark is None:
            raise Unreadable(message) from None
        raise Unreadable(message, mark.line + 1, mark.column + 1) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        column = error.position - (text.rfind("\n", 0, error.position) + 1) + 1
        raise Unreadable("a character that YAML does not allow", line, column) from None
    except RecursionError:
        raise Unreadable("nested too deep") from None
    except ValueError as error:  # a number or the like that can't be read
        raise Unreadable(str(error)) from None
    if not isinstance(document, Mapping):
        raise Unreadable("not a declarative file: there are no names with values at its top")
    return document


def _json(text: str) -> Any:
    """A JSON document, None if it is none; YAML would not take the tabs that JSON may be indented with."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        return json.loads(text)
    except ValueError:
        return None


def plugin_configurations(document: Mapping[str, Any]) -> Iterator[PluginConfiguration]:
    """Every configuration of the plugin, in the order of the file."""
    if document.get("name") == PLUGIN_NAME and "config" in document:
        yield PluginConfiguration("config", document["config"])
    shared = document.get("_plugin_configs")
    yield from _below(document, "", shared if isinstance(shared, Mapping) else {})


def file_problems(document: Mapping[str, Any]) -> list[Problem]:
    """What is wrong with the file around the configurations: the version, a shared configuration that is not there."""
    problems = []
    if document.get("name") != PLUGIN_NAME and not isinstance(document.get("_format_version"), str):
        message = 'required field missing; begin the file with _format_version: "3.0" (in quotes)'
        problems.append(Problem("_format_version", message))
    shared = document.get("_plugin_configs")
    names = shared if isinstance(shared, Mapping) else {}
    problems += [
        Problem(
            path.removesuffix("config") + "_config", f"there is no {name!r} in _plugin_configs; add it or mend the name"
        )
        for path, name in _shared_names(document, "")
        if name not in names
    ]
    return problems


def nulls(raw: Any) -> list[Problem]:
    """The nulls that Kong's open-source schema refuses: in maps, where the plugin would remove, and for records."""
    return list(_nulls(raw, json_schema(), "config"))


def _below(entity: Mapping[str, Any], path: str, shared: Mapping[str, Any]) -> Iterator[PluginConfiguration]:
    for place, plugin in _plugins(entity, path):
        raw = plugin.get("config")
        base = shared.get(str(plugin.get("_config")))
        if isinstance(base, Mapping) and (raw is None or isinstance(raw, Mapping)):
            raw = {**base, **(raw or {})}  # as decK does: whole fields, the plugin's own first
        yield PluginConfiguration(f"{place}.config", {} if raw is None else raw)
    for place, child in _children(entity, path):
        yield from _below(child, f"{place}.", shared)


def _shared_names(entity: Mapping[str, Any], path: str) -> Iterator[tuple[str, str]]:
    for place, plugin in _plugins(entity, path):
        if plugin.get("_config") is not None:
            yield f"{place}.config", str(plugin["_config"])
    for place, child in _children(entity, path):
        yield from _shared_names(child, f"{place}.")


def _plugins(entity: Mapping[str, Any], path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for number, plugin in enumerate(_list(entity.get("plugins")), 1):
        if isinstance(plugin, Mapping) and plugin.get("name") == PLUGIN_NAME:
            yield f"{path}plugins[{number}]", plugin


def _children(entity: Mapping[str, Any], path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for kind in _PARENTS:
        for number, child in enumerate(_list(entity.get(kind)), 1):
            if isinstance(child, Mapping):
                yield f"{path}{kind}[{number}]", child


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _nulls(value: Any, schema: Mapping[str, Any], path: str) -> Iterator[Problem]:
    if isinstance(value, Mapping):
        properties = schema.get("properties")
        for name, one in value.items():
            if properties is not None:
                node = properties.get(name, {})
                if one is None and "properties" in node and not node.get("x-optional"):
                    yield Problem(f"{path}.{name}", "Kong refuses null here (required field missing); leave it out")
                yield from _nulls(one, node, f"{path}.{name}")
            elif one is None and name != REFS:
                remedy = f"list {name!r} in remove beside custom"
                yield Problem(
                    f"{path}.{name}", f"Kong refuses null here (required field missing); to remove it, {remedy}"
                )
    elif isinstance(value, list):
        for number, one in enumerate(value, 1):
            yield from _nulls(one, schema.get("items", {}), f"{path}[{number}]")
