"""Terraform in JSON: configurations in resources of Kong's providers, and in plans (``terraform show -json``).

A resource counts if its type has ``plugin`` in it and its ``name`` is this plugin's (``konnect_gateway_custom_plugin``,
``kong-gateway_plugin``, ``kong_plugin`` and their kin), or if its type is that of Enterprise's plugin itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from request_callout.config.deck_templates import UNKNOWN

_NAME = "request-callout"
_OWN_TYPE = "plugin_request_callout"
_INTERPOLATION = re.compile(r"(?<![$%])[$%]\{")


@dataclass(frozen=True, slots=True)
class Resource:
    """The configuration of a plugin's resource: a record, or a text of JSON."""

    path: str
    raw: Any


def is_terraform(document: Mapping[str, Any]) -> bool:
    """Whether this is a file or a plan of Terraform."""
    if "terraform_version" in document or "planned_values" in document:
        return True
    return isinstance(document.get("resource"), (Mapping, list)) and "_format_version" not in document


def configurations(document: Mapping[str, Any]) -> Iterator[Resource]:
    """Every configuration of the plugin in the document."""
    for path, kinds in _each(document.get("resource"), "resource"):
        for kind, names in kinds.items():
            for where, named in _each(names, f"{path}.{kind}"):
                for name, bodies in named.items():
                    for place, body in _each(bodies, f"{where}.{name}"):
                        yield from _of(str(kind), body, place)
    for values in ("planned_values", "values"):
        root = document.get(values)
        if isinstance(root, Mapping):
            yield from _module(root.get("root_module"), f"{values}.root_module")


def is_computed(text: str) -> bool:
    """Whether Terraform puts something into a text that is not known here."""
    return _INTERPOLATION.search(text) is not None


def without_interpolation(value: Any) -> Any:
    """The same with ``UNKNOWN`` for texts that Terraform computes, and its escapes (``$${``) resolved in others."""
    if isinstance(value, Mapping):
        return {name: without_interpolation(one) for name, one in value.items()}
    if isinstance(value, list):
        return [without_interpolation(one) for one in value]
    if isinstance(value, str):
        return UNKNOWN if is_computed(value) else value.replace("$${", "${").replace("%%{", "%{")
    return value


def _module(module: Any, path: str) -> Iterator[Resource]:
    if not isinstance(module, Mapping):
        return
    for where, resource in _each(module.get("resources"), f"{path}.resources"):
        values = resource.get("values")
        if isinstance(values, Mapping):
            yield from _of(str(resource.get("type")), values, f"{where}.values")
    for where, child in _each(module.get("child_modules"), f"{path}.child_modules"):
        yield from _module(child, where)


def _of(kind: str, body: Mapping[str, Any], path: str) -> Iterator[Resource]:
    if not (kind.endswith(_OWN_TYPE) or ("plugin" in kind and body.get("name") == _NAME)):
        return
    for name in ("config", "config_json"):
        config = body.get(name)
        if isinstance(config, list) and len(config) == 1:
            yield Resource(f"{path}.{name}[1]", config[0])
        elif config is not None:
            yield Resource(f"{path}.{name}", config)


def _each(value: Any, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """A record, or each of a list of them: Terraform takes both."""
    if isinstance(value, Mapping):
        yield path, value
    elif isinstance(value, list):
        yield from ((f"{path}[{place}]", one) for place, one in enumerate(value, 1) if isinstance(one, Mapping))
