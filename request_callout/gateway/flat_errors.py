"""The errors of a declarative configuration, one entry for each entity (``flatten_errors`` of ``POST /config``)."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from request_callout.gateway.entities import CHILDREN, FOREIGN
from request_callout.gateway.schema_rules import Errors


def flattened(errors: Errors, source: Mapping[str, Any]) -> tuple[list[dict[str, Any]], Errors]:
    """One entry for each entity that has errors, and what of the tree belongs to no entity."""
    entries: list[dict[str, Any]] = []
    rest: Errors = {}
    for kind, problems in errors.items():
        items = source.get(kind)
        if not isinstance(problems, dict) or not isinstance(items, list):
            rest[kind] = problems
            continue
        for at, problem in problems.items():
            if isinstance(at, int) and at <= len(items) and isinstance(items[at - 1], dict):
                entries += _of_entity(kind, items[at - 1], problem)
            else:
                rest.setdefault(kind, {})[at] = problem
    return entries, rest


def _of_entity(kind: str, entity: Mapping[str, Any], problem: Any) -> Iterator[dict[str, Any]]:
    own: Errors = dict(problem) if isinstance(problem, dict) else {"@entity": [problem]}
    shown = copy.deepcopy(dict(entity))
    for child in CHILDREN.get(kind, {}):
        below = own.pop(child, None)
        items = shown.pop(child, None)
        if isinstance(below, dict) and isinstance(items, list):
            for at, inner in below.items():
                yield from _of_entity(child, {**items[at - 1], **_parent(kind, child, entity)}, inner)
        elif below is not None:
            own[child] = below
    if not own:
        return
    entry: dict[str, Any] = {"entity_type": kind.removesuffix("s"), "entity": shown, "errors": list(_leaves(own, ""))}
    name = entity.get("name")
    if isinstance(name, str):
        entry["entity_name"] = name
    if isinstance(entity.get("id"), str):
        entry["entity_id"] = entity["id"]
    if isinstance(entity.get("tags"), list):
        entry["entity_tags"] = entity["tags"]
    yield entry


def _parent(kind: str, child: str, entity: Mapping[str, Any]) -> dict[str, Any]:
    name = CHILDREN[kind][child]
    return {name: {"id": entity["id"]}} if name in FOREIGN.get(child, {}) and "id" in entity else {}


def _leaves(problem: Any, path: str) -> Iterator[dict[str, Any]]:
    for name, below in problem.items():
        if name == "@entity":
            yield from ({"type": "entity", "message": message} for message in below)
            continue
        here = f"{path}.{name}" if path else str(name)
        if isinstance(below, dict):
            yield from _leaves(below, here)
        else:
            yield {"type": "field", "field": here, "message": below}


def told(errors: Errors, path: str = "") -> Iterator[tuple[str, str]]:
    """The tree for people: each message after its path (``plugins[1].config.callouts[2].name``)."""
    for name, below in errors.items():
        if name == "@entity" and isinstance(below, list):
            yield from ((path, str(message)) for message in below)
            continue
        here = f"{path}[{name}]" if isinstance(name, int) else f"{path}.{name}" if path else str(name)
        if isinstance(below, dict):
            yield from told(below, here)
        else:
            yield here, str(below)
