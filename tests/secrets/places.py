"""The places of the schema where a secret may stand: what a vault may fill, and what Kong would keep encrypted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from request_callout.config.schema import json_schema
from tests.secrets.planted import Planted

REFERENCEABLE, ENCRYPTED = "x-referenceable", "x-encrypted"


def places(*marks: str, schema: Mapping[str, Any] | None = None, path: str = "config") -> Iterator[str]:
    """Every place with one of these marks, as ``config.callouts.request.url``; ``*`` is any name.

    One that takes a few words only keeps no secret.
    """
    schema = json_schema() if schema is None else schema
    if any(schema.get(mark) for mark in marks) and "enum" not in schema:
        yield path
    if "items" in schema:
        yield from places(*marks, schema=schema["items"], path=path)
    for name, node in {**schema.get("properties", {}), "*": schema.get("additionalProperties")}.items():
        if isinstance(node, Mapping):
            yield from places(*marks, schema=node, path=f"{path}.{name}")


class Vault:
    """Where all that is planted comes from, if a reference may stand there; ``planted`` is what was put at each place.

    A vault that is ``locked`` gives nothing: what is planted stands in the configuration itself.
    """

    def __init__(self, planted: Planted, *, locked: bool = False) -> None:
        self._planted = planted
        self._locked = locked
        self._keys: dict[str, str] = {}
        self.planted: dict[str, set[str]] = {}

    def filling(self, value: Any, schema: Mapping[str, Any] | None = None, path: str = "config") -> Any:
        """A configuration as Kong sends it, with the references beside what they were resolved to."""
        schema = json_schema() if schema is None else schema
        if isinstance(value, list):
            return [self.filling(one, schema["items"], path) for one in value]
        if not isinstance(value, Mapping):
            return value
        result: dict[str, Any] = {}
        references: dict[str, str] = {}
        for name, one in value.items():
            is_map = "properties" not in schema
            node = schema["additionalProperties"] if is_map else schema["properties"][name]
            place = f"{path}.{'*' if is_map else name}"
            result[name] = self.filling(one, node, place)
            if isinstance(one, str) and self._planted.seen_in(one):
                self.planted.setdefault(place, set()).update(self._planted.seen_in(one))
                if node.get(REFERENCEABLE) and not self._locked:
                    references[name] = f"{{vault://env/{self._key(one)}}}"
        return {**result, "$refs": references} if references else result

    def _key(self, secret: str) -> str:
        return self._keys.setdefault(secret, f"from-vault-{len(self._keys)}")
