"""The plugin's configurations in a file of any kind that holds some, each with where it stands.

The kinds: Kong's declarative files and decK's, what the Admin API takes and answers, manifests of Kubernetes, Terraform
in JSON (its files and its plans), and a configuration alone. What a file keeps elsewhere (a variable, a Secret) can't
be seen: ``UNKNOWN`` stands for it, and a problem of level ``note`` says so.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import yaml

from request_callout.config import terraform
from request_callout.config.deck_templates import UNKNOWN, Rendered, render
from request_callout.config.declarative import PLUGIN_NAME, PluginConfiguration, file_problems, plugin_configurations
from request_callout.config.documents import Document, Unreadable, read_documents
from request_callout.config.places import Located, Place, Source
from request_callout.config.problems import Problem
from request_callout.config.schema import json_schema

_KUBERNETES = ("KongPlugin", "KongClusterPlugin")
_KINDS = {kind.lower(): kind for kind in _KUBERNETES}
_DECLARATIVE = ("_format_version", "_plugin_configs", "plugins", "services", "routes", "consumers", "consumer_groups")


@dataclass(frozen=True, slots=True)
class Found:
    """One problem with its place."""

    problem: Problem
    place: Place


@dataclass(frozen=True, slots=True)
class Standing:
    """One configuration and the nodes that it comes from, the plugin's own first."""

    configuration: PluginConfiguration
    located: tuple[Located, ...]

    def place(self, problem: Problem) -> Place:
        """Where in the file a problem is whose path begins with ``config``."""
        path = problem.path.removeprefix("config")
        located = next((one for one in self.located if path and one.has(_first(path))), self.located[0])
        return located.find(path, key=problem.rule in ("unknown-field", "portable"), offset=problem.offset)


@dataclass(frozen=True, slots=True)
class File:
    """The configurations in a file, what is wrong with it around them, and the secrets that decK's variables are.

    ``top`` is the value of its first document, None if it can't be read. ``lines`` are those of the variables.
    """

    configurations: tuple[Standing, ...]
    found: tuple[Found, ...]
    secrets: Mapping[str, str]
    top: Any = None
    lines: Mapping[str, frozenset[int]] = field(default_factory=dict)

    def put_into(self, line: int) -> dict[str, str]:
        """The variables, with their values, that were put into a line of the file."""
        return {name: self.secrets[name] for name, lines in self.lines.items() if line in lines}


def read_file(text: str, environment: Mapping[str, str] | None, *, name: str = "") -> File:
    """Look through a file; ``name`` says by its ending that it has to be JSON. Never raises for what it holds.

    decK's templates take the variables of ``environment``; without one they are text, as they are to Kong.
    """
    original = Source(text)
    rendered = Rendered(original, (), {}, {}) if environment is None else render(original, environment)
    found = [
        Found(Problem("", one.message, rule="unset" if one.unset else "template"), original.place(one.index))
        for one in rendered.problems
    ]
    try:
        documents = read_documents(rendered.source.text, strict_json=name.endswith(".json"))
    except Unreadable as error:
        found.append(Found(Problem("", error.message, rule="syntax"), _unreadable_place(error, rendered)))
        return File((), tuple(found), rendered.substituted, lines=rendered.lines)
    configurations: list[Standing] = []
    for document in documents:
        _Document(document, rendered.source, configurations, found, is_first=document is documents[0]).look()
    top = documents[0].value if documents else None
    return File(tuple(configurations), tuple(found), rendered.substituted, top, rendered.lines)


def _unreadable_place(error: Unreadable, rendered: Rendered) -> Place:
    if error.line is None or error.column is None:
        return Place(1, 1)
    return rendered.source.place(rendered.source.index(error.line, error.column))


