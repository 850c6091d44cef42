"""The plugin's configurations in Kong's declarative files and decK's, as YAML or JSON: where they stand, and raw.

Only what leads to them is read: the plugins at the top and those nested under services, routes, consumers and consumer
groups, with decK's shared ``_plugin_configs``. A lone plugin, as one posts it to the Admin API, is read too.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from request_callout.config.deck_templates import is_unknown
from request_callout.config.documents import Unreadable, line_and_column, read_documents
from request_callout.config.normal import REFS
from request_callout.config.problems import Problem
from request_callout.config.schema import json_schema

__all__ = [
    "PLUGIN_NAME",
    "PluginConfiguration",
    "Unreadable",
    "file_problems",
    "nulls",
    "plugin_configurations",
    "read",
]

PLUGIN_NAME = "request-callout"

_FORMAT_VERSIONS = ("1.1", "2.1", "3.0")
_PARENTS = ("services", "routes", "consumers", "consumer_groups")


@dataclass(frozen=True, slots=True)
class PluginConfiguration:
    """One configuration of the plugin; ``path`` says where it stands, as ``services[1].plugins[2].config``.

    ``shared`` is the path of the shared configuration that stands below it. The path of a lone one is empty.
    """

    path: str
    raw: Any
    shared: str | None = None

    def placed(self, problem: Problem) -> Problem:
        """A problem whose path begins with ``config`` as one of the whole file."""
        path = self.path + problem.path.removeprefix("config")
        return replace(problem, path=path if self.path else path.removeprefix(".") or "config")


def read(text: str) -> Mapping[str, Any]:
    """The document in a file; raises Unreadable with the place of what is wrong."""
    documents = read_documents(text)
    if len(documents) > 1:
        message = "expected a single document in the stream, but found another document"
        raise Unreadable(message, *line_and_column(text, documents[1].start))
    document = documents[0].value if documents else None
    if not isinstance(document, Mapping):
        raise Unreadable("not a declarative file: there are no names with values at its top")
    return document


def plugin_configurations(document: Mapping[str, Any]) -> Iterator[PluginConfiguration]:
    """Every configuration of the plugin, in the order of the file."""
    if document.get("name") == PLUGIN_NAME and "config" in document:
        yield PluginConfiguration("config", document["config"])
    shared = document.get("_plugin_configs")
    yield from _below(document, "", shared if isinstance(shared, Mapping) else {})


def file_problems(document: Mapping[str, Any]) -> list[Problem]:
    """What is wrong with the file around the configurations: the version, a shared configuration that is not there."""
    problems = []
    version = document.get("_format_version")
    if document.get("name") == PLUGIN_NAME or version in _FORMAT_VERSIONS:
        pass
    elif version is None:
        message = 'required field missing; begin the file with _format_version: "3.0" (in quotes)'
        problems.append(Problem("_format_version", message, rule="file"))
    elif not isinstance(version, str):
        message = 'expected a string; begin the file with _format_version: "3.0" (in quotes)'
        problems.append(Problem("_format_version", message, rule="file"))
    elif not is_unknown(version):
        message = f"expected one of: {', '.join(_FORMAT_VERSIONS)}"
        problems.append(Problem("_format_version", message, rule="file"))
    problems += _not_lists(document, "")
    problems += _misspelt(document)
    problems += _beside_config(document, "")
    shared = document.get("_plugin_configs")
    names = list(shared) if isinstance(shared, Mapping) else []
    problems += [
        Problem(
            path.removesuffix("config") + "_config",
            f"there is no {name!r} in _plugin_configs; {_close(name, names, cutoff=0.6) or 'add it or mend the name'}",
            rule="file",
        )
        for path, name in _shared_names(document, "")
        if name not in names
    ]
    return problems


def _not_lists(entity: Mapping[str, Any], path: str) -> Iterator[Problem]:
    for name in ("plugins", *_PARENTS):
        if isinstance(entity.get(name), Mapping) and not is_unknown(entity[name]):
            yield Problem(f"{path}{name}", "expected a list; begin each of its items with '- '", rule="file")
    for place, child in _children(entity, path):
        yield from _not_lists(child, f"{place}.")


def _misspelt(document: Mapping[str, Any]) -> Iterator[Problem]:
    """Names at the top that are nearly those under which plugins stand: what is below them would not be seen."""
    known = ("plugins", *_PARENTS, "_plugin_configs")
    for name in document if "_format_version" in document else ():
        if isinstance(name, str) and name not in known and (close := _close(name, known)):
            yield Problem(name, f"unknown field; {close}", rule="unknown-field")


def _beside_config(entity: Mapping[str, Any], path: str) -> Iterator[Problem]:
    """Fields of the configuration that stand in the plugin itself."""
    for place, plugin in _plugins(entity, path):
        for name in plugin:
            if name in json_schema()["properties"]:
                yield Problem(f"{place}.{name}", "unknown field; it belongs below config", rule="unknown-field")
    for place, child in _children(entity, path):
        yield from _beside_config(child, f"{place}.")


def _close(name: str, known: Sequence[str], *, cutoff: float = 0.85) -> str:
    close = difflib.get_close_matches(name, [str(one) for one in known], n=1, cutoff=cutoff)
    return f"did you mean {close[0]}?" if close else ""


def nulls(raw: Any) -> list[Problem]:
    """The nulls that Kong's open-source schema refuses: in maps, where the plugin would remove, and for records."""
    return list(_nulls(raw, json_schema(), "config"))


def _below(entity: Mapping[str, Any], path: str, shared: Mapping[str, Any]) -> Iterator[PluginConfiguration]:
    for place, plugin in _plugins(entity, path):
        raw = plugin.get("config")
        name = str(plugin.get("_config"))
        base = shared.get(name)
        if isinstance(base, Mapping) and (raw is None or isinstance(raw, Mapping)):
            raw = {**base, **(raw or {})}  # as decK does: whole fields, the plugin's own first
            yield PluginConfiguration(f"{place}.config", raw, f"_plugin_configs.{name}")
        else:
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
                    yield Problem(
                        f"{path}.{name}", "Kong refuses null here (required field missing); leave it out", rule="null"
                    )
                yield from _nulls(one, node, f"{path}.{name}")
            elif one is None and name != REFS:
                remedy = f"list {name!r} in remove beside custom"
                yield Problem(
                    f"{path}.{name}",
                    f"Kong refuses null here (required field missing); to remove it, {remedy}",
                    rule="null",
                )
    elif isinstance(value, list):
        for number, one in enumerate(value, 1):
            yield from _nulls(one, schema.get("items", {}), f"{path}[{number}]")