@dataclass(frozen=True, slots=True)
class _Document:
    """One document of a file, and the lists for what is found in it."""

    document: Document
    source: Source
    configurations: list[Standing]
    found: list[Found]
    is_first: bool

    @property
    def _root(self) -> Located:
        return Located(self.document.node, self.source)

    def look(self) -> None:
        for duplicate in self.document.duplicates:
            message = "this name stands here already, and only the last one counts; remove one of the two"
            problem = Problem(duplicate.path, message, rule="duplicate-key")
            self.found.append(Found(problem, self.source.place(duplicate.index)))
        value = self.document.value
        if isinstance(value, list):
            self._admin_list(value, "")
        elif not isinstance(value, Mapping):
            self._tell("", "not a configuration: there are no names with values at its top", "syntax")
        elif (
            str(value.get("kind")).lower() in _KINDS and "apiVersion" in value and value["kind"] not in _KINDS.values()
        ):
            kind = _KINDS[value["kind"].lower()]
            self._tell("kind", f"{value['kind']!r} is no kind of Kong's; did you mean {kind}?", "file")
        elif value.get("kind") in (*_KUBERNETES, "List"):
            self._kubernetes(value, "")
        elif terraform.is_terraform(value):
            self._terraform(value)
        elif isinstance(value.get("data"), list) and not any(name in value for name in _DECLARATIVE):
            self._admin_list(value["data"], "data")
        elif value.get("name") == PLUGIN_NAME:
            self._add(PluginConfiguration("config", value.get("config") or {}), "config")
        elif not any(name in value for name in _DECLARATIVE):
            self._lone(value)
        else:
            self._declarative(value)

    def _lone(self, value: Mapping[str, Any]) -> None:
        """A configuration by itself, or below ``config`` as one sends changes to the Admin API."""
        below = value.get("config")
        if "name" not in value and isinstance(below, Mapping) and _has_our_fields(below):
            self._add(PluginConfiguration("config", below), "config")
        elif "name" not in value and _has_our_fields(value):
            self._add(PluginConfiguration("", value), "")

    def _declarative(self, value: Mapping[str, Any]) -> None:
        configurations = list(plugin_configurations(value))
        if "_format_version" in value or configurations:
            for problem in file_problems(value):
                place = self._root.find(f".{problem.path}", key=problem.rule == "unknown-field")
                self.found.append(Found(problem, place))
        if not self.is_first and configurations:
            message = "Kong and decK read only the first document of a file; move this one into a file of its own"
            self._tell("", message, "file")
        for one in configurations:
            self._add(one, one.path)
        for path, name, plugin in _other_plugins(value, ""):
            self._nearly(f"{path}.name", name, plugin)

    def _nearly(self, path: str, name: str, plugin: Mapping[str, Any]) -> None:
        """Warn of another plugin that is nearly this one, by its name or by what it has."""
        config = plugin.get("config")
        has_callouts = isinstance(config, Mapping) and isinstance(config.get("callouts"), list)
        if has_callouts or difflib.get_close_matches(name, [PLUGIN_NAME], cutoff=0.85):
            message = f"{name!r} is another plugin; did you mean {PLUGIN_NAME}?"
            self._tell(path, message, "plugin-name", level="warning")

    def _admin_list(self, plugins: list[Any], path: str) -> None:
        for place, plugin in enumerate(plugins, 1):
            if isinstance(plugin, Mapping) and plugin.get("name") == PLUGIN_NAME:
                where = f"{path}[{place}].config"
                self._add(PluginConfiguration(where, plugin.get("config") or {}), where)

    def _kubernetes(self, value: Mapping[str, Any], path: str) -> None:
        items = value.get("items")
        if value.get("kind") == "List" and isinstance(items, list):
            for place, item in enumerate(items, 1):
                if isinstance(item, Mapping):
                    self._kubernetes(item, f"{path}items[{place}].")
        if value.get("kind") not in _KUBERNETES:
            return
        name = value.get("plugin")
        if name != PLUGIN_NAME:
            spec = value.get("spec")
            if name is None and isinstance(spec, Mapping) and spec.get("plugin") == PLUGIN_NAME:
                self._tell(f"{path}spec", "has no place here; move what is in it to the top of the manifest", "file")
            elif isinstance(name, str):
                self._nearly(f"{path}plugin", name, value)
            elif isinstance(value.get("config"), Mapping) and "callouts" in value["config"]:
                message = f"required field missing; add plugin: {PLUGIN_NAME} beside config"
                self._tell(f"{path}plugin", message, "file")
            return
        for one, other in (("config", "configFrom"), ("configFrom", "configPatches")):
            if value.get(one) is not None and value.get(other) is not None:
                self._tell(f"{path}{other}", f"can't stand beside {one}: Kubernetes refuses both; remove one", "file")
        if value.get("configFrom") is not None:
            message = "the configuration is in a Secret and can't be seen here; validate the text that the Secret holds"
            self._tell(f"{path}configFrom", message, "unseen", level="note")
            return
        raw = deepcopy(value.get("config") or {})
        patches = value.get("configPatches")
        for place, patch in enumerate(patches if isinstance(patches, list) else (), 1):
            pointer = patch.get("path") if isinstance(patch, Mapping) else None
            if not isinstance(pointer, str) or not _patched(raw, pointer):
                message = "has to be the path of a value in config, as /callouts/0/request/url"
                self._tell(f"{path}configPatches[{place}].path", message, "file")
            else:
                message = f"the value of {pointer} is in a Secret and can't be seen here"
                self._tell(f"{path}configPatches[{place}]", message, "unseen", level="note")
        self._add(PluginConfiguration(f"{path}config", raw), f"{path}config")

    def _terraform(self, value: Mapping[str, Any]) -> None:
        for one in terraform.configurations(value):
            located = self._root.below(f".{one.path}")
            if isinstance(one.raw, str) and isinstance(located.node, yaml.ScalarNode):
                self._embedded(one.path, one.raw, located.node)
            else:
                self._add(PluginConfiguration(one.path, terraform.without_interpolation(one.raw)), one.path)

    def _embedded(self, path: str, text: str, node: yaml.ScalarNode) -> None:
        """A configuration that is a text of JSON."""
        if terraform.is_computed(text):
            message = (
                "Terraform computes this text and it can't be seen here; validate a plan: terraform show -json PLAN"
            )
            self._tell(path, message, "unseen", level="note")
            return
        source = self._root.embedded(text, node)
        try:
            document = read_documents(text, strict_json=True)[0]
        except Unreadable as error:
            index = source.index(error.line or 1, error.column or 1)
            self.found.append(Found(Problem(path, error.message, rule="syntax"), source.place(index)))
            return
        raw = terraform.without_interpolation(document.value)
        self.configurations.append(Standing(PluginConfiguration(path, raw), (Located(document.node, source),)))

    def _add(self, configuration: PluginConfiguration, path: str) -> None:
        located = [self._root.below(f".{path}" if path and not path.startswith("[") else path)]
        if configuration.shared is not None:
            located.append(self._root.below(f".{configuration.shared}"))
        self.configurations.append(Standing(configuration, tuple(located)))

    def _tell(self, path: str, message: str, rule: str, level: Any = "error") -> None:
        place = self._root.find(f".{path}" if path else "")
        self.found.append(Found(Problem(path, message, rule=rule, level=level), place))


def _first(path: str) -> str:
    """The first step of a path such as ``.callouts[1].name``."""
    end = next((place for place, character in enumerate(path) if place and character in ".["), len(path))
    return path[:end]


def _has_our_fields(value: Mapping[str, Any]) -> bool:
    return any(name in json_schema()["properties"] for name in value)


def _other_plugins(entity: Any, path: str) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Every other plugin with its path and name."""
    for kind in _DECLARATIVE[2:]:
        children = entity.get(kind)
        for place, child in enumerate(children if isinstance(children, list) else (), 1):
            if not isinstance(child, Mapping):
                continue
            where = f"{path}{kind}[{place}]"
            if kind != "plugins":
                yield from _other_plugins(child, f"{where}.")
            elif isinstance(child.get("name"), str) and child["name"] != PLUGIN_NAME:
                yield where, child["name"], child


def _patched(raw: Any, pointer: str) -> bool:
    """Put UNKNOWN where a JSON pointer (RFC 6901) leads; False if there is no such place."""
    steps = [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]
    if not steps:
        return False
    for number, step in enumerate(steps, 1):
        last = number == len(steps)
        if isinstance(raw, dict):
            if last:
                raw[step] = UNKNOWN
            else:
                raw = raw.setdefault(step, {})
        elif isinstance(raw, list) and step == "-" and last:
            raw.append(UNKNOWN)
        elif isinstance(raw, list) and step.isdecimal() and len(step) < 6 and int(step) < len(raw):
            if last:
                raw[int(step)] = UNKNOWN
            else:
                raw = raw[int(step)]
        else:
            return False
    return True
